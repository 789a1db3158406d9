// node draw.mjs OUT.png light|dark GOLDEN.json ..: one picture of golden payloads, one under the other. `draw` calls it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { look, message } from "./message.mjs";

const WIDTH = 640;
const MOST_BYTES = 240_000;
// Teams' own width of a card that does not ask for more.
const NARROW = 450;

const tools = createRequire(path.join(process.env.TOOLS, "package.json"));
const puppeteer = tools("puppeteer-core");
const [out, theme, ...files] = process.argv.slice(2);
const isDark = theme === "dark";

const host = JSON.parse(readFileSync(tools.resolve(`adaptivecards-designer/lib/hostConfigs/microsoft-teams-${theme}.json`)));
// Segoe UI is Microsoft's and not free.
host.fontTypes.default.fontFamily = "'Segoe UI', 'Open Sans', sans-serif";

const cards = [];
const html = files.map((file) => {
  const { body } = JSON.parse(readFileSync(file, "utf8"));
  const content = body.attachments?.[0]?.content;
  if (!content) return message(body);
  cards.push(content);
  return `<div class="card ${content.msteams?.width === "Full" ? "" : "narrow"}"></div>`;
});
// Round the cards; what is in them is the renderer's.
const css = `
body { margin: 0; padding: 12px; width: ${WIDTH}px; background: ${isDark ? "#1f1f1f" : "#f5f5f5"}; display: flex; flex-direction: column; gap: 12px; }
.card { background: ${isDark ? "#292929" : "#fff"}; border-radius: 6px; box-shadow: 0 1px 3px rgba(0,0,0,.3); overflow: hidden; overflow-wrap: anywhere; }
.card.narrow { max-width: ${NARROW}px; }
.card .ac-pushButton { font: 600 13px 'Segoe UI', 'Open Sans', sans-serif; padding: 5px 12px; border: 1px solid ${isDark ? "#666" : "#d1d1d1"}; border-radius: 4px; background: none; color: ${isDark ? "#fff" : "#242424"}; }
${look}`;

const browser = await puppeteer.launch({
  executablePath: process.env.CHROMIUM,
  args: process.getuid?.() === 0 ? ["--no-sandbox"] : [],
});
try {
  const page = await browser.newPage();
  // A message is data: nothing in it may load or run anything.
  await page.setRequestInterception(true);
  page.on("request", (request) => request.abort());
  await page.setViewport({ width: WIDTH + 24, height: 100, deviceScaleFactor: files.length > 1 ? 1 : 1.5 });
  await page.setContent(`<!doctype html><meta charset="utf-8"><style>${css}</style>${html.join("")}`);
  await page.addScriptTag({ content: readFileSync(tools.resolve("adaptivecards/dist/adaptivecards.js"), "utf8") });
  await page.addStyleTag({ content: readFileSync(tools.resolve("adaptivecards/dist/adaptivecards.css"), "utf8") });
  const faults = await page.evaluate((cards, host) => {
    const places = document.querySelectorAll(".card");
    return cards.flatMap((content, n) => {
      const card = new AdaptiveCards.AdaptiveCard();
      card.hostConfig = new AdaptiveCards.HostConfig(host);
      card.parse(content);
      places[n].appendChild(card.render());
      return card.validateProperties().validationEvents.map((event) => event.message);
    });
  }, cards, host);
  if (faults.length > 0) throw new Error(faults.join("\n"));
  // Not before it is painted.
  await page.evaluate(async () => {
    await document.fonts.ready;
    for (let frame = 0; frame < 3; frame++) await new Promise(requestAnimationFrame);
  });
  const { length } = await page.screenshot({ path: out, fullPage: true });
  if (length > MOST_BYTES) throw new Error(`${out} has ${length} bytes`);
} finally {
  await browser.close();
}
