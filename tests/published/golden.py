"""What both checks do: read golden files, check each, and see that the check can fail."""

import copy
import json
import pathlib
import sys


def bodies(folder):
    """The name and the body of every golden file, which must be a payload."""
    files = sorted(pathlib.Path(folder).iterdir())
    if not files:
        sys.exit(f"{folder} holds nothing")
    for file in files:
        if file.suffix != ".json":
            sys.exit(f"{file} is no JSON payload")
        yield file.name, json.loads(file.read_text(encoding="utf-8"))["body"]


def run(what, folder, faults, good, bad):
    """Checks every body with `faults`, which gives a list of what is wrong. Before that, each of `bad`, a function that
    spoils a copy of the body named `good`, must be found out."""
    payloads = dict(bodies(folder))
    for spoil in bad:
        body = copy.deepcopy(payloads[good])
        spoil(body)
        if not faults(body):
            sys.exit(f"{what}: a bad payload passed: {spoil.__doc__}")
    wrong = [f"{name}: {fault}" for name, body in payloads.items() for fault in faults(body)]
    if wrong:
        sys.exit(f"{what}:\n" + "\n".join(wrong))
    print(f"{what}: {len(payloads)} payloads pass, {len(bad)} bad ones are refused")


def spoiler(says, change):
    """A function for `run`, with its name for people."""

    def spoil(body):
        change(body)

    spoil.__doc__ = says
    return spoil
