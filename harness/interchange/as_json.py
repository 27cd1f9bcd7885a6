"""Results → one JSON document with the number of its schema, which `schema` prints as JSON Schema.

The number is raised when the shape changes so that a reader of the old one would go wrong; fields that are added
do not raise it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import HarnessError, did_you_mean
from ..files.cache import write_atomically
from ..files.yaml_file import read_yaml
from ..results.faces import FACE
from ..results.result import SCHEMA
from ..verdicts.pairing import Entry

__all__ = ["KINDS", "export_json", "schema_of"]

KINDS = (
    "results", "result", "values", "baseline", "run", "plan", "compare", "depths", "gate", "list", "fetch", "reproduce",
    "import", "judge",
)  # fmt: skip
"""What there is a schema of: `export --to json`; a file of a result, the values beside it, a file of a baseline; and what
a verb prints with --format json: `plan` is that of `run --dry-run`, `depths` that of `compare --depth`."""


def export_json(entries: Sequence[Entry], output: Path) -> None:
    """Write the results, each with the values of its queries. Raises HarnessError where their files are missing, or for the disk."""
    document = {"schema": SCHEMA, "results": [_record(entry) for entry in entries]}
    try:
        write_atomically(output, json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    except OSError as error:
        raise HarnessError(f"cannot write {output}: {error.strerror or error}") from None


def _record(entry: Entry) -> dict[str, Any]:
    result = entry.whole()
    record = {**result.record(), "path": str(entry.path)}
    values: dict[str, Any] = {"query_ids": result.query_ids, "values": result.values}
    return record | {"queries_values": values | ({"clusters": result.clusters} if result.clusters else {})}


def schema_of(kind: str) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one of KINDS. Raises HarnessError for another."""
    if kind not in KINDS:
        raise HarnessError(f'there is no schema of "{kind}"; there are {", ".join(KINDS)}.{did_you_mean(kind, KINDS)}')
    definitions = _definitions()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:rerank-harness:{kind}:{FACE if kind == 'baseline' else SCHEMA}",
        **definitions[kind],
        "$defs": {name: each for name, each in definitions.items() if name != kind},
    }


@cache
def _definitions() -> dict[str, Any]:
    found: dict[str, Any] = read_yaml(Path(__file__).with_name("schemas.yaml"))
    return found
