// A host of its own for a test: a process on a free port with a temporary folder, and a client of its API.

import { spawn } from "node:child_process";
import { createServer } from "node:http";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const ADMIN = "admin-token-of-a-test-0123456789";

export class Host {
  /** Starts a host; `settings` are further arguments of `serve`. */
  static async start(...settings) {
    const folder = await mkdtemp(join(tmpdir(), "heraldry-browser-"));
    const child = spawn(
      process.env.HERALDRY,
      ["serve", "--listen", "127.0.0.1:0", "--data", join(folder, "data"), "--allow-net", "127.0.0.0/8", ...settings],
      { stdio: ["ignore", "ignore", "pipe"], env: { ...process.env, HERALDRY_ADMIN_TOKEN: ADMIN }, cwd: folder },
    );
    const host = new Host(child, folder);
    child.stderr.setEncoding("utf8");
    await new Promise((resolve, reject) => {
      child.stderr.on("data", (text) => {
        host.log += text;
        const at = host.log.match(/listening on (http:\/\/\S+)/);
        if (at) {
          host.origin = at[1];
          resolve();
        }
      });
      child.once("exit", (code) => reject(new Error(`the host ended with ${code}: ${host.log}`)));
    });
    return host;
  }

  constructor(child, folder) {
    this.child = child;
    this.folder = folder;
    this.log = "";
    this.admin = ADMIN;
  }

  async stop() {
    const ended = once(this.child, "exit");
    this.child.kill("SIGTERM");
    await ended;
    await rm(this.folder, { recursive: true });
  }

  /** One request to the API; the answer's JSON, or an error with its text where the status is not 2xx. */
  async api(method, path, body, token = ADMIN) {
    const answer = await this.ask(method, path, body, { authorization: `Bearer ${token}` });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === "" ? null : JSON.parse(text);
  }

  /** One request to the API with headers of the caller's; the response as it is. */
  ask(method, path, body, headers) {
    return fetch(`${this.origin}/api/v1${path}`, {
      method,
      headers: { ...headers, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  }

  async token(name, role) {
    return (await this.api("POST", "/tokens", { name, role })).token;
  }

  /** Asks until `condition` of the answer holds; the test's own time limit ends it. */
  async until(path, condition) {
    for (;;) {
      const answer = await this.api("GET", path);
      if (condition(answer)) return answer;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** A destination that answers with `status`, which a test may change, and remembers what it got. */
export class Destination {
  static async start(status = 200) {
    const destination = new Destination();
    destination.status = status;
    destination.bodies = [];
    destination.server = createServer(async (request, response) => {
      let body = "";
      for await (const part of request) body += part;
      destination.bodies.push(body);
      response.writeHead(destination.status).end(destination.status === 200 ? "ok" : "the proxy has no backend");
    });
    destination.server.listen(0, "127.0.0.1");
    await once(destination.server, "listening");
    destination.url = `http://127.0.0.1:${destination.server.address().port}/hook`;
    return destination;
  }

  async stop() {
    this.server.closeAllConnections();
    this.server.close();
    await once(this.server, "close");
  }
}

/** A finding as platforms post them. */
export function finding(id, severity, title = `Finding ${id}`, more = {}) {
  return {
    type: "finding_added",
    engagement: { id: "E-17", name: "Web shop 2026", client: "ACME" },
    data: { finding: { id, title, severity, target: "https://shop.example/login", cvss: 7.5, ...more } },
  };
}
