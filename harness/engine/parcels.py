"""Folders that a machine of the cluster lacks: read here in pieces, kept there under the digest of what they hold.

A piece is one message, so that weights of any size pass through little memory. What has come whole
gets its name in one step; what a lost worker left of its half is unfinished work like any other in the cache.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..errors import HarnessError
from ..files.cache import cache_folder, writing

__all__ = ["Arriving", "Parcel", "Piece", "kept"]

_PIECE = 16 << 20
_PART = "sent"


@dataclass(frozen=True)
class Parcel:
    """A folder of this process that every machine of the cluster needs."""

    key: str
    """The digest of what is in it, 40 hex digits: what it is called where it arrives."""
    folder: Path
    files: tuple[str, ...]
    """Relative to the folder."""

    def pieces(self) -> Iterator[Piece]:
        """Every file from its beginning, in order; an empty one is a piece too. Raises HarnessError for one that is gone."""
        for name in self.files:
            try:
                with (self.folder / name).open("rb") as stream:
                    yield Piece(self.key, name, stream.read(_PIECE))
                    while content := stream.read(_PIECE):
                        yield Piece(self.key, name, content)
            except OSError as error:
                raise HarnessError(
                    f"{self.folder / name} cannot be sent to a worker: {error.strerror or error}"
                ) from None

    def size(self) -> int:
        """Bytes of its files."""
        return sum((self.folder / name).stat().st_size for name in self.files)


class Piece(NamedTuple):
    """What is sent at a time: the next bytes of a file of a parcel."""

    key: str
    name: str
    content: bytes


def kept(key: str) -> Path:
    """Where a parcel lies on the machine that it was sent to."""
    return cache_folder() / _PART / key


class Arriving:
    """What one worker receives. Its methods raise HarnessError where the cache cannot be written."""

    def __init__(self) -> None:
        self._halves: dict[str, Path] = {}

    def take(self, piece: Piece) -> None:
        """The next bytes of a file."""
        with writing(cache_folder()):
            path = self._half(piece.key) / piece.name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as stream:
                stream.write(piece.content)

    def keep(self, key: str) -> None:
        """All of the parcel is there: it gets its name, in the place of what had it before."""
        with writing(cache_folder()):
            half, place = self._half(key), kept(key)
            if place.exists():
                gone = half.with_suffix(".gone")
                os.rename(place, gone)
                shutil.rmtree(gone, ignore_errors=True)
            os.rename(half, place)
            del self._halves[key]

    def _half(self, key: str) -> Path:
        if key not in self._halves:
            half = kept(f".{key}.{secrets.token_hex(6)}.part")
            half.mkdir(parents=True)
            self._halves[key] = half
        return self._halves[key]
