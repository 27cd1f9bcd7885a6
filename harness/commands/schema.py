"""The verb `schema`: what JSON of the harness looks like, as JSON Schema."""

from __future__ import annotations

import argparse
import json

from .shared import Options, Say, add_options_of

__all__ = ["add_options", "command"]

_OPTIONS: Options = {
    "kind": {
        "nargs": "?", "default": "results", "metavar": "KIND",
        "help": "results (export --to json, the default), result (a file below results/), values (the file beside it), baseline (a file that gate --update writes), or what a command prints with --format json: run, plan (run --dry-run), compare, depths (compare --depth), gate, list, fetch, reproduce, import, judge",
    },
}  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    """What `schema` takes."""
    add_options_of(parser, _OPTIONS)


def command(given: argparse.Namespace, say: Say, answer: Say) -> int:
    """Print one schema."""
    from ..interchange.as_json import schema_of

    answer(json.dumps(schema_of(given.kind), indent=1))
    return 0
