"""`rerank-harness.toml`: a whole run in a file. Its keys are the flags of `run`, without the dashes.

    tasks = ["SciFact", "demo"]
    reranker = ["BAAI/bge-reranker-v2-m3"]
    top-k = 100

    [set]
    max_length = 512           # of every reranker that has it; a list tries each: [256, 512]

    [[reranker]]               # instead of reranker = [...]: one with what is its own
    name = "remote:tei/my-model"
    label = "ours"
    set = { url = "http://localhost:8080" }

    [warnings]
    ignore = ["RH006"]         # codes, or their beginnings; select takes the same, and empty means all

`run` without a task reads the file in the working folder; `--config FILE` names another. What is
given as a flag goes before what the file says. `[warnings]` holds for every run in that folder, or
with that `--config`, also where tasks are named.
"""

from __future__ import annotations

import argparse
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import HarnessError, did_you_mean
from ..python.wanted import settings_of, wanted_of
from ..results.cautions import check_codes

__all__ = ["FILE_NAME", "read_config", "read_warnings"]

FILE_NAME = "rerank-harness.toml"

Reader = Callable[[str], Any]


def read_config(path: Path, options: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The file's values by the name that argparse gives each option.

    `options` maps a flag (or the positional `tasks`) to what argparse is told of it; the same
    readers, choices and kinds hold here. Raises HarnessError, naming line and key, for TOML that
    cannot be read, an unknown key, and a value of the wrong kind.
    """
    text, table = _parsed(path)
    known: dict[str, Mapping[str, Any]] = {}
    for flag, how in options.items():
        # `tasks` are the words of `run`; the flag --tasks, a folder of cards, is the key `cards`.
        key = flag.removeprefix("--")
        known[str(how["dest"]) if key in known else key] = how
    found = {}
    for key, value in table.items():
        if key == "warnings":
            continue
        where = f"{path}, line {_line_of(key, text)}"
        if key not in known:
            raise HarnessError(f'{where}: unknown key "{key}"; a key is a flag of run.{did_you_mean(key, known)}')
        name = known[key].get("dest", key.replace("-", "_"))
        read = _rerankers if key == "reranker" else _value
        found[name] = read(value, known[key], f'{where}: "{key}"')
    return found


def read_warnings(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The codes that `[warnings]` selects and ignores; empty where the file has no such table.

    Raises HarnessError as `read_config` does, and for a code that does not exist.
    """
    text, table = _parsed(path)
    entry = table.get("warnings", {})
    where = f"{path}, line {_line_of('warnings', text)}"
    if not isinstance(entry, dict):
        raise HarnessError(f'{where}: "warnings" is a table with select and ignore, as in [warnings]')
    for key in entry:
        if key not in ("select", "ignore"):
            raise HarnessError(f'{where}: [warnings] has select and ignore, not "{key}"')
    lists = [entry.get(key, []) for key in ("select", "ignore")]
    if not all(isinstance(codes, list) and all(isinstance(code, str) for code in codes) for codes in lists):
        raise HarnessError(f'{where}: select and ignore are lists of codes, as in ["RH006"]')
    select, ignore = (check_codes(codes, where) for codes in lists)
    return select, ignore


def _parsed(path: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return text, tomllib.loads(text)
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HarnessError(f"{path} is not readable TOML: {error}") from None


def _line_of(key: str, text: str) -> int:
    pattern = re.compile(rf"""^\s*(\[\[?\s*)?["']?{re.escape(key)}["']?\s*[=\].]""")
    return next((number for number, line in enumerate(text.splitlines(), 1) if pattern.match(line)), 1)


def _value(value: Any, how: Mapping[str, Any], where: str) -> Any:
    if how.get("action") == "store_true":
        if not isinstance(value, bool):
            raise HarnessError(f"{where} is true or false")
        return value
    if str(how.get("metavar")).endswith("KEY=VALUE"):
        if not isinstance(value, dict):
            raise HarnessError(f"{where} is a table of settings, as in [set]")
        return list(settings_of(value, where))
    values = value if isinstance(value, list) else [value]
    if how.get("action") == "append" or how.get("nargs") == "*":
        return [_one(entry, how, where) for entry in values]
    if how.get("default") == ():
        # A flag takes such a list with commas.
        return _one(",".join(_word(entry, where) for entry in values), how, where)
    return _one(value, how, where)


def _rerankers(value: Any, how: Mapping[str, Any], where: str) -> Any:
    """Rerankers by name, or each a table with what is its own, as in [[reranker]]."""
    entries = value if isinstance(value, list) else [value]
    return [
        wanted_of(entry, f"{where}, number {number}") if isinstance(entry, dict) else _one(entry, how, where)
        for number, entry in enumerate(entries, 1)
    ]


def _one(value: Any, how: Mapping[str, Any], where: str) -> Any:
    word = _word(value, where)
    choices = how.get("choices")
    if choices and word not in choices:
        raise HarnessError(f"{where} is {' or '.join(choices)}, not {word}.{did_you_mean(word, choices)}")
    reader: Reader = how.get("type", str)
    try:
        return reader(word)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise HarnessError(f"{where}: {error}") from None


def _word(value: Any, where: str) -> str:
    """The value as a flag would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise HarnessError(f"{where} is a word or a number, not {type(value).__name__}")
    return str(value)
