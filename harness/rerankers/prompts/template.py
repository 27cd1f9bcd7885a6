"""Templates of causal rerankers: how a prompt is built, cut and scored, as data.

A template is a YAML file of `templates/`, or one of the user's:

    specials: tokenizer     # around the body: those of the tokenizer, `bos` (config.json's alone) or `none`
    parts:                  # each is tokenized on its own, in this order
      - "A: {query}"                                # a text with slots
      - {text: "B: {document}", limit: 3/4}         # at most 3/4 of max_length of its ids
      - {text: "{query}", with_instruction: "{instruction} {query}"}   # for queries that have an instruction
    rules:                  # ways to cut a pair that is too long; the first is the default
      card: {max_length: 1024, cut: only_second, fixed: free}
    labels: {find: piece, positive: "true", negative: "false"}
    score: softmax

Slots: query, instruction, document (title and text joined), or title and text apart. `{query}` holds
the instruction too unless `{instruction}` has a place. The parts from the first with a slot to the
last are the body; what stands around it is fixed. `{{` and `}}` are braces.

cut: `end` (the body's end), `start` (its beginning), `before_ending` (the body's end, whose last ids
are then replaced by those that every prompt ends with), `only_second` (what follows the query's part,
never all of it) or `document` (its last tokens, then the title's, the query's, the instruction's; the
wording stays).
fixed: the fixed parts count towards max_length (`counted`), do not (`free`), or the body may be
longer by their length (`added`).
find: a label is a `piece` of the vocabulary, or stands for the `first_id` of its tokens.
score: `softmax` (P(positive)) and `difference` rank by logit(positive) − logit(negative) and
publish the probability or the difference; `logit` is logit(positive) alone.

writes: for a model that thinks before it answers (see `families/reasoning.py`):
`{until: "</think>", max_new_tokens: 8192, forced: "{written} </think>", among: 20}`. The labels
are read right behind `until`, else behind `forced`, in which {written} is the thought as far as it
came; `among`, which may be absent: both are among so many of the likeliest tokens there.

Which side is padded is no part of a template: with masks it cannot move a score.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import HarnessError, did_you_mean
from ...files.digest import digest_of_settings
from ...files.yaml_file import read_yaml
from ...text import join_document, join_query
from ...types import DocumentText, QueryText

__all__ = ["Filled", "Labels", "Part", "Rule", "Template", "Writes", "read_template", "template_names"]

SLOTS = {"instruction": 1, "query": 2, "title": 3, "text": 4, "document": 4}
"""slot → its rank under the cut `document`: the highest rank loses tokens first."""

SPECIALS = ("tokenizer", "bos", "none")
CUTS = ("end", "start", "before_ending", "only_second", "document")
FIXED = ("counted", "free", "added")
_KEYS = ("specials", "parts", "rules", "labels", "score")
FINDS = ("piece", "first_id")
SCORES = ("softmax", "difference", "logit")


class Filled(NamedTuple):
    """A part's text with its slots filled, (start, end, rank) of each slot in characters, and the query's instruction."""

    text: str
    spans: tuple[tuple[int, int, int], ...]
    instruction: str


Pattern = tuple[tuple[str, str], ...]
"""A text with slots, as pairs of a literal and the slot after it ("" for none)."""


@dataclass(frozen=True)
class Part:
    """One piece of the prompt, tokenized on its own."""

    plain: Pattern
    instructed: Pattern
    """The text for queries that have an instruction; mostly the same."""
    limit: Fraction | None = None
    """The share of max_length that this part's ids may take."""

    @property
    def slots(self) -> set[str]:
        return {slot for _, slot in self.plain + self.instructed if slot}

    @property
    def of_query(self) -> bool:
        return bool(self.slots & {"query", "instruction"}) or self.plain != self.instructed

    @property
    def of_document(self) -> bool:
        return bool(self.slots & {"document", "title", "text"})


@dataclass(frozen=True)
class Rule:
    """How a pair that is too long is cut; the words are explained at the top of this module."""

    max_length: int
    cut: str
    fixed: str = "counted"


@dataclass(frozen=True)
class Labels:
    """The words whose logits are the score; `negative` is None where one raw logit is."""

    find: str
    positive: str | int
    """A word; an id where `find` is `id`."""
    negative: str | int | None


@dataclass(frozen=True)
class Writes:
    """How a model thinks before it answers; the words are explained at the top of this module."""

    until: str
    forced: str
    max_new_tokens: int
    among: int | None = None


@dataclass(frozen=True)
class Template:
    """A template, read and checked."""

    name: str
    digest: str
    """32 hex digits over what the file says; comments and layout are no part of it."""
    specials: str
    parts: tuple[Part, ...]
    rules: Mapping[str, Rule]
    labels: Labels
    score: str
    trimmed: frozenset[str] = frozenset()
    """Slots whose texts lose the white space around them."""
    writes: Writes | None = None
    """None for a model that answers at once."""

    @property
    def places_instruction(self) -> bool:
        """Whether an instruction has a place of its own, and is then not joined to the query."""
        return any(slot == "instruction" for part in self.parts for _, slot in part.instructed)

    def fixed(self, part: Part) -> str:
        """The text of a part without slots."""
        return self.fill(part, QueryText(""), DocumentText("", "")).text

    def split(self) -> tuple[tuple[Part, ...], tuple[Part, ...], tuple[Part, ...]]:
        """The fixed parts before the body, the body, and the fixed parts after it."""
        slotted = [place for place, part in enumerate(self.parts) if part.of_query or part.of_document]
        first, last = slotted[0], slotted[-1] + 1
        return self.parts[:first], self.parts[first:last], self.parts[last:]

    def fill(self, part: Part, query: QueryText, document: DocumentText) -> Filled:
        """The part's text for a pair; a part of one side ignores the other."""
        values = {
            "instruction": query.instruction,
            "query": query.text if self.places_instruction else join_query(query),
            "title": document.title,
            "text": document.text,
            "document": join_document(document),
        }
        values |= {slot: values[slot].strip() for slot in self.trimmed}
        text, spans = "", []
        for literal, slot in part.instructed if query.instruction else part.plain:
            text += literal
            if slot:
                spans.append((len(text), len(text) + len(values[slot]), SLOTS[slot]))
                text += values[slot]
        return Filled(text, tuple(spans), query.instruction)


def template_names() -> list[str]:
    """The names of the packed templates."""
    return sorted(path.stem for path in _folder().glob("*.yaml"))


def read_template(name: str) -> Template:
    """The packed template of that name, or the user's own where `name` is a path to a YAML file.

    Raises HarnessError for an unknown name, and naming file and key for anything a template cannot say.
    """
    if name.endswith((".yaml", ".yml")):
        path = Path(name).expanduser()
        if not path.is_file():
            raise HarnessError(f"no such template file: {name}")
        return _Reader(path).template()
    if name not in template_names():
        known = template_names()
        raise HarnessError(
            f'unknown template "{name}"; packed are: {", ".join(known)}; one of yours is a path ending in .yaml.'
            f"{did_you_mean(name, known)}"
        )
    return _Reader(_folder() / f"{name}.yaml").template()


def _folder() -> Path:
    return Path(__file__).with_name("templates")


class _Reader:
    """Reads one file; every complaint names the file and the key."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def template(self) -> Template:
        top = self.mapping(read_yaml(self.path), "the template", {*_KEYS, "writes"})
        rules = top.get("rules")
        if not isinstance(rules, dict) or not rules or not all(isinstance(name, str) for name in rules):
            raise self.error("rules", 'must name a rule at least, as in "published: {max_length: 2048, cut: end}"')
        template = Template(
            name=self.path.stem,
            specials=self.word(top, "specials", SPECIALS, "the template"),
            parts=tuple(self.part(entry) for entry in self.sequence(top, "parts")),
            rules={name: self.rule(entry, f'rule "{name}"') for name, entry in rules.items()},
            labels=self.labels(top.get("labels")),
            score=self.word(top, "score", SCORES, "the template"),
            digest=digest_of_settings(top.items()),
            writes=self.writes(top["writes"]) if "writes" in top else None,
        )
        self.refuse_nonsense(template)
        return template

    def part(self, entry: object) -> Part:
        entry = {"text": entry} if isinstance(entry, str) else entry
        found = self.mapping(entry, "a part", {"text", "with_instruction", "limit"})
        plain = self.pattern(self.text(found, "text", "a part"))
        instructed = plain
        if "with_instruction" in found:
            instructed = self.pattern(self.text(found, "with_instruction", "a part"))
        return Part(plain, instructed, self.limit(found["limit"]) if "limit" in found else None)

    def pattern(self, text: str) -> Pattern:
        try:
            pieces = list(string.Formatter().parse(text))
        except ValueError as error:
            raise self.error("text", f"has a brace too many or too few ({error}); a brace itself is {{{{") from None
        for _, slot, form, conversion in pieces:
            if slot is not None and (slot not in SLOTS or form or conversion):
                raise self.error(
                    "text", f'has the slot "{{{slot}}}"; known: {", ".join(SLOTS)}.{did_you_mean(slot, SLOTS)}'
                )
        return tuple((literal, slot or "") for literal, slot, _, _ in pieces)

    def limit(self, value: object) -> Fraction:
        try:
            share = Fraction(str(value))
        except (ValueError, ZeroDivisionError):
            share = Fraction(0)
        if not 0 < share <= 1:
            raise self.error("limit", f"is a share of max_length such as 3/4 or 1, not {value}")
        return share

    def rule(self, entry: object, where: str) -> Rule:
        found = self.mapping(entry, where, {"max_length", "cut", "fixed"})
        length = found.get("max_length")
        if not isinstance(length, int) or isinstance(length, bool) or length < 1:
            raise self.error("max_length", f"of {where} must be a whole number above 0")
        fixed = self.word({"fixed": "counted", **found}, "fixed", FIXED, where)
        return Rule(length, self.word(found, "cut", CUTS, where), fixed)

    def labels(self, entry: object) -> Labels:
        found = self.mapping(entry, "labels", {"find", "positive", "negative"})
        negative = self.text(found, "negative", "labels") if "negative" in found else None
        return Labels(self.word(found, "find", FINDS, "labels"), self.text(found, "positive", "labels"), negative)

    def writes(self, entry: object) -> Writes:
        found = self.mapping(entry, "writes", {"until", "forced", "max_new_tokens", "among"})
        numbers = {key: found[key] for key in ("max_new_tokens", "among") if key in found}
        for key, value in {"max_new_tokens": None, **numbers}.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise self.error(key, "of writes must be a whole number above 0")
        forced = self.text(found, "forced", "writes")
        if forced.count("{written}") != 1:
            raise self.error("forced", "of writes must hold {written} once: the thought as far as it came")
        return Writes(self.text(found, "until", "writes"), forced, **numbers)

    def refuse_nonsense(self, template: Template) -> None:
        """Refuse a template that would lose a text, or whose rule has nothing to work on."""
        for which in ("plain", "instructed"):
            slots = [slot for part in template.parts for _, slot in getattr(part, which) if slot]
            if sorted(set(slots)) != sorted(slots) or "query" not in slots:
                raise self.error("parts", "must hold {query} once, and no slot twice")
            if ("document" in slots) == ("text" in slots) or ("title" in slots) != ("text" in slots):
                raise self.error(
                    "parts", "must hold {document}, or {title} and {text}: a title would be lost otherwise"
                )
        body = template.split()[1]
        joint = any(part.of_query and part.of_document for part in body)
        if joint and len(body) > 1:
            raise self.error("parts", "with both query and document in one part can have no other part with slots")
        ordered = not joint and body[0].of_query and body[-1].of_document
        if any(rule.cut == "only_second" for rule in template.rules.values()) and not ordered:
            raise self.error("cut", "only_second needs the query in a part of its own, before the document's")
        if template.writes and template.labels.negative is None:
            raise self.error("writes", "needs a positive and a negative label")
        if (template.labels.negative is None) != (template.score == "logit"):
            raise self.error("labels", "have a negative, except for the score logit, which has none")

    def mapping(self, value: object, where: str, known: set[str]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise HarnessError(
                f"{self.path}: {where} must be written as key: value, with the keys {', '.join(sorted(known))}"
            )
        for key in value:
            if key not in known:
                raise HarnessError(
                    f'{self.path}: unknown key "{key}" in {where}; known: {", ".join(sorted(known))}.'
                    f"{did_you_mean(str(key), known)}"
                )
        return value

    def sequence(self, entry: Mapping[str, Any], key: str) -> Sequence[object]:
        value = entry.get(key)
        if not isinstance(value, list) or not value:
            raise self.error(key, "must be a list")
        return value

    def text(self, entry: Mapping[str, Any], key: str, where: str) -> str:
        value = entry.get(key)
        if not isinstance(value, str) or not value:
            raise self.error(key, f"of {where} must be a text; true, false and numbers need quotes")
        return value

    def word(self, entry: Mapping[str, Any], key: str, words: Sequence[str], where: str) -> str:
        value = entry.get(key)
        if value not in words:
            given = "is missing" if value is None else f'is "{value}"'
            raise self.error(key, f"of {where} {given}; it is one of: {', '.join(words)}")
        return str(value)

    def error(self, key: str, what: str) -> HarnessError:
        return HarnessError(f'{self.path}: "{key}" {what}')
