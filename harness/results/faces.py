"""What a committed baseline shows of a result: text that a diff can be read of, rounded, beside the exact figures.

    <Task>@<revision>.json           the face: a line for each figure's measure, and for each part of the identity
    <Task>@<revision>.values.txt     a line for each query
    <Task>@<revision>.values.json.gz all of it, exact

Everything that computes reads the exact record; the two texts are for people, and are held against it, so that no diff
shows what no verdict is of. Works on records as JSON has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from .figures import MISSING

__all__ = ["FACE", "face_of", "face_text", "lines_path", "require_agreement", "require_lines", "values_lines"]

FACE = 2
"""The schema of a face: what reads results alone must not take it for one."""

_DIGITS = 6
_WAY = "take all of them from one commit, or write them again by gate --update"


def lines_path(path: Path) -> Path:
    """Where the lines of the queries of the face at `path` lie."""
    return path.with_name(path.name.removesuffix(".json") + ".values.txt")


def face_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """The face of a result's record: what it is about and its figures, without what differs from run to run."""
    cautions = record["diagnostics"].get("cautions", ())
    return {
        "schema": FACE,
        "digits": _DIGITS,
        "queries": record["queries"],
        "measures": rounded(record["measures"]),
        "cautions": [f"{each['code']}: {each['what']}" for each in cautions],
        **{name: record[name] for name in ("identity", "collection", "candidates", "environment")},
    }


def rounded(value: Any, digits: int = _DIGITS) -> Any:
    """Every figure in it to so many digits after the point; what is no figure stays."""
    if isinstance(value, float):
        return round(value, digits) + 0.0  # no -0.0
    if isinstance(value, Mapping):
        return {key: rounded(each, digits) for key, each in value.items()}
    return value


def face_text(face: Mapping[str, Any]) -> str:
    """The face as JSON, with a line for each measure, setting and warning."""
    parts = []
    for key, value in face.items():
        inside = (
            [f"{json.dumps(name)}: {_line(each)}" for name, each in value.items()] if isinstance(value, dict) else []
        )
        inside = [_line(each) for each in value] if isinstance(value, list) else inside
        left, right = "[]" if isinstance(value, list) else "{}"
        body = "".join(f"\n  {each}," for each in inside).removesuffix(",")
        parts.append(f" {json.dumps(key)}: " + (f"{left}{body}\n {right}" if inside else _line(value)))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def values_lines(query_ids: Sequence[str], values: Mapping[str, Mapping[str, Sequence[float | None]]]) -> str:
    """A line for each query: of each measure that has it, the first stage's value and the reranked one, rounded."""
    lines = ["# query_id, then of each measure: first stage → reranked"]
    for place, query_id in enumerate(query_ids):
        parts = [_part(measure, stages, place) for measure, stages in values.items()]
        lines.append("  ".join([json.dumps(query_id, ensure_ascii=False)[1:-1], *filter(None, parts)]))
    return "\n".join(lines) + "\n"


def _part(measure: str, stages: Mapping[str, Sequence[float | None]], place: int) -> str:
    shown = [stages[stage][place] for stage in ("first_stage", "reranked") if stage in stages]
    if all(value is None for value in shown):
        return ""
    return f"{measure} {' → '.join(MISSING if value is None else repr(rounded(value)) for value in shown)}"


def require_agreement(path: Path, face: Mapping[str, Any], record: Mapping[str, Any] | None) -> None:
    """Raises HarnessError where the face at `path` shows what the exact record beside it does not hold, or there is none."""
    if record is None:
        raise HarnessError(
            f"{path} is of a baseline, and the file beside it holds the values of its queries alone: {_WAY}"
        )
    exact = face_of(record)
    for name, shown in face.items():
        if name in exact and exact[name] != shown:
            raise HarnessError(_differ(path, name, shown, exact[name]))


def require_lines(
    path: Path, query_ids: Sequence[str], values: Mapping[str, Mapping[str, Sequence[float | None]]]
) -> None:
    """Raises HarnessError where the lines of the queries, which may be missing, show what the exact values do not hold."""
    file = lines_path(path)
    if not file.is_file():
        return
    shown, exact = file.read_text(encoding="utf-8").splitlines(), values_lines(query_ids, values).splitlines()
    if shown != exact:
        pairs = zip([*shown, ""], [*exact, ""], strict=False)
        one, other = next(pair for pair in pairs if pair[0] != pair[1])
        raise HarnessError(_differ(file, "a line", one, other))


def _differ(path: Path, name: str, shown: Any, exact: Any) -> str:
    if isinstance(shown, dict) and isinstance(exact, dict):
        key = next(key for key in [*shown, *exact] if shown.get(key) != exact.get(key))
        return _differ(path, f"{name} {key}", shown.get(key), exact.get(key))
    return (
        f"{path}: {name} is {_line(shown)}, and the exact figures beside it say {_line(exact)}: one of the files was "
        f"changed; {_WAY}"
    )
