"""A tokenizer without its vocabulary is refused.

transformers 5 makes a tokenizer of special tokens alone where a model's vocabulary file is not there,
without a word: every text becomes [UNK], or nothing, and is scored.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ..engine.ahead import settled
from ..errors import HarnessError

__all__ = ["refuse_empty", "require_vocabulary", "through_transformers"]

_SURELY_FULL = 1_000
"""Entries of a vocabulary beyond which none is made of special tokens alone."""
_MARK = re.compile(r"\[[A-Z]+\]")
"""What BERT calls its special tokens, whatever the tokenizer's own files call them."""


def require_vocabulary(folder: Path, name: str) -> None:
    """Raise HarnessError where the tokenizer in `folder`, as transformers reads it, has no vocabulary."""
    if not (folder / "tokenizer.json").is_file():
        through_transformers(folder, name)


def through_transformers(folder: Path, name: str) -> tuple[Any, str]:
    """The fast tokenizer that transformers makes of a folder without tokenizer.json, and the name of its class.

    Raises HarnessError where it can make none, and where the vocabulary is missing or a part of it.
    """
    settled()
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False)
    except Exception as error:  # each class has errors of its own for files that are not there
        reason = " ".join(str(error).split())[:200]
        raise HarnessError(
            f"{name} has no tokenizer that can be read: no tokenizer.json, and transformers says: "
            f"{type(error).__name__}: {reason}"
        ) from error
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise HarnessError(f"{name} has no tokenizer.json and its {type(tokenizer).__name__} has no fast form")
    files = {key: file for key, file in tokenizer.vocab_files_names.items() if key != "tokenizer_file"}
    wanted = ", ".join(sorted(set(files.values()) - {"tokenizer.json"}))
    refuse_empty(backend, name, " or ".join(filter(None, ["tokenizer.json", wanted])), tokenizer.all_special_tokens)
    if not (folder / files.get("merges_file", ".")).exists() and _without_merges(backend):
        raise HarnessError(
            f"{name} has a vocabulary and no {files['merges_file']}: every word would fall apart into bytes"
        )
    version = transformers.__version__.split(".")[0]
    return backend, f"{type(tokenizer).__name__} of transformers {version}"


def refuse_empty(backend: Any, name: str, wanted: str, special: Any = ()) -> None:
    """Raise HarnessError where a `tokenizers.Tokenizer` knows no piece of a text, but special tokens alone."""
    if backend.get_vocab_size(with_added_tokens=False) > _SURELY_FULL:
        return
    added = {token.content for token in backend.get_added_tokens_decoder().values()}
    own = set(backend.get_vocab(with_added_tokens=False)) - added - {str(token) for token in special} - {"", "▁", " "}
    if all(map(_MARK.fullmatch, own)):
        raise HarnessError(
            f"{name} has no vocabulary: its tokenizer knows {len(added)} special tokens and nothing else, so every text "
            f"would be unknown or empty. Put {wanted} into its folder"
        )


def _without_merges(backend: Any) -> bool:
    stated = json.loads(backend.to_str())["model"]
    return stated.get("type") == "BPE" and not stated.get("merges")
