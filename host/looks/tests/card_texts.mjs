// TOOLS=FOLDER node card_texts.mjs CARD.json .. > fixtures/cards.json: cards, and their texts as npm adaptivecards 3.0.6
// draws them, with markdown-it 14 and jsdom from FOLDER/node_modules. A golden file of the format `teams` is a card too.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

const tools = createRequire(path.join(process.env.TOOLS, "package.json"));
const { JSDOM } = tools("jsdom");
const { window } = new JSDOM("<!doctype html>", { pretendToBeVisual: true });
for (const name of Object.getOwnPropertyNames(window).filter((name) => /^(document|window|(HTML|SVG)?\w*Element)$/.test(name))) {
  globalThis[name] = window[name];
}
// jsdom has no layout, hence no innerText.
Object.defineProperty(window.HTMLElement.prototype, "innerText", {
  set(text) { this.textContent = text; },
  get() { return this.textContent; },
});
const { AdaptiveCard } = tools("adaptivecards/dist/adaptivecards.js");
const markdown = tools("markdown-it")();
AdaptiveCard.onProcessMarkdown = (text, result) => {
  result.outputHtml = markdown.render(text);
  result.didProcess = true;
};

const fixtures = {};
for (const file of process.argv.slice(2)) {
  const json = JSON.parse(readFileSync(file, "utf8"));
  const content = json.body?.attachments?.[0]?.content ?? json;
  const card = new AdaptiveCard();
  card.parse(content);
  fixtures[path.basename(file, ".json")] = { card: content, text: card.render().textContent };
}
console.log(JSON.stringify(fixtures, null, 1));
