"""A saved chat template with the roles query, document and system as a template of ours.

It is rendered once with marks in the texts' places, and what stands around the marks is the wording.
Then it is rendered with texts of many kinds: where the template that was read gives another string
for one of them, what the chat template does to texts cannot be said by wording and places, and the
model is refused. Rendering is that of transformers 5.24 (`apply_chat_template`), in the same sandbox.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from ...errors import HarnessError
from ...files.digest import digest_of_settings
from ...models.cross_encoder import CrossEncoderLayout
from ...models.source import ModelSource
from ...types import DocumentText, QueryText
from .template import Labels, Part, Pattern, Rule, Template

__all__ = ["SAVED", "ChatTemplate"]

SAVED = "saved"
"""The name of the template that a model's own files hold."""

_MARKS = {"query": "Qqzmarkqqq", "document": "Ddzmarkddd", "instruction": "Iizmarkiii"}
_PROBES = (
    "alpha", " padded \n", "two\nlines", "<b>&amp; \"quoted\" 'single' {braces} {{ double }} {% tag %}", "naïve 漢字 🙂",
    "</think> after", "<tool_response>x</tool_response>", "True", "0", "[INST] a [/INST]", "word " * 1500, "`code` \\n\\",
)  # fmt: skip
"""Texts that a template might treat apart from others."""


@dataclass(frozen=True)
class ChatTemplate:
    """A model's chat template, and what its messages look like."""

    source: ModelSource
    layout: CrossEncoderLayout

    @property
    def carries(self) -> bool:
        """Whether query and document reach the rendered text."""
        return self._failure is None

    def template(self, labels: Labels, score: str, max_length: int) -> Template:
        """The template, cut as sentence-transformers cuts. Raises HarnessError where it cannot be taken apart."""
        if self._failure is not None:
            raise HarnessError(
                f"the chat template of {self.source.name} has no place for a query and a document ({self._failure}); "
                f"pairs that its tokenizer joins are --set template=pair"
            )
        plain = self._pattern(_MARKS["query"], _MARKS["document"], None)
        instructed = self._pattern(_MARKS["query"], _MARKS["document"], _MARKS["instruction"])
        trimmed = frozenset(slot for slot in _slots(instructed) if self._trims(slot))
        cut = {"left": "start"}.get(
            self.layout.truncation_side, "before_ending" if self.layout.restores_ending else "end"
        )
        template = Template(
            name=SAVED,
            digest=digest_of_settings({"plain": plain, "instructed": instructed, "trimmed": sorted(trimmed)}.items()),
            specials="none",
            parts=(Part(plain, instructed),),
            rules={"published": Rule(max_length, cut)},
            labels=labels,
            score=score,
            trimmed=trimmed,
        )
        self._compare(template)
        return template

    @property
    def places_instruction(self) -> bool:
        """Whether a system message reaches the rendered text beside query and document."""
        try:
            found = self._render("alpha", "bravo", _MARKS["instruction"])
        except HarnessError:
            return False
        return _MARKS["instruction"] in found and "alpha" in found and "bravo" in found

    @cached_property
    def _failure(self) -> str | None:
        try:
            found = self._render(_MARKS["query"], _MARKS["document"], None)
        except HarnessError as error:
            return str(error)
        lost = [role for role in ("query", "document") if _MARKS[role] not in found]
        return f"the {' and the '.join(lost)} does not reach the input" if lost else None

    def _render(self, query: str, document: str, system: str | None) -> str:
        return _render(self._compiled, self._variables, self._messages(query, document, system))

    def _messages(self, query: str, document: str, system: str | None) -> list[dict[str, Any]]:
        texts = [("query", query), ("document", document)]
        if system is not None:
            texts.insert(0, ("system", system))
        return [
            {"role": role, "content": [{"type": "text", "text": text}] if self.layout.structured else text}
            for role, text in texts
        ]

    @cached_property
    def _compiled(self) -> Any:
        return _compile(self.layout.chat_template or "", self.source.name)

    @cached_property
    def _variables(self) -> dict[str, Any]:
        """The special tokens by name, and what the files ask the template to be rendered with."""
        stated = {**self.source.small.get("special_tokens_map.json", {}), **self.source.tokenizer_config}
        named = {key: value for key, value in stated.items() if key.endswith("_token") and value}
        texts = {key: value.get("content") if isinstance(value, dict) else value for key, value in named.items()}
        given = {key: value for key, value in texts.items() if isinstance(value, str)}
        return {"tools": None, "documents": None, "add_generation_prompt": False, **given, **self.layout.render}

    def _pattern(self, query: str, document: str, system: str | None) -> Pattern:
        """The wording around the marks. Raises HarnessError where a mark stands there twice."""
        marks = {query: "query", document: "document"}
        if system is not None and self.places_instruction:
            marks[system] = "instruction"
        text = self._render(query, document, system if "instruction" in marks.values() else None)
        for mark, slot in marks.items():
            if text.count(mark) != 1:
                raise self._inseparable(f"the {slot} stands in it {text.count(mark)} times")
        pieces: list[tuple[str, str]] = []
        while places := sorted((text.find(mark), mark) for mark in marks if mark in text):
            place, mark = places[0]
            pieces.append((text[:place], marks[mark]))
            text = text[place + len(mark) :]
        return (*pieces, (text, ""))

    def _trims(self, slot: str) -> bool:
        texts = {**_MARKS, slot: f" \n{_MARKS[slot]}\t "}
        system = texts["instruction"] if self.places_instruction else None
        return texts[slot] not in self._render(texts["query"], texts["document"], system)

    def _compare(self, template: Template) -> None:
        """Raise HarnessError where the chat template gives another text than `template` for one of the probes."""
        for query, document, system in _pairs_of_probes(with_system=template.places_instruction):
            found = template.fill(template.parts[0], QueryText(query, system or ""), DocumentText("", document)).text
            if found != self._render(query, document, system):
                raise self._inseparable(f"it does not write {(query, document, system)!r:.80} as it stands")

    def _inseparable(self, why: str) -> HarnessError:
        return HarnessError(
            f"the chat template of {self.source.name} cannot be split into wording and places: {why}. Write a template "
            f"of yours and give its path, --set template=PATH.yaml, or --set template=pair for pairs as its tokenizer joins them"
        )


def _slots(pattern: Pattern) -> list[str]:
    return [slot for _, slot in pattern if slot]


def _pairs_of_probes(*, with_system: bool) -> Iterator[tuple[str, str, str | None]]:
    for probe in _PROBES:
        yield probe, "bravo", None
        yield "alpha", probe, None
        if with_system and probe.strip():
            yield "alpha", "bravo", probe


def _render(compiled: Callable[..., str], variables: Mapping[str, Any], messages: Sequence[Mapping[str, Any]]) -> str:
    from jinja2 import TemplateError

    try:
        return compiled(messages=messages, **variables)
    except (TemplateError, TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
        raise HarnessError(f"it ends in {type(error).__name__}: {' '.join(str(error).split())[:120]}") from None


@cache
def _compile(text: str, name: str) -> Any:
    """The template's render function, in the sandbox of transformers. Raises HarnessError where it is none."""
    import jinja2
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks what an assistant writes; the text is the same."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def strftime_now(form: str) -> str:
        raise jinja2.TemplateError(f"it writes the time ({form}), so its scores would change from day to day")

    def tojson(value: Any, **how: Any) -> str:
        return json.dumps(value, **{"ensure_ascii": False, **how})

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {"raise_exception": raise_exception, "strftime_now": strftime_now}
    try:
        return environment.from_string(text).render
    except jinja2.TemplateError as error:
        raise HarnessError(f"the chat template of {name} is damaged: {error}") from None
