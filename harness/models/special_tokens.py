"""Texts that a tokenizer reads special tokens in: `</s>`, `[SEP]` or `<|im_end|>` written out in a document.

The authors' code parses them too, so ids are left as they are; but such a text can end a prompt's turn and go on in
another's voice, so how many there are is a part of every result.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

__all__ = ["SpecialTexts", "texts_with_special_tokens"]

_SHOWN = 5


class SpecialTexts(NamedTuple):
    """How many texts hold special tokens, and which tokens these are, sorted."""

    texts: int
    tokens: list[str]


def texts_with_special_tokens(backend: Any, texts: Iterable[str]) -> SpecialTexts:
    """The texts of which `backend`, a `tokenizers.Tokenizer`, parses a part as a special token.

    Only those in which such a token is written are tokenized, so a large corpus without any costs a search.
    """
    special = {number: token for number, token in backend.get_added_tokens_decoder().items() if token.special}
    written = sorted({token.content for token in special.values() if token.content.strip()}, key=len, reverse=True)
    if not written:
        return SpecialTexts(0, [])
    # What is matched after normalisation may be written in another case.
    loose = any(token.normalized for token in special.values())
    pattern = re.compile("|".join(map(re.escape, written)), re.IGNORECASE if loose else 0)
    signs = {variant for word in written for variant in (word[0], *((word[0].swapcase(),) if loose else ()))}
    count, seen = 0, set[str]()
    for text in texts:
        if not any(sign in text for sign in signs) or not pattern.search(text):
            continue
        ids = backend.encode(text, add_special_tokens=False).ids
        folded = text.casefold() if loose else text
        found = {special[number].content for number in ids if number in special}
        # The unknown token stands for signs that no piece has, too: what counts is what is written.
        found = {word for word in found if (word.casefold() if loose else word) in folded}
        count += bool(found)
        seen |= found
    return SpecialTexts(count, sorted(seen)[:_SHOWN])
