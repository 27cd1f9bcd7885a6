"""Chat templates: a conversation as one text, and its ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...engine.ahead import settled
from ...engine.options import Options
from ...errors import HarnessError
from ...models.source import ModelSource
from ...models.tokenization import Tokenizer

__all__ = ["Chat", "begun"]


class Chat:
    """The chat template of a model's tokenizer, rendered with the answer's turn opened."""

    def __init__(self, source: ModelSource, folder: Path, options: Options) -> None:
        """Raises HarnessError where the tokenizer cannot be loaded or has no chat template."""
        settled()
        import transformers

        self._source = source
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(
                str(folder), trust_remote_code=options.trust_remote_code
            )
        except (ValueError, OSError, KeyError, ImportError) as error:
            raise HarnessError(f"{source.name}: its tokenizer cannot be loaded: {error}") from error
        if not self._tokenizer.chat_template:
            raise HarnessError(f"{source.name} has no chat template, and its prompt is a conversation")

    def text(self, turns: Sequence[dict[str, str]], *, thinking: bool = False) -> str:
        """The conversation, `turns` of {"role", "content"}, with `thinking` on or off where the template asks. Raises HarnessError where the template refuses it."""
        from jinja2 import TemplateError

        try:
            found: str = self._tokenizer.apply_chat_template(
                list(turns), tokenize=False, add_generation_prompt=True, enable_thinking=thinking
            )
        except TemplateError as error:
            raise HarnessError(f"{self._source.name}: its chat template refuses the conversation: {error}") from error
        return found

    def ids(self, tokenizer: Tokenizer, text: str) -> list[int]:
        """The ids of a rendered conversation: `begun`."""
        return begun(tokenizer, text, self._source)


def begun(tokenizer: Tokenizer, text: str, source: ModelSource) -> list[int]:
    """The ids of a text, with the beginning-of-sequence id once where the tokenizer adds one."""
    ids = tokenizer.ids_of_one(text)
    begin: list[int] = tokenizer.backend.encode("").ids[:1]
    adds = begin == [source.config.get("bos_token_id")]
    return begin + ids if adds and ids[:1] != begin else ids
