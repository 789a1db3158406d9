"""Teams' cards against Microsoft's JSON Schema of Adaptive Cards 1.4, which knows no member but its own."""

import importlib.util
import json
import pathlib
import sys

from golden import run, spoiler
from jsonschema import Draft6Validator

PACKAGE = importlib.util.find_spec("adaptive_cards").submodule_search_locations[0]
SCHEMA = json.loads((pathlib.Path(PACKAGE) / "schemas" / "schema-1.4.json").read_text(encoding="utf-8"))
ENVELOPE = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None}
VALIDATOR = Draft6Validator(SCHEMA)


def faults(body):
    attachments = body.get("attachments", [])
    if body.keys() != {"type", "attachments"} or body["type"] != "message" or len(attachments) != 1:
        return ["the envelope is none"]
    envelope = dict(attachments[0])
    card = dict(envelope.pop("content"))
    found = [] if envelope == ENVELOPE else [f"the attachment is none: {envelope}"]
    # Teams' own, beside the schema.
    if card.pop("msteams", {"width": "Full"}) != {"width": "Full"}:
        found.append("msteams is none")
    if card.get("version") != "1.4":
        found.append("the version is not 1.4")
    return found + [f"{list(error.absolute_path)}: {error.validator}" for error in map(deepest, VALIDATOR.iter_errors(card))]


def deepest(error):
    """Of the ways in which none of the kinds of element fits, the one that came furthest."""
    inner = [deepest(inner) for inner in error.context or []]
    return max([error, *inner], key=lambda error: len(error.absolute_path))


def card(body):
    return body["attachments"][0]["content"]


def head(body):
    return card(body)["body"][0]


def run_of(body):
    return head(body)["items"][0]["inlines"][1]


run(
    "Microsoft's schema of Adaptive Cards 1.4",
    sys.argv[1],
    faults,
    "critical_finding.json",
    [
        spoiler("a style that is none", lambda body: head(body).update(style="pink")),
        spoiler("a member that is none", lambda body: head(body).update(colour="red")),
        spoiler("an element that is none", lambda body: head(body).update(type="Box")),
        spoiler("a run that is none", lambda body: run_of(body).update(type="Run")),
        spoiler("a size that is none", lambda body: run_of(body).update(size="Huge")),
        spoiler("an action without an address", lambda body: card(body)["actions"][0].pop("url")),
        spoiler("a body that is no list", lambda body: card(body).update(body={})),
        spoiler("a width that is none", lambda body: card(body).update(msteams={"width": "Wide"})),
        spoiler("no attachment", lambda body: body.update(attachments=[])),
        spoiler("another content type", lambda body: body["attachments"][0].update(contentType="text/plain")),
    ],
)
