"""Checks Teams cards against Microsoft's JSON Schema of Adaptive Cards 1.4, which allows no additional members."""

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
        return ["the envelope is invalid"]
    envelope = dict(attachments[0])
    card = dict(envelope.pop("content"))
    found = [] if envelope == ENVELOPE else [f"the attachment is invalid: {envelope}"]
    # An extension of Teams that the schema does not contain.
    if card.pop("msteams", {"width": "Full"}) != {"width": "Full"}:
        found.append("msteams is invalid")
    if card.get("version") != "1.4":
        found.append("the version is not 1.4")
    return found + [f"{list(error.absolute_path)}: {error.validator}" for error in map(deepest, VALIDATOR.iter_errors(card))]


def deepest(error):
    """The error with the longest path: the alternative of a union that matched furthest."""
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
    sys.argv[1:],
    faults,
    "critical_finding.json",
    [
        spoiler("an unknown style", lambda body: head(body).update(style="pink")),
        spoiler("an unknown member", lambda body: head(body).update(colour="red")),
        spoiler("an unknown element type", lambda body: head(body).update(type="Box")),
        spoiler("an unknown run type", lambda body: run_of(body).update(type="Run")),
        spoiler("an unknown size", lambda body: run_of(body).update(size="Huge")),
        spoiler("an action without a URL", lambda body: card(body)["actions"][0].pop("url")),
        spoiler("a body that is not a list", lambda body: card(body).update(body={})),
        spoiler("an unknown width", lambda body: card(body).update(msteams={"width": "Wide"})),
        spoiler("no attachment", lambda body: body.update(attachments=[])),
        spoiler("another content type", lambda body: body["attachments"][0].update(contentType="text/plain")),
    ],
)
