"""What a reranker's own files say of its input, for the families that take it from there.

The form is `saved` (the chat template, one string) or `pair` (the tokenizer joins query and
document). A folder that says both, so that one of them would be left out in silence, is an error
that names the flag which decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import HarnessError, did_you_mean
from ...models.cross_encoder import CrossEncoderLayout
from ...models.source import ModelSource
from ...models.tokenization import Tokenizer, token_limit
from ...types import QueryText
from .chat import SAVED, ChatTemplate
from .pairs import PairPrompter
from .prompts import Prompter
from .template import Labels, Rule, Template

__all__ = ["PAIR", "SavedForm", "saved_form"]

PAIR = "pair"
_NO_PROMPT = "none"


@dataclass(frozen=True)
class SavedForm:
    """A model's input as its files say it."""

    layout: CrossEncoderLayout
    template: Template | None
    """The chat template; None where the tokenizer joins pairs."""
    rule: Rule
    prompt: str
    """The default prompt: the system message of a query without an instruction, or what stands before the query."""

    @property
    def settings(self) -> dict[str, object]:
        """What a fingerprint must hold beside the length."""
        found: dict[str, object] = {"template": PAIR, "truncation": "longest_first"}
        if self.template is not None:
            found = {"template": SAVED, "template_digest": self.template.digest, "truncation": self.rule.cut}
        if self.prompt:
            found["prompt"] = self.prompt
        if self.layout.lower_case:
            found["lower_case"] = True
        if self.layout.truncation_side != "right":
            found["truncation_side"] = self.layout.truncation_side
        return found

    @property
    def pair_prefix(self) -> str:
        """What stands before the query where the tokenizer joins pairs."""
        return self.prompt if self.template is None else ""

    @property
    def note(self) -> str | None:
        """What the user should know: prompts that are saved and not used."""
        if self.prompt and not self.places_prompt:
            return "its default prompt has no place in its chat template, and is not used there either"
        unused = [name for name, text in self.layout.prompts.items() if text != self.prompt]
        if unused and not self.prompt:
            return f"its saved prompts ({', '.join(unused)}) are used where one is asked for, --set prompt={unused[0]}"
        return None

    @property
    def shown(self) -> str:
        """The input in one line, for people."""
        if self.template is None:
            before = f", {self.prompt!r} before the query" if self.prompt else ""
            return f"query and document as the tokenizer joins a pair{before}"
        (part,) = self.template.parts
        text = "".join(f"{literal}{{{slot}}}" if slot else literal for literal, slot in part.instructed)
        prompt = f"; without an instruction the system message is {self.prompt!r}" if self.prompt else ""
        lost = " (not used: the chat template has no place for it)" if prompt and not self.places_prompt else ""
        return f"the model's chat template, {text!r}{prompt}{lost}"

    @property
    def places_prompt(self) -> bool:
        """Whether the default prompt reaches the input."""
        return self.template is None or self.template.places_instruction

    def prompter(self, tokenizer: Tokenizer, positions: int | None) -> Prompter | PairPrompter:
        """What makes ids of the request's texts."""
        if self.template is None:
            return PairPrompter(tokenizer, self.rule.max_length, self.pair_prefix, self.layout.truncation_side)
        return Prompter(tokenizer, self.template, self.rule, positions, None)

    def queries(self, queries: list[QueryText]) -> list[QueryText]:
        """The queries, those without an instruction of their own with the default prompt where it has a place."""
        if self.template is None or not self.template.places_instruction or not self.prompt:
            return queries
        return [query if query.instruction else query._replace(instruction=self.prompt) for query in queries]


def saved_form(
    source: ModelSource, layout: CrossEncoderLayout, labels: Labels, score: str, chosen: Mapping[str, Any]
) -> SavedForm:
    """The form of a model's input under the settings template, prompt, max_length and truncation.

    Raises HarnessError where the files say two things, where the chat template has no place for a
    pair or cannot be taken apart, for an unknown prompt, and for a max_length without positions.
    """
    limit = token_limit(source.config, source.tokenizer_config)
    usual = layout.max_length or limit or 512
    max_length = int(chosen.get("max_length", usual))
    if limit is not None and max_length > max(limit, layout.max_length or 0):
        raise HarnessError(f"{source.name} takes at most {limit} tokens; max_length={max_length} is more")
    chat = ChatTemplate(source, layout)
    if _form(chat, chosen.get("template")) == PAIR:
        if chosen.get("truncation", "published") != "published":
            raise HarnessError(f"{source.name}: pairs that a tokenizer joins have no truncation=document")
        return SavedForm(layout, None, Rule(max_length, "longest_first"), _prompt(source, layout, chosen))
    template = chat.template(labels, score, max_length)
    rule = template.rules["published"]
    if chosen.get("truncation") == "document":
        rule = Rule(max_length, "document")
    return SavedForm(layout, template, rule, _prompt(source, layout, chosen))


def _form(chat: ChatTemplate, asked: object) -> str:
    layout, name = chat.layout, chat.source.name
    if asked is not None:
        if asked == SAVED and layout.chat_template is None:
            raise HarnessError(f"{name} holds no chat template, which template={SAVED} would take")
        return str(asked)
    if layout.chat_template is None:
        return PAIR
    if (
        layout.messages is False
        and chat.carries
        and all(role in layout.chat_template for role in ("query", "document"))
    ):
        raise HarnessError(
            f"{name} holds a chat template for query and document, and its modules.json joins pairs without it: say "
            f"--set template={SAVED} to use it, or --set template={PAIR} to leave it out"
        )
    if layout.messages is None:
        return SAVED if chat.carries else PAIR
    return SAVED if layout.messages else PAIR


def _prompt(source: ModelSource, layout: CrossEncoderLayout, chosen: Mapping[str, Any]) -> str:
    name = chosen.get("prompt")
    if name is None:
        return layout.prompt
    if name != _NO_PROMPT and name not in layout.prompts:
        known = ", ".join([*layout.prompts, _NO_PROMPT])
        raise HarnessError(
            f'{source.name} has no prompt "{name}"; it has: {known}.{did_you_mean(str(name), layout.prompts)}'
        )
    return layout.prompts.get(str(name), "")
