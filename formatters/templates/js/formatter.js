// The format `{{name}}`: one line of text for each event. Change `render` to make it yours.
//
// It runs on QuickJS in a sandbox without clock, randomness, network and Node.js modules: `new Date()` without an argument
// ends the call, and `Math.random()` returns the same number each time. The same event must give the same bytes.

import { log } from "heraldry:formatter/log@1.2.0";

const MANIFEST = {
  name: "{{name}}",
  version: "0.1.0",
  title: "{{name}}",
  description: "One line of text for each event.",
  // A line can go over HTTP and syslog; a document (such as a JSON body) over HTTP only.
  kind: "line",
  join: "newline",
  // An interpreter needs the host's large sandbox.
  size: "large",
  options_schema: {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    type: "object",
    additionalProperties: false,
    properties: {
      prefix: { type: "string", maxLength: 40, default: "", description: "Text before each line." },
    },
  },
};

// The member of `data` that holds the content of each event type.
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
  // Host events: what happened to Heraldry itself, for webhooks that name the type.
  webhook_failing: "webhook",
  webhook_disabled: "webhook",
  webhook_recovered: "webhook",
  delivery_failed: "delivery",
  formatter_rejected: "formatter",
  formatter_rolled_back: "formatter",
  host_degraded: "host",
};

// The severity of types whose events have none of their own, where it is not INFO.
const SEVERITIES = {
  critical_finding: "CRITICAL",
  webhook_failing: "MEDIUM",
  webhook_disabled: "HIGH",
  delivery_failed: "MEDIUM",
  formatter_rejected: "MEDIUM",
  formatter_rolled_back: "MEDIUM",
  host_degraded: "HIGH",
};

/**
 * Turns one event into a line. To skip an event type, throw unsupported(type).
 *
 * @param {string} type
 * @param {import("./events").PostedEvent | import("./events").HostEvent} event Its members are in `events.d.ts`; each may be absent.
 * @param {{ [option: string]: unknown }} options
 */
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
  const word = rated ? (string(group, "severity") ?? "").trim() : "";
  // Compared without `toUpperCase`, which also turns other letters, such as a dotless i, into an "I".
  if (/^(info|low|medium|high|critical)$/i.test(word)) return word.toUpperCase();
  return SEVERITIES[type] ?? "INFO";
}

// The finding's title; for other events the type in words, with the title, name, message or reason.
function what(type, group) {
  if (GROUPS[type] === "finding") return clean(string(group, "title"));
  const words = type.replaceAll("_", " ");
  const texts = ["title", "name", "message", "reason"].map((name) => clean(string(group, name)));
  const about = texts.find((text) => text);
  return about ? `${words}: ${about}` : words;
}

// A member, if it is a string. Members may be absent or of another type.
function string(object, name) {
  const value = object?.[name];
  return typeof value === "string" ? value : undefined;
}

// The text on one line, at most 200 characters, without control and bidirectional formatting characters.
function clean(text) {
  const controls = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
  const spaced = (text ?? "").replace(controls, " ");
  // Loops and a short slice, because a text may be long and the call's time is limited. (`trim` removes more than spaces.)
  let start = 0;
  let end = spaced.length;
  while (start < end && spaced[start] === " ") start++;
  while (end > start && spaced[end - 1] === " ") end--;
  const trimmed = spaced.slice(start, end);
  const characters = Array.from(trimmed.slice(0, 402)); // a character has one or two UTF-16 units
  return characters.length <= 200 ? trimmed : characters.slice(0, 197).join("") + "...";
}

// QuickJS has no TextEncoder. A lone surrogate becomes U+FFFD.
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

class FormatError extends Error {
  constructor(payload) {
    super(payload.tag);
    this.payload = payload;
  }
}

// An exception with the place in this file where it was thrown, for the formatter's author.
function failure(error) {
  const place = /at (\S+) \(\/?(formatter\.js:\d+:\d+)\)/.exec(error?.stack ?? "");
  return place ? `${error} (${place[2]}, in ${place[1]})` : String(error);
}

const unsupported = (type) => new FormatError({ tag: "unsupported-event", val: type });

// The exports that the host calls. Turn every exception into an error of the contract: any other exception ends the call
// without a message.
export const format = {
  describe() {
    return JSON.stringify(MANIFEST);
  },

  /**
   * @param {import("./events").Event} event
   * @param {import("./events").Context} context
   * @param {string} options
   * @returns {import("./events").Payload}
   */
  format(event, context, options) {
    try {
      const body = utf8(render(event.type, JSON.parse(event.json), JSON.parse(options)));
      // Shown by `heraldry formatter preview` only. Never log content of the event: it is confidential.
      log("debug", `rendered ${body.length} bytes`);
      return { contentType: "text/plain; charset=utf-8", headers: [], body };
    } catch (error) {
      if (error instanceof FormatError) throw error;
      throw new FormatError({ tag: "internal", val: failure(error) });
    }
  },
};
