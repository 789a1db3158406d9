// Chromium under watch: whatever a page reports (a violated policy, an error, a dialog, a request to another origin) is
// kept, and a test that ends with any of it fails.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

const modules = createRequire(join(process.env.BROWSER_NODE_MODULES, "x.js"));
const puppeteer = modules("puppeteer-core");
const axe = await readFile(modules.resolve("axe-core"), "utf8");

export class Browser {
  static async start() {
    const browser = new Browser();
    browser.chromium = await puppeteer.launch({
      executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
      // A container's root has no user namespace for Chromium's sandbox. What is loaded comes from the host under test.
      args: ["--no-sandbox", "--disable-dev-shm-usage", "--force-color-profile=srgb", "--hide-scrollbars"],
    });
    return browser;
  }

  async stop() {
    await this.chromium.close();
  }

  /** A page with cookies of its own, and its log of what must not happen. */
  async page(origin, { javascript = true, width = 1280, height = 900, features = [] } = {}) {
    const context = await this.chromium.createBrowserContext();
    const page = await context.newPage();
    await page.setViewport({ width, height });
    await page.setJavaScriptEnabled(javascript);
    await page.emulateMediaFeatures(features);
    return new Page(page, origin);
  }
}

export class Page {
  constructor(page, origin) {
    this.page = page;
    this.origin = origin;
    this.reports = [];
    page.on("console", (message) => {
      if (["error", "warn"].includes(message.type())) this.reports.push(`console: ${message.text()}`);
    });
    page.on("pageerror", (error) => this.reports.push(`error: ${error.message}`));
    page.on("dialog", async (dialog) => {
      this.reports.push(`dialog: ${dialog.message()}`);
      await dialog.dismiss();
    });
    page.on("request", (request) => {
      const url = request.url();
      if (!url.startsWith(`${origin}/`) && !url.startsWith("about:") && !url.startsWith("data:")) {
        this.reports.push(`foreign request: ${url}`);
      }
    });
  }

  /** Fails if anything was reported since the page was made. */
  quiet() {
    assert.deepEqual(this.reports, [], `at ${this.page.url()}`);
  }

  async close() {
    await this.page.browserContext().close();
  }

  path() {
    return this.page.url().slice(this.origin.length);
  }

  async open(path) {
    return this.page.goto(`${this.origin}${path}`, { waitUntil: "load" });
  }

  async text() {
    return this.page.$eval("body", (body) => body.innerText);
  }

  async shows(text) {
    const all = await this.text();
    assert.ok(all.includes(text), `${this.page.url()} does not show ${JSON.stringify(text)}:\n${all}`);
  }

  /** What has the focus: its role-like name, its accessible text, and whether it can be seen. */
  async focus() {
    return this.page.evaluate(() => {
      const element = document.activeElement;
      const label = element.labels?.[0]?.innerText ?? element.getAttribute("aria-label") ?? element.innerText ?? "";
      return { tag: element.tagName.toLowerCase(), name: (label || element.value || "").trim().replace(/\s+/g, " ") };
    });
  }

  /** Presses Tab until something named `name` (or matching it) has the focus. */
  async tabTo(name, tag) {
    const seen = [];
    for (let presses = 0; presses < 250; presses += 1) {
      await this.page.keyboard.press("Tab");
      const focus = await this.focus();
      const fits = name instanceof RegExp ? name.test(focus.name) : focus.name === name;
      if (fits && (tag === undefined || focus.tag === tag)) return;
      seen.push(`${focus.tag}: ${focus.name.slice(0, 60)}`);
    }
    assert.fail(`Tab never reaches ${name} on ${this.page.url()}; it reaches ${[...new Set(seen)].join(" | ")}`);
  }

  /** Tabs to what is named so and presses Enter there, which loads another page. */
  async follow(name, tag) {
    await this.tabTo(name, tag);
    await Promise.all([this.page.waitForNavigation({ waitUntil: "load" }), this.page.keyboard.press("Enter")]);
  }

  /** Tabs to the field and replaces its text. */
  async fill(name, text) {
    await this.tabTo(name);
    await this.page.keyboard.down("Control");
    await this.page.keyboard.press("a");
    await this.page.keyboard.up("Control");
    await this.page.keyboard.type(text);
  }

  /** Logs in by keyboard alone. */
  async login(token) {
    await this.open("/console/login");
    // The field takes the focus by itself, a moment after the page is there.
    await this.page.waitForFunction(() => document.activeElement.name === "token");
    await this.page.keyboard.type(token);
    await Promise.all([this.page.waitForNavigation({ waitUntil: "load" }), this.page.keyboard.press("Enter")]);
    assert.ok(!this.path().startsWith("/console/login"), `the login was rejected: ${await this.text()}`);
  }

  /** The violations of WCAG 2.2 A and AA that axe-core finds, one line each. */
  async violations() {
    // Evaluated over the debugging protocol, which a page's policy does not concern.
    await this.page.evaluate(axe);
    return this.page.evaluate(async () => {
      const found = await globalThis.axe.run(document, {
        runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"],
        iframes: false,
      });
      return found.violations.flatMap((violation) =>
        violation.nodes.map((node) => `${violation.id}: ${node.html.slice(0, 160)} (${node.failureSummary})`),
      );
    });
  }

  /** By how many pixels the page is wider than its window. Tables may scroll in boxes of their own. */
  async overflow() {
    return this.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  }

  /** The console's links of this page, without fragments. */
  async links() {
    const links = await this.page.$$eval("a[href]", (anchors) => anchors.map((anchor) => anchor.href.split("#")[0]));
    return [...new Set(links)].filter((link) => link.startsWith(`${this.origin}/console`)).map((link) => link.slice(this.origin.length));
  }
}

/** The kind of page behind a path: ids and names are one place, and only the names of query parameters count. */
export function kind(path) {
  const url = new URL(path, "http://host");
  const place = url.pathname
    .replace(/[0-9a-f]{8}-[0-9a-f-]{27}/g, "{id}")
    .replace(/(\/formatters\/)[^/]+/, "$1{name}");
  return [place, ...[...url.searchParams.keys()].sort()].join("&");
}

/** Visits every kind of page that links lead to from `start`; `visit` is called on each. */
export async function crawl(page, start, visit) {
  const waiting = [start];
  const seen = new Set();
  while (waiting.length > 0) {
    const path = waiting.shift();
    if (seen.has(kind(path)) || path.startsWith("/console/static")) continue;
    seen.add(kind(path));
    const response = await page.open(path);
    assert.ok(response === null || response.ok(), `${path} answers ${response?.status()}`);
    waiting.push(...(await page.links()));
    await visit(path);
  }
  return [...seen].sort();
}
