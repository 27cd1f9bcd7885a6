"""Rotary positions over a flat array of tokens (Su et al., arXiv 2104.09864), in the half-and-half layout of transformers."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch

__all__ = ["Turn"]


class Turn(NamedTuple):
    """Rotary cosines and sines of some positions, float32, shape (tokens, 1, head size / 2)."""

    cos: Any
    sin: Any

    @classmethod
    def at(cls, positions: Any, frequencies: Any, stretch: float = 1.0) -> Turn:
        """Those of `positions` (tokens,) at `frequencies` (head size / 2), each times `stretch`."""
        angles = positions.float()[:, None] * frequencies.to(positions.device)
        return cls((angles.cos() * stretch)[:, None], (angles.sin() * stretch)[:, None])

    def of(self, places: Any) -> Turn:
        return Turn(self.cos[places], self.sin[places])

    def __call__(self, heads: Any) -> Any:
        """Queries or keys (tokens, heads, size) turned by their positions; computed in float32."""
        front, back = heads.float().chunk(2, -1)
        turned = torch.empty(heads.shape, dtype=torch.float32, device=heads.device)
        first, second = turned.chunk(2, -1)
        torch.mul(front, self.cos, out=first).addcmul_(back, self.sin, value=-1)
        torch.mul(back, self.cos, out=second).addcmul_(front, self.sin)
        return turned.to(heads.dtype)
