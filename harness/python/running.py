"""How models are run, as a user asks for it, and the options that it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..engine.options import Options

__all__ = ["Running", "model_options"]


@dataclass(frozen=True)
class Running:
    """How models are run, as asked for: `auto` is resolved by `model_options`."""

    family: str | None = None
    settings: Sequence[tuple[str, str]] = ()
    """`KEY`, or `NAME:KEY` for one reranker, and the value; a key that stands there twice is tried with both."""
    device: str = "auto"
    dtype: str = "auto"
    batch_tokens: int | None = None
    trust_remote_code: bool = False
    rehash: bool = False


def model_options(asked: Running) -> Options:
    """The model options, resolved: never `auto` further on."""
    from ..engine.options import Options, resolve_batch_tokens, resolve_device, resolve_dtype

    device = resolve_device(asked.device)
    return Options(
        device=device,
        dtype=resolve_dtype(asked.dtype, device),
        batch_tokens=resolve_batch_tokens(asked.batch_tokens, device),
        trust_remote_code=asked.trust_remote_code,
        rehash=asked.rehash,
        settings=tuple(asked.settings),
    )
