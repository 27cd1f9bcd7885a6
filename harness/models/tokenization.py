"""Tokenizers, read so that tokenizer.json is obeyed.

transformers 5 rebuilds the tokenizers of many classes (Llama, XLM-R, T5, Gemma, Qwen2 …) from
their vocabulary and ignores the normalizer and pre-tokenizer that tokenizer.json states, which
moves ids and thus scores. So tokenizer.json is loaded with the `tokenizers` library itself, and
transformers is asked only for a model that has no such file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HarnessError

__all__ = ["Tokenizer", "load_tokenizer", "token_limit"]

_OFFSET_POSITIONS = {"roberta", "xlm-roberta", "camembert", "xlm-roberta-xl", "mpnet", "longformer", "data2vec-text"}
"""Models whose position numbers begin after the padding id, so two positions can never be used."""

_NO_LIMIT = 10**6


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

    def encode_plain(self, texts: Sequence[str]) -> list[Any]:
        """One `tokenizers.Encoding` for each text, without special tokens and never cut."""
        found: list[Any] = self.backend.encode_batch(list(texts), add_special_tokens=False)
        return found

    def specials_in(self, *, pair: bool) -> int:
        """How many special tokens a single text, or a pair, gets."""
        return int(self.backend.num_special_tokens_to_add(pair))


def load_tokenizer(folder: Path, config: Mapping[str, Any]) -> Tokenizer:
    """The tokenizer of a model folder. `config` is the parsed config.json (for the padding id)."""
    path = folder / "tokenizer.json"
    if path.is_file():
        from tokenizers import Tokenizer as Backend

        backend, kind = Backend.from_file(str(path)), "tokenizer.json"
    else:
        backend, kind = _through_transformers(folder)
    stated = config.get("pad_token_id")
    padding = backend.padding or {}
    pad_id = stated if stated is not None else padding.get("pad_id", 0)
    return Tokenizer(backend, kind, int(pad_id))


def _through_transformers(folder: Path) -> tuple[Any, str]:
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise HarnessError(f"{folder} has no tokenizer.json and its {type(tokenizer).__name__} has no fast form")
    return backend, f"{type(tokenizer).__name__} of transformers {transformers.__version__.split('.')[0]}"


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
            positions -= int(config.get("pad_token_id") or 1) + 1
        limits.append(positions)
    return min(limits) if limits else None
