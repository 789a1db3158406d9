// The format `{{name}}`: one line of text for each event. Change `render` to make it yours.
//
// It runs on QuickJS in a sandbox: no clock, no randomness, no network, no modules of Node's. `new Date()` without
// an argument ends the call, and `Math.random()` gives the same number each time. The same event must give the same
// bytes.

import { log } from "heraldry:formatter/log@1.1.0";

const MANIFEST = {
  name: "{{name}}",
  version: "0.1.0",
  title: "{{name}}",
  description: "One line of text for each event.",
  // A line may also go over syslog; a document (a JSON body, say) may not.
  kind: "line",
  join: "newline",
  // An interpreter needs the host's large sandbox.
  size: "large",
  options_schema: {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    additionalProperties: false,
    properties: {
      prefix: { type: "string", maxLength: 40, default: "", description: "Stands in front of each line." },
    },
  },
};

// The member of `data` that each event type is about.
const GROUPS = {
  finding_added: "finding",
  finding_verified: "finding",
  critical_finding: "finding",
  phase_changed: "phase",
  engagement_completed: "summary",
  engagement_signed: "authorization",
  retest_completed: "retest",
  report_ready: "report",
  surface_changed: "surface",
  monitor_alert: "monitor",
};

// Turns one event into a line. To leave an event type out, throw unsupported(type).
function render(type, event, options) {
  if (!Object.hasOwn(GROUPS, type)) throw unsupported(type);
  const group = event.data[GROUPS[type]];
  const prefix = string(options, "prefix");
  let line = prefix ? `${prefix} ` : "";
  line += `[${severity(type, group)}] ${what(type, group)}`;
  const engagement = clean(string(event.engagement, "name"));
  if (engagement) line += ` (${engagement})`;
  const link = string(group, "url") ?? string(group, "report_url") ?? "";
  if (/^https?:\/\/[!-~]*$/.test(link)) line += ` ${link}`;
  return line;
}

function severity(type, group) {
  const rated = GROUPS[type] === "finding" || type === "monitor_alert";
  const word = rated ? (string(group, "severity") ?? "") : "";
  // Not `toUpperCase`, which makes an "I" of more letters than "i".
  if (/^(info|low|medium|high|critical)$/i.test(word)) return word.toUpperCase();
  return type === "critical_finding" ? "CRITICAL" : "INFO";
}

// The finding's title; of other events their type in words and what they are about.
function what(type, group) {
  if (GROUPS[type] === "finding") return clean(string(group, "title"));
  const words = type.replaceAll("_", " ");
  const about = clean(string(group, "title")) || clean(string(group, "name")) || clean(string(group, "message"));
  return about ? `${words}: ${about}` : words;
}

// A member, if it is a string: platforms differ, so expect nothing.
function string(object, name) {
  const value = object?.[name];
  return typeof value === "string" ? value : undefined;
}

// At most 200 characters, none of which ends the line, moves a cursor or turns the reading direction.
function clean(text) {
  const steers = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
  const spaced = (text ?? "").replace(steers, " ");
  // Loops and a short slice, as a text may be long and a call's time is not. (`trim` would take more than spaces.)
  let start = 0;
  let end = spaced.length;
  while (start < end && spaced[start] === " ") start++;
  while (end > start && spaced[end - 1] === " ") end--;
  const trimmed = spaced.slice(start, end);
  const characters = Array.from(trimmed.slice(0, 402)); // a character is one or two units of a string
  return characters.length <= 200 ? trimmed : characters.slice(0, 197).join("") + "...";
}

// QuickJS has no TextEncoder. A half of a surrogate pair becomes U+FFFD.
function utf8(text) {
  const bytes = [];
  for (const character of text) {
    let code = character.codePointAt(0);
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return new Uint8Array(bytes);
}

class Refusal extends Error {
  constructor(payload) {
    super("refused");
    this.payload = payload;
  }
}

const unsupported = (type) => new Refusal({ tag: "unsupported-event", val: type });

// What the host calls. Whatever is thrown must leave as one of the contract's errors: anything else ends the call
// without words.
export const format = {
  describe() {
    return JSON.stringify(MANIFEST);
  },

  format(event, context, options) {
    try {
      const body = utf8(render(event.type, JSON.parse(event.json), JSON.parse(options)));
      // Only you see this, in `heraldry formatter preview`. Never log what is in the event.
      log("debug", `rendered ${body.length} bytes`);
      return { contentType: "text/plain; charset=utf-8", headers: [], body };
    } catch (error) {
      if (error instanceof Refusal) throw error;
      throw new Refusal({ tag: "internal", val: String(error) });
    }
  },
};
