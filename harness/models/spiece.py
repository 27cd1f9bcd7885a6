"""sentencepiece's Unigram models, read without the sentencepiece package.

A `.model` file is one protobuf message; the four fields that decide the ids are read here, and the
`tokenizers` library does the rest. The ids are those of sentencepiece itself, and so of the slow
tokenizers of transformers 4, with one known exception: a combining mark right after a character
that normalisation replaces (a no-break space, say) is dropped here. Source:
sentencepiece_model.proto of google/sentencepiece.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import HarnessError

__all__ = ["Spiece", "read_spiece"]

_NORMAL, _UNKNOWN, _CONTROL = 1, 2, 3
_SPACE = "▁"


@dataclass(frozen=True)
class Spiece:
    """What a Unigram model file says."""

    pieces: list[tuple[str, float]]
    """Every piece with its score; a piece's id is its place."""
    unknown: int
    control: list[str]
    """Pieces that no text is ever cut into, such as `</s>`."""
    charsmap: bytes
    """The normalisation, compiled: Unicode NFKC and more."""

    def tokenizer(self) -> Any:
        """A `tokenizers.Tokenizer` that knows no special tokens yet."""
        from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

        backend = Tokenizer(models.Unigram(self.pieces, unk_id=self.unknown, byte_fallback=False))
        steps = [normalizers.Replace(Regex(" +"), " "), normalizers.Strip()]
        if self.charsmap:
            steps.insert(0, normalizers.Precompiled(self.charsmap))
        backend.normalizer = normalizers.Sequence(steps)
        # Words can be cut one by one where no piece reaches into the next word.
        split = not any(_SPACE in piece[1:] for piece, _ in self.pieces)
        backend.pre_tokenizer = pre_tokenizers.Metaspace(_SPACE, prepend_scheme="always", split=split)
        return backend


def read_spiece(path: Path) -> Spiece:
    """The Unigram model in `path`. Raises HarnessError for a damaged file, and for a model of another kind."""
    try:
        return _read(path.read_bytes(), str(path))
    except (IndexError, ValueError, struct.error) as error:
        raise HarnessError(f"{path} is no sentencepiece model: {error}") from None


def _read(data: bytes, where: str) -> Spiece:
    pieces: list[tuple[str, float]] = []
    kinds: list[int] = []
    trainer: dict[int, Any] = {}
    normalizer: dict[int, Any] = {}
    for field, value in _fields(data):
        if field == 1:
            entry = dict(_fields(value))
            pieces.append((entry[1].decode("utf-8"), struct.unpack("<f", entry.get(2, bytes(4)))[0]))
            kinds.append(entry.get(3, _NORMAL))
        elif field == 2:
            trainer = dict(_fields(value))
        elif field == 3:
            normalizer = dict(_fields(value))
    unknown = [place for place, kind in enumerate(kinds) if kind == _UNKNOWN]
    plain = trainer.get(3, 1) == 1 and set(kinds) <= {_NORMAL, _UNKNOWN, _CONTROL} and len(unknown) == 1
    # add_dummy_prefix, remove_extra_whitespaces and escape_whitespaces: all on unless the file says otherwise.
    if not plain or not all(normalizer.get(field, 1) for field in (3, 4, 5)):
        raise HarnessError(
            f"{where} is a sentencepiece model of a kind that is not read here: a Unigram model with one unknown "
            f"piece, without user-defined or byte pieces, and with the usual treatment of spaces is needed"
        )
    control = [piece for (piece, _), kind in zip(pieces, kinds, strict=True) if kind == _CONTROL]
    return Spiece(pieces, unknown[0], control, normalizer.get(2, b""))


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a protobuf message: numbers as int, everything else as bytes."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(data, place)
            yield tag >> 3, value
            continue
        if kind == 2:
            size, place = _varint(data, place)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError(f"an unknown kind of field at byte {place}")
        if place + size > len(data):
            raise ValueError("it ends in the middle of a field")
        yield tag >> 3, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return value, place
