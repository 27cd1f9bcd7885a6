"""Tokenizers, read so that tokenizer.json is obeyed.

transformers 5 rebuilds the tokenizers of many classes (Llama, XLM-R, T5, Gemma, Qwen2 …) from
their vocabulary and ignores the normalizer and pre-tokenizer that tokenizer.json states, which
moves ids and thus scores. So tokenizer.json is loaded with the `tokenizers` library itself, and
transformers is asked only for a model that has no such file.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from ..engine.ahead import cores_back
from ..errors import HarnessError
from ..files.digest import digest_of
from .ids.flat import FlatIds, chunks
from .ids.kept import kept_rows
from .vocabulary import refuse_empty, through_transformers

__all__ = [
    "Tokenizer",
    "encodings",
    "ids_of",
    "load_tokenizer",
    "lower_case",
    "padding_id",
    "rules_of",
    "token_limit",
    "uncut",
    "with_encodings",
]

_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer", "data2vec-text"}
"""Models whose position numbers begin after the padding id, so two positions can never be used."""

_NO_LIMIT = 10**6

T = TypeVar("T")


class Tokenizer:
    """Token ids of texts without special tokens, and single texts or pairs with them.

    `kind` says where the rules come from and is a part of every fingerprint.
    """

    def __init__(self, backend: Any, kind: str, pad_id: int) -> None:
        self.backend = backend
        self.kind = kind
        self.pad_id = pad_id
        backend.no_padding()
        backend.no_truncation()

    def encode_ids(self, texts: Iterable[str], most: int | None = None, *, end: bool = False) -> FlatIds:
        """The ids of each text without special tokens; its first `most` (with `end` its last) where there are more."""
        return ids_of(self.backend, texts, most, end=end)

    def ids_of_one(self, text: str) -> list[int]:
        """The ids of one text, without special tokens and never cut."""
        found: list[int] = self.encode_ids([text])[0].tolist()
        return found

    def specials_in(self, *, pair: bool) -> int:
        """How many special tokens a single text, or a pair, gets."""
        return int(self.backend.num_special_tokens_to_add(pair))


def ids_of(backend: Any, texts: Iterable[str], most: int | None = None, *, end: bool = False) -> FlatIds:
    """As `Tokenizer.encode_ids`, of a `tokenizers.Tokenizer`. What was tokenized before is read from the cache."""

    def fresh(chunk: list[str]) -> Iterator[list[int]]:
        return (entry.ids for entry in encodings(backend, chunk))

    with uncut(backend):
        return FlatIds.of(kept_rows(texts, lambda: rules_of(backend), fresh), most, end=end)


_said: tuple[Any, tuple[object, ...], str] = (None, (), "")
"""The tokenizer that was asked last, what it looked like, and all that it says of itself: a large one says 10 MB."""


def rules_of(backend: Any, more: str = "") -> str | None:
    """32 hex digits over all that decides the ids of a text as `backend` is now, truncation aside; None where that
    cannot be said: for a rule written in Python, or one that draws lots.

    The library's version is a part: another one may mend a rule. `more` is what else a row depends on.
    """
    global _said  # noqa: PLW0603
    if any(getattr(backend.model, chance, None) for chance in ("dropout", "alpha", "nbest_size")):
        return None
    parts = (backend.normalizer, backend.pre_tokenizer, backend.post_processor)
    sizes = backend.get_vocab_size(), len(backend.get_added_tokens_decoder())
    looks = (*sizes, backend.encode_special_tokens, *map(str, parts))
    said = _said
    if said[0] is not backend or said[1] != looks:
        try:
            with uncut(backend):
                _said = said = backend, looks, digest_of(backend.to_str())
        except Exception:  # noqa: BLE001 – a rule written in Python cannot be said, and tokenizers has no class for it
            return None
    return digest_of("ids", version("tokenizers"), str(backend.encode_special_tokens), said[2], more)


def encodings(backend: Any, texts: Iterable[str], *, specials: bool = False) -> Iterator[Any]:
    """One `tokenizers.Encoding` a text, of which no more are held than are tokenized at a time.

    They take about a hundred bytes a token: whoever needs them for many texts keeps what he wants and lets them go.
    Raises HarnessError for a text that the tokenizer cannot read.
    """
    for chunk in chunks(texts):
        cores_back()
        try:
            found = backend.encode_batch(chunk, add_special_tokens=specials)
        except Exception as error:  # tokenizers has no class of its own for it
            raise HarnessError(f"the tokenizer cannot read a text: {error}") from error
        yield from found


def with_encodings(
    backend: Any, items: Iterable[tuple[str, T]], *, specials: bool = False
) -> Iterator[tuple[tuple[str, T], Any]]:
    """As `encodings`, of things that begin with their text, each with its own."""
    waiting: deque[tuple[str, T]] = deque()

    def texts() -> Iterator[str]:
        for item in items:
            waiting.append(item)
            yield item[0]

    for entry in encodings(backend, texts(), specials=specials):
        yield waiting.popleft(), entry


@contextmanager
def uncut(backend: Any) -> Iterator[None]:
    """The tokenizer without its truncation, which it has again afterwards."""
    cut = backend.truncation
    backend.no_truncation()
    try:
        yield
    finally:
        if cut is not None:
            backend.enable_truncation(**cut)


def load_tokenizer(folder: Path, config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a model folder. `config` is the parsed config.json (for the padding id)."""
    path = folder / "tokenizer.json"
    if path.is_file():
        from tokenizers import Tokenizer as Backend

        backend, kind = Backend.from_file(str(path)), "tokenizer.json"
        refuse_empty(backend, str(folder), "a whole tokenizer.json")
    else:
        backend, kind = through_transformers(folder, str(folder))
    return Tokenizer(backend, kind, padding_id(folder, config, backend))


def padding_id(folder: Path, config: Mapping[str, Any], backend: Any) -> int:
    """The id that fills up shorter rows: config.json's, else the pad token that the tokenizer's files name, else
    the end of sequence, as sentence-transformers and transformers' own collators take it.

    What stands there is masked everywhere, and never recognised by its id: a text may end in the same one. Where
    no file names any the id is therefore of no account, and 0.
    """
    named = [_named_token(folder, backend, "pad_token"), (backend.padding or {}).get("pad_id")]
    ends = config.get("eos_token_id")
    named += [ends[0] if isinstance(ends, list) and ends else ends, _named_token(folder, backend, "eos_token")]
    rows = config.get("vocab_size")
    for found in (config.get("pad_token_id"), *named):
        # Old Llama files state -1, and some state an id that the embeddings have no row for.
        if isinstance(found, int) and found >= 0 and not (isinstance(rows, int) and found >= rows):
            return found
    return 0


def _named_token(folder: Path, backend: Any, role: str) -> int | None:
    """The id of the token that tokenizer_config.json, or special_tokens_map.json, names for `role`."""
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        path = folder / name
        stated = json.loads(path.read_text(encoding="utf-8")).get(role) if path.is_file() else None
        token = stated.get("content") if isinstance(stated, dict) else stated
        if isinstance(token, str) and (found := backend.token_to_id(token)) is not None:
            return int(found)
    return None


def lower_case(backend: Any) -> None:
    """Lower-case every text before the tokenizer's own normalizer, as sentence-transformers does."""
    from tokenizers import normalizers

    own = [backend.normalizer] if backend.normalizer else []
    backend.normalizer = normalizers.Sequence([normalizers.Lowercase(), *own])


def token_limit(config: Mapping[str, Any], tokenizer_config: Mapping[str, Any]) -> int | None:
    """The longest input in tokens, or None where the files state none.

    The smaller of the tokenizer's model_max_length and the model's positions, as
    sentence-transformers' CrossEncoder takes it; models of RoBERTa's kind lose the positions up to
    the padding id.
    """
    limits = []
    stated = tokenizer_config.get("model_max_length")
    if isinstance(stated, int | float) and stated < _NO_LIMIT:
        limits.append(int(stated))
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and positions > 0:
        if config.get("model_type") in _OFFSET_POSITIONS:
            padding = config.get("pad_token_id")
            positions -= (padding if isinstance(padding, int) else 1) + 1
        limits.append(positions)
    return min(limits) if limits else None
