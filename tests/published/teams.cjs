// Checks Teams cards with the parser of Microsoft's renderer, which reports unknown and missing members.
"use strict";
const fs = require("node:fs");
const path = require("node:path");
const AdaptiveCards = require("adaptivecards/dist/adaptivecards.js");

function faults(content) {
  const card = new AdaptiveCards.AdaptiveCard();
  const context = new AdaptiveCards.SerializationContext(AdaptiveCards.Versions.v1_4);
  card.parse(content, context);
  const events = Array.from({ length: context.eventCount }, (_, at) => context.getEventAt(at));
  const found = [...events, ...card.validateProperties().validationEvents].map((event) => event.message);
  // The parser drops an unknown element without an error.
  const elements = (value) =>
    Array.isArray(value) ? value.reduce((sum, item) => sum + elements(item), 0)
    : value && typeof value === "object" ? (typeof value.type === "string") + elements(Object.values(value)) : 0;
  const [sent, read] = [elements(content), elements(card.toJSON())];
  if (sent !== read) found.push(`${read} of ${sent} elements were parsed`);
  return found;
}

const cards = new Map(process.argv.slice(2).flatMap((folder) => fs.readdirSync(folder).sort().map((name) => {
  const { body } = JSON.parse(fs.readFileSync(path.join(folder, name), "utf8"));
  return [name, body.attachments[0].content];
})));
const bad = {
  "an unknown style": (card) => { card.body[0].style = "pink"; },
  "an unknown element type": (card) => { card.body[0].type = "Box"; },
  "an unknown run type": (card) => { card.body[0].items[0].inlines[1].type = "Run"; },
  "an action without a URL": (card) => { delete card.actions[0].url; },
  "an unknown spacing": (card) => { card.body[0].items[1].spacing = "Wide"; },
  "an unknown version": (card) => { card.version = "1.9"; },
};
for (const [description, spoil] of Object.entries(bad)) {
  const card = structuredClone(cards.get("critical_finding.json"));
  spoil(card);
  if (faults(card).length === 0) {
    console.error(`adaptivecards' parser: an invalid payload passed: ${description}`);
    process.exit(1);
  }
}
const wrong = [...cards].flatMap(([name, card]) => faults(card).map((fault) => `${name}: ${fault}`));
if (wrong.length > 0) {
  console.error(`adaptivecards' parser:\n${wrong.join("\n")}`);
  process.exit(1);
}
console.log(`adaptivecards' parser: ${cards.size} payloads pass, ${Object.keys(bad).length} invalid ones are rejected`);
