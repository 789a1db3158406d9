"""Checks Slack messages against slack_sdk's models of Block Kit: each block is of a known type, within its limits, and
without members that the model does not have."""

import sys

from golden import run, spoiler
from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

MEMBERS = {"text", "mrkdwn", "unfurl_links", "unfurl_media", "blocks", "attachments"}


def faults(body):
    found = [f"{name} is not a member of a message" for name in body.keys() - MEMBERS]
    if not isinstance(body.get("text"), str) or not body["text"]:
        found.append("text is missing")
    blocks = list(body.get("blocks", []))
    if len(blocks) > 50:
        found.append(f"{len(blocks)} blocks")
    for attachment in body.get("attachments", []):
        found += [f"{name} is not a member of an attachment" for name in attachment.keys() - {"color", "blocks"}]
        blocks += attachment["blocks"]
    if not blocks:
        found.append("there are no blocks")
    for block in blocks:
        found += block_faults(block)
    ids = [element["action_id"] for block in blocks for element in buttons(block)]
    if len(ids) != len(set(ids)):
        found.append(f"duplicate action_id: {ids}")
    return found


def buttons(block):
    elements = block.get("elements", []) + [block["accessory"]] if "accessory" in block else block.get("elements", [])
    return [element for element in elements if isinstance(element, dict) and "action_id" in element]


def block_faults(block):
    try:
        model = Block.parse(block)
        if model is None:
            return [f"unknown block type: {block.get('type')}"]
        model.validate_json()
        shown = model.to_dict()
    except SlackObjectFormationError as error:
        return [str(error)]
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        return [f"{block.get('type')} cannot be parsed: {error!r}"]
    # The model drops members that it does not know.
    return [] if shown == block else [f"{block} is parsed as {shown}"]


def heading(body):
    return body["blocks"][0]["text"]


def actions(body):
    return next(block for block in body["blocks"] if block["type"] == "actions")["elements"]


def details(body):
    return body["attachments"][0]["blocks"]


run(
    "slack_sdk's block models",
    sys.argv[1:],
    faults,
    "critical_finding.json",
    [
        spoiler("a header of 151 characters", lambda body: heading(body).update(text="x" * 151)),
        spoiler("a header of mrkdwn", lambda body: heading(body).update(type="mrkdwn")),
        spoiler("an unknown member", lambda body: details(body)[0].update(colour="red")),
        spoiler("an unknown block type", lambda body: details(body)[0].update(type="paragraph")),
        spoiler("a section without text", lambda body: details(body)[0].pop("text")),
        spoiler("a text of 3001 characters", lambda body: details(body)[0]["text"].update(text="x" * 3001)),
        spoiler("11 elements in a context", lambda body: details(body)[-1].update(elements=details(body)[-1]["elements"][:1] * 11)),
        spoiler("a label of 76 characters", lambda body: actions(body)[0]["text"].update(text="x" * 76)),
        spoiler("a URL of 3001 characters", lambda body: actions(body)[0].update(url="https://a.example/" + "x" * 2983)),
        spoiler("a duplicate button", lambda body: actions(body).append(actions(body)[0])),
        spoiler("51 blocks", lambda body: body.update(blocks=body["blocks"][:1] * 51)),
        spoiler("no text", lambda body: body.pop("text")),
    ],
)
