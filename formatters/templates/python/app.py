"""The format `{{name}}`: one line of text for each event. Change `render` to make it yours.

It runs in a sandbox: no clock, no randomness, no network, no files. `time.time()` ends the call. The same event must
give the same bytes.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import format as contract
from wit_world.imports import log

MANIFEST = {
    "name": "{{name}}",
    "version": "0.1.0",
    "title": "{{name}}",
    "description": "One line of text for each event.",
    # A line may also go over syslog; a document (a JSON body, say) may not.
    "kind": "line",
    "join": "newline",
    # An interpreter needs the host's large sandbox.
    "size": "large",
    "options_schema": {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "prefix": {
                "type": "string",
                "maxLength": 40,
                "default": "",
                "description": "Stands in front of each line.",
            }
        },
    },
}

# The member of `data` that each event type is about.
GROUPS = {
    "finding_added": "finding",
    "finding_verified": "finding",
    "critical_finding": "finding",
    "phase_changed": "phase",
    "engagement_completed": "summary",
    "engagement_signed": "authorization",
    "retest_completed": "retest",
    "report_ready": "report",
    "surface_changed": "surface",
    "monitor_alert": "monitor",
}

# What ends a line, moves a cursor or turns the reading direction, as a table for `str.translate`.
STEERS = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
SPACES = {code: " " for code in STEERS}
# Half of a surrogate pair, which JSON can write and UTF-8 cannot, becomes the replacement character.
WHOLE = {code: "\ufffd" for code in range(0xD800, 0xE000)}
MOST = 200


def render(kind, event, options):
    """Turns one event into a line. To leave an event type out, raise `Err(contract.Error_UnsupportedEvent(kind))`."""
    if kind not in GROUPS:
        raise Err(contract.Error_UnsupportedEvent(kind))
    group = event["data"][GROUPS[kind]]
    prefix = string(options, "prefix")
    line = f"{prefix} " if prefix else ""
    line += f"[{severity(kind, group)}] {what(kind, group)}"
    engagement = clean(string(event.get("engagement"), "name"))
    if engagement:
        line += f" ({engagement})"
    link = string(group, "url")
    if link is None:
        link = string(group, "report_url") or ""
    if link.startswith(("http://", "https://")) and all("!" <= c <= "~" for c in link):
        line += f" {link}"
    return line


def severity(kind, group):
    rated = GROUPS[kind] == "finding" or kind == "monitor_alert"
    # By way of `lower`, as `upper` makes an "I" of more letters than "i".
    word = (string(group, "severity") or "").lower() if rated else ""
    if word in ("info", "low", "medium", "high", "critical"):
        return word.upper()
    return "CRITICAL" if kind == "critical_finding" else "INFO"


def what(kind, group):
    """The finding's title; of other events their type in words and what they are about."""
    if GROUPS[kind] == "finding":
        return clean(string(group, "title"))
    words = kind.replace("_", " ")
    about = next(filter(None, (clean(string(group, name)) for name in ("title", "name", "message"))), "")
    return f"{words}: {about}" if about else words


def string(group, name):
    """A member, if it is a string: platforms differ, so expect nothing."""
    value = group.get(name) if isinstance(group, dict) else None
    return value.translate(WHOLE) if isinstance(value, str) else None


def clean(text):
    """At most 200 characters on one line."""
    spaced = (text or "").translate(SPACES).strip(" ")
    return spaced if len(spaced) <= MOST else spaced[: MOST - 3] + "..."


class Format(exports.Format):
    """What the host calls. Whatever is raised must leave as one of the contract's errors: anything else ends the
    call without words."""

    def describe(self):
        return json.dumps(MANIFEST)

    def format(self, event, context, options):
        try:
            # `parse_int`: Python reads no whole number of more than 4300 digits.
            posted = json.loads(event.json, parse_int=float)
            body = render(event.type, posted, json.loads(options)).encode()
            # Only you see this, in `heraldry formatter preview`. Never log what is in the event.
            log.log(log.Level.DEBUG, f"rendered {len(body)} bytes")
            return contract.Payload("text/plain; charset=utf-8", [], body)
        except Err:
            raise
        except Exception as error:
            raise Err(contract.Error_Internal(str(error)))
