"""Common part of the Python checks: read the golden files, check each, and verify that the check can fail."""

import copy
import json
import pathlib
import sys


def bodies(folders):
    """Yields the name and the body of every golden file; each must be a JSON payload."""
    for folder in folders:
        files = sorted(pathlib.Path(folder).iterdir())
        if not files:
            sys.exit(f"{folder} is empty")
        for file in files:
            if file.suffix != ".json":
                sys.exit(f"{file} is not a JSON payload")
            yield file.name, json.loads(file.read_text(encoding="utf-8"))["body"]


def run(what, folders, faults, good, bad):
    """Checks every body with `faults`, which returns a list of errors. First verifies that `faults` detects each change
    that the functions in `bad` make to a copy of the body named `good`."""
    payloads = dict(bodies(folders))
    for spoil in bad:
        body = copy.deepcopy(payloads[good])
        spoil(body)
        if not faults(body):
            sys.exit(f"{what}: an invalid payload passed: {spoil.__doc__}")
    wrong = [f"{name}: {fault}" for name, body in payloads.items() for fault in faults(body)]
    if wrong:
        sys.exit(f"{what}:\n" + "\n".join(wrong))
    print(f"{what}: {len(payloads)} payloads pass, {len(bad)} invalid ones are rejected")


def spoiler(description, change):
    """Makes a function for `bad` from a change and its description."""

    def spoil(body):
        change(body)

    spoil.__doc__ = description
    return spoil
