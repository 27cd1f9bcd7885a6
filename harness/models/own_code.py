"""Code of a model's own: Python files in its repository or another's, run only where the user trusts them.

With and without it the same weights may give other scores, so whether it runs is a part of a
fingerprint, and code in another repository is taken at one commit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.hub import resolve_revision

__all__ = ["code_files", "foreign_classes", "is_own_class", "names_own_code", "pin", "refuse_ignored"]

_LIBRARIES = ("sentence_transformers.", "pylate.")
"""Whose classes modules.json may name without being code of the model's own."""


def foreign_classes(small: Mapping[str, Any]) -> list[str]:
    """The classes in modules.json that are no library's."""
    types = [str(entry["type"]) for entry in small.get("modules.json", ())]
    return [kind for kind in types if not kind.startswith(_LIBRARIES)]


def _references(small: Mapping[str, Any]) -> list[str]:
    """Every class that an `auto_map` names, as `file.Class` or `ORG/NAME--file.Class`."""
    found: list[str] = []
    for parsed in small.values():
        named = parsed.get("auto_map") if isinstance(parsed, dict) else None
        for value in named.values() if isinstance(named, dict) else ():
            found += [str(each) for each in (value if isinstance(value, list | tuple) else [value]) if each]
    return found


def names_own_code(small: Mapping[str, Any]) -> bool:
    """Whether a model's small files name classes of its own."""
    return bool(_references(small) or foreign_classes(small))


def code_files(small: Mapping[str, Any]) -> list[str]:
    """The names of the files whose classes a model names, in order, each once."""
    named = [ref.rpartition("--")[2] for ref in _references(small)] + foreign_classes(small)
    return list(dict.fromkeys(f"{kind.split('.')[-2]}.py" for kind in named if "." in kind))


def pin(name: str, small: Mapping[str, Any], cache: Path) -> tuple[tuple[str, str], ...] | None:
    """The other repositories that a trusted model takes code from, each with its commit; None where it has none of its own.

    Raises HarnessError where there are several, of which transformers could hold only one at its commit.
    """
    if not names_own_code(small):
        return None
    elsewhere = sorted({ref.partition("--")[0] for ref in _references(small) if "--" in ref})
    if len(elsewhere) > 1:
        raise HarnessError(
            f"{name} takes code from several repositories ({', '.join(elsewhere)}), which cannot all be held at one "
            f"commit: copy the code into a folder of the model and name it without the repositories"
        )
    return tuple((repository, resolve_revision("model", repository, None, cache).commit) for repository in elsewhere)


def refuse_ignored(name: str, config: Mapping[str, Any], auto_class: str) -> None:
    """Raise HarnessError where config.json names code of its own for this class, which is not trusted.

    Where transformers has a class for the model's type, it takes that one instead without a word: another
    attention, another head.
    """
    named = config.get("auto_map") or {}
    found = named.get(auto_class) or named.get("AutoConfig")
    if found:
        raise HarnessError(
            f"{name} needs code from its own repository to load ({found}, auto_map of config.json), and without "
            f"it scores would be those of another model. Read that code, and if you trust it, say --trust-remote-code"
        )


def is_own_class(kind: type) -> bool:
    """Whether a model's class comes from code of its own."""
    return kind.__module__.startswith("transformers_modules")
