"""Linear layers over a flat (tokens, features) array, by the fastest kernel of the machine.

On a CPU, oneDNN multiplies by weights that were laid out for it once, with an activation, a gate or
the residual sum computed on the way out. Its operators are private to torch, so every layer is tried when it is
loaded: where they are absent, or differ from torch.nn.functional.linear, that is used instead.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

__all__ = ["Linear", "linear"]

_USUAL_TOKENS = 4096
"""What the layout is chosen for; any number of tokens may come."""
_TRIED_TOKENS = 16
_TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2, torch.float16: 5e-3}
"""Largest difference from functional.linear, as a share of its largest value."""


class Linear:
    """x Wᵀ + b with torch's own kernels; `weight` has the shape (out, in), `bias` (out,)."""

    def __init__(self, weight: Any, bias: Any) -> None:
        self.weight, self.bias = weight, bias

    def __call__(self, x: Any) -> Any:
        return functional.linear(x, self.weight, self.bias)

    def gelu(self, x: Any) -> Any:
        """The exact (erf) gelu of the product."""
        return functional.gelu(self(x))

    def gelu_tanh(self, x: Any) -> Any:
        """Gelu of the product, by its approximation with tanh."""
        return functional.gelu(self(x), approximate="tanh")

    def silu(self, x: Any) -> Any:
        """Silu of the product."""
        return functional.silu(self(x))

    def plus(self, x: Any, residual: Any) -> Any:
        """The product and a residual of its shape."""
        return self(x) + residual

    def times(self, x: Any, gate: Any) -> Any:
        """The product, each of its numbers multiplied by the gate's."""
        return self(x) * gate


class _Prepacked(Linear):
    """The same by oneDNN; `weight` is in oneDNN's own layout."""

    def __init__(self, weight: Any, bias: Any) -> None:
        super().__init__(torch.ops.mkldnn._reorder_linear_weight(weight, _USUAL_TOKENS), bias)

    def __call__(self, x: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")

    def gelu(self, x: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "none")

    def gelu_tanh(self, x: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "gelu", [], "tanh")

    def silu(self, x: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "swish", [], "")

    def plus(self, x: Any, residual: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")

    def times(self, x: Any, gate: Any) -> Any:
        return torch.ops.mkldnn._linear_pointwise.binary(x, gate, self.weight, self.bias, "mul")


class _Multiplied(Linear):
    """A product that is there already, whatever it is asked to multiply."""

    def __init__(self, product: Any) -> None:
        super().__init__(product, None)

    def __call__(self, x: Any) -> Any:
        return self.weight


def linear(weight: Any, bias: Any) -> Linear:
    """The fastest Linear that agrees with torch's own on this machine."""
    plain = Linear(weight, bias)
    if weight.device.type != "cpu":
        return plain
    try:
        fast = _Prepacked(weight, bias)
        agrees = _agree(fast, plain)
    except (RuntimeError, AttributeError, TypeError):
        return plain
    return fast if agrees else plain


def _agree(fast: Linear, plain: Linear) -> bool:
    generator = torch.Generator().manual_seed(0)
    rows, columns = plain.weight.shape
    x = torch.randn(_TRIED_TOKENS, columns, generator=generator).to(plain.weight.dtype)
    other = torch.randn(_TRIED_TOKENS, rows, generator=generator).to(plain.weight.dtype)
    plain = _Multiplied(plain(x))
    pairs = [(fast(x), plain(x)), (fast.plus(x, other), plain.plus(x, other))]
    pairs += [(fast.times(x, other), plain.times(x, other)), (fast.gelu(x), plain.gelu(x))]
    pairs += [(fast.gelu_tanh(x), plain.gelu_tanh(x)), (fast.silu(x), plain.silu(x))]
    return all(_close(found, expected) for found, expected in pairs)


def _close(found: Any, expected: Any) -> bool:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    allowed = _TOLERANCE[expected.dtype] * float(expected.float().abs().max())
    return float((found.float() - expected.float()).abs().max()) <= allowed
