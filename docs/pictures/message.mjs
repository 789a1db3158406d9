// Slack's messages as HTML, after Slack's reference of blocks and the looks of its web client: only what the format
// `slack` uses. Whatever else a message held would be an error here.

// What Slack shows for an id; a webhook's options have ids only.
const NAMES = { U: "Ada Byron", W: "Ada Byron", S: "security-team" };

const escaped = (text) => text.replace(/&(?!(?:amp|lt|gt);)/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;").replace(/"/g, "&quot;");
const mention = (name) => `<span class="mention">@${name}</span>`;
const part = (epoch, options) => new Intl.DateTimeFormat("en-US", { timeZone: "UTC", ...options }).format(epoch * 1000);
const date = (epoch, format) =>
  format
    .replace("{date_short}", part(epoch, { month: "short", day: "numeric", year: "numeric" }))
    .replace("{time}", part(epoch, { hour: "numeric", minute: "2-digit" }));

function mrkdwn(text) {
  const fence = /^```\n([\s\S]*)\n```$/.exec(text);
  if (fence) return `<pre>${escaped(fence[1])}</pre>`;
  return text.split(/(<[^>]*>)/).map((piece) => {
    const when = /^<!date\^(\d+)\^([^|]*)\|[^|]*>$/.exec(piece);
    if (when) return escaped(date(Number(when[1]), when[2]));
    const all = /^<!(here|channel)>$/.exec(piece);
    if (all) return mention(all[1]);
    const one = /^<(?:@|!subteam\^)([UWS])[A-Z0-9]+>$/.exec(piece);
    return one ? mention(NAMES[one[1]]) : escaped(piece);
  }).join("");
}

function text(object) {
  if (object.type === "mrkdwn") return mrkdwn(object.text);
  if (object.type === "plain_text") return escaped(object.text);
  throw new Error(`a text of type ${object.type}`);
}

const button = (element) => `<span class="button">${text(element.text)}</span>`;

function section({ text: main, fields = [], accessory }) {
  const lines = [main, ...fields].filter(Boolean).map((object) => `<div class="text">${text(object)}</div>`);
  return `<div class="section"><div>${lines.join("")}</div>${accessory ? `<div>${button(accessory)}</div>` : ""}</div>`;
}

function block(block) {
  switch (block.type) {
    case "header": return `<div class="header">${text(block.text)}</div>`;
    case "section": return section(block);
    case "context": return `<div class="context">${block.elements.map((object) => `<span>${text(object)}</span>`).join("")}</div>`;
    case "actions": return `<div class="actions">${block.elements.map(button).join("")}</div>`;
    default: throw new Error(`a block of type ${block.type}`);
  }
}

/** A message that was posted by a webhook. */
export function message(body) {
  // Where there are blocks, `text` is for notifications only.
  const blocks = body.blocks.map(block).join("");
  const attachments = (body.attachments ?? []).map((attachment) =>
    `<div class="attachment"><i style="background: ${escaped(attachment.color)}"></i><div>${attachment.blocks.map(block).join("")}</div></div>`);
  return `<div class="message"><div class="avatar">H</div><div class="body"><div><b>Heraldry</b> <span class="app">APP</span></div>${blocks}${attachments.join("")}</div></div>`;
}

/** The style sheet. */
export const look = `
.message { display: flex; gap: 8px; background: #fff; padding: 8px 20px; border-radius: 6px; font: 15px/1.46668 Lato, sans-serif; color: #1d1c1d; }
.message .avatar { flex: none; width: 36px; height: 36px; border-radius: 4px; background: #3b2a5c; color: #fff; font-weight: 700; font-size: 20px; line-height: 36px; text-align: center; }
.message .body { flex: 1; min-width: 0; }
.message .app { background: #ddd; color: #616061; font-weight: 700; font-size: 10px; padding: 0 3px; border-radius: 2px; }
.message .text, .message .context span, .message .header { white-space: pre-wrap; overflow-wrap: anywhere; }
.message .header { font-size: 18px; font-weight: 700; line-height: 1.33334; margin: 8px 0 4px; }
.message .section { display: flex; justify-content: space-between; gap: 16px; margin: 4px 0; }
.message .context { font-size: 12px; line-height: 1.5; color: #616061; margin: 4px 0; }
.message .context span { margin-right: 4px; }
.message .actions { display: flex; gap: 8px; margin: 8px 0; }
.message .button { display: inline-block; white-space: nowrap; border: 1px solid rgba(29,28,29,.3); border-radius: 4px; font-size: 13px; font-weight: 700; line-height: 26px; padding: 0 12px; }
.message .attachment { display: flex; gap: 12px; margin: 4px 0; }
.message .attachment > i { flex: none; width: 4px; border-radius: 8px; }
.message .attachment > div { flex: 1; min-width: 0; }
.message .mention { background: rgba(242,199,68,.2); color: #1264a3; border-radius: 3px; padding: 0 2px; }
.message pre { font: 12px/1.5 "DejaVu Sans Mono", monospace; background: rgba(29,28,29,.04); border: 1px solid rgba(29,28,29,.13); border-radius: 4px; padding: 8px; margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
`;
