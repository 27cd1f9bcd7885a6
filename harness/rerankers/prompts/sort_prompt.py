"""The questions of rerankers that sort: a query and a few labelled passages; see sorting.yaml."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...errors import HarnessError, did_you_mean
from ...files.yaml_file import read_yaml

__all__ = ["SortTemplate", "read_sort_template", "sort_template_names"]


@dataclass(frozen=True)
class SortTemplate:
    """A question about passages, and how an answer begins; see sorting.yaml."""

    family: str
    question: str
    passage: str
    between: str
    labels: str
    answer: str
    chat_answer: str

    def ask(self, query: str, passages: Sequence[str]) -> str:
        """The question, each passage with its label."""
        written = [
            self.passage.format(label=label, text=text) for label, text in zip(self.labels, passages, strict=False)
        ]
        return self.question.format(query=query, passages=self.between.join(written))


def sort_template_names(family: str) -> list[str]:
    """The packed templates of a family."""
    return [name for name, entry in _packed().items() if entry["family"] == family]


def read_sort_template(family: str, name: str) -> SortTemplate:
    """A packed template by its name, or the one in a file of the user's own (a path ending in .yaml).

    Raises HarnessError for an unknown name, a field that is missing or not known, wording without its slots, and
    fewer than two labels.
    """
    if not name.endswith((".yaml", ".yml")):
        known = sort_template_names(family)
        if name not in known:
            raise HarnessError(
                f'unknown template "{name}" of the family {family}; packed are: {", ".join(known)}; one of yours is a '
                f"path ending in .yaml.{did_you_mean(name, known)}"
            )
        return SortTemplate(**_packed()[name])
    entry = read_yaml(Path(name))
    known = [each.name for each in fields(SortTemplate)]
    if not isinstance(entry, dict):
        raise HarnessError(f"{name}: a template has the fields {', '.join(known)}")
    entry = {"family": family, **entry}
    wrong = [key for key in entry if key not in known] or [key for key in known if key not in entry]
    wrong = wrong or [key for key in known if not isinstance(entry[key], str)]
    if wrong or entry["family"] != family:
        raise HarnessError(
            f'{name}: "{(wrong or ["family"])[0]}" is not as a template of the family {family} has it: it has '
            f"{', '.join(known)}, each a text"
        )
    template = SortTemplate(**entry)
    _refuse_without_slots(name, template)
    return template


def _packed() -> Mapping[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("sorting.yaml"))
    return table


def _refuse_without_slots(name: str, template: SortTemplate) -> None:
    for part, slots in (("question", {"query", "passages"}), ("passage", {"label", "text"})):
        try:
            found = {slot for _, slot, _, _ in string.Formatter().parse(getattr(template, part)) if slot is not None}
        except ValueError as error:
            raise HarnessError(f"{name}: {part}: {error}; a brace that is no slot is written twice") from None
        if found != slots:
            named = " and ".join(f"{{{slot}}}" for slot in sorted(slots))
            raise HarnessError(f"{name}: {part} must have {named} and no other slot; a brace is written twice")
    labels = template.labels
    if len(set(labels)) != len(labels) or len(labels) < 2 or not labels.isalnum() or labels != labels.upper():
        raise HarnessError(f"{name}: labels are two capital letters or digits or more, each once")
