"""The format `{{name}}`: one line of text for each event. Change `render` to make it yours.

It runs in a sandbox without clock, randomness, network and files: `time.time()` ends the call. The same event must give
the same bytes.
"""

import json
from typing import TYPE_CHECKING

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import format as contract
from wit_world.imports import log

if TYPE_CHECKING:
    from events import HostEvent, PostedEvent

MANIFEST = {
    "name": "{{name}}",
    "version": "0.1.0",
    "title": "{{name}}",
    "description": "One line of text for each event.",
    # A line can go over HTTP and syslog; a document (such as a JSON body) over HTTP only.
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
                "description": "Text before each line.",
            }
        },
    },
}

# The member of `data` that holds the content of each event type.
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
    # Host events: what happened to Heraldry itself, for webhooks that name the type.
    "webhook_failing": "webhook",
    "webhook_disabled": "webhook",
    "webhook_recovered": "webhook",
    "delivery_failed": "delivery",
    "formatter_rejected": "formatter",
    "formatter_rolled_back": "formatter",
    "host_degraded": "host",
}

# The severity of types whose events have none of their own, where it is not INFO.
SEVERITIES = {
    "critical_finding": "CRITICAL",
    "webhook_failing": "MEDIUM",
    "webhook_disabled": "HIGH",
    "delivery_failed": "MEDIUM",
    "formatter_rejected": "MEDIUM",
    "formatter_rolled_back": "MEDIUM",
    "host_degraded": "HIGH",
}

# Line breaks, control and bidirectional formatting characters, each replaced by a space (a table for `str.translate`).
CONTROLS = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]
SPACES = {code: " " for code in CONTROLS}
# Lone surrogates, which JSON can express and UTF-8 cannot, become the replacement character.
SURROGATES = {code: "\ufffd" for code in range(0xD800, 0xE000)}
MAX_LENGTH = 200


def render(kind: str, event: "PostedEvent | HostEvent", options: dict[str, object]) -> str:
    """Turns one event into a line. To skip an event type, raise `Err(contract.Error_UnsupportedEvent(kind))`.

    The members of `event` are in `events.pyi`; each may be absent.
    """
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
    # Compared in lower case: `upper` also turns other letters, such as a dotless i, into an "I".
    word = (string(group, "severity") or "").strip().lower() if rated else ""
    if word in ("info", "low", "medium", "high", "critical"):
        return word.upper()
    return SEVERITIES.get(kind, "INFO")


def what(kind, group):
    """The finding's title; for other events the type in words, with the title, name, message or reason."""
    if GROUPS[kind] == "finding":
        return clean(string(group, "title"))
    words = kind.replace("_", " ")
    about = next(filter(None, (clean(string(group, name)) for name in ("title", "name", "message", "reason"))), "")
    return f"{words}: {about}" if about else words


def string(group, name):
    """A member, if it is a string. Members may be absent or of another type."""
    value = group.get(name) if isinstance(group, dict) else None
    return value.translate(SURROGATES) if isinstance(value, str) else None


def clean(text):
    """The text on one line, at most 200 characters."""
    spaced = (text or "").translate(SPACES).strip(" ")
    return spaced if len(spaced) <= MAX_LENGTH else spaced[: MAX_LENGTH - 3] + "..."


def failure(error):
    """An exception with the place in this file where it was raised, for the formatter's author."""
    place = ""
    trace = error.__traceback__
    while trace:
        code = trace.tb_frame.f_code
        if code.co_filename == __file__:
            place = f" (app.py:{trace.tb_lineno}, in {code.co_name})"
        trace = trace.tb_next
    return f"{type(error).__name__}: {error}{place}"


class Format(exports.Format):
    """The exports that the host calls. Turn every exception into an error of the contract: any other exception ends
    the call without a message."""

    def describe(self):
        return json.dumps(MANIFEST)

    def format(self, event, context, options):
        try:
            # `parse_int`: by default Python rejects integers of more than 4300 digits.
            posted = json.loads(event.json, parse_int=float)
            body = render(event.type, posted, json.loads(options)).encode()
            # Shown by `heraldry formatter preview` only. Never log content of the event: it is confidential.
            log.log(log.Level.DEBUG, f"rendered {len(body)} bytes")
            return contract.Payload("text/plain; charset=utf-8", [], body)
        except Err:
            raise
        except Exception as error:
            raise Err(contract.Error_Internal(failure(error)))
