"""Digests of content: what every key in the harness is made of.

Fields are length-prefixed before hashing, so ("ab", "c") and ("a", "bc") differ; a key made by
joining strings can lie.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

__all__ = ["Digest", "digest_of", "digest_of_settings"]


class Digest:
    """A running blake2b over length-prefixed fields.

    `size` is in bytes: 16 for keys and fingerprints, 20 where a 40-hex revision is wanted.
    """

    def __init__(self, size: int = 16) -> None:
        self._hash = hashlib.blake2b(digest_size=size)

    def add(self, *fields: str | bytes) -> Digest:
        for value in fields:
            data = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
            self._hash.update(len(data).to_bytes(8, "little"))
            self._hash.update(data)
        return self

    def bytes(self) -> bytes:
        return self._hash.digest()

    def hex(self) -> str:
        return self._hash.hexdigest()


def digest_of(*fields: str | bytes) -> str:
    """32 hex digits over the fields, each length-prefixed."""
    return Digest().add(*fields).hex()


def digest_of_settings(settings: Iterable[tuple[str, object]]) -> str:
    """32 hex digits over named settings, in the order of their names; values as canonical JSON."""
    digest = Digest()
    for name, value in sorted(settings, key=lambda item: item[0]):
        digest.add(name, json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")))
    return digest.hex()
