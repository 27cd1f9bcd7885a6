"""How near two ways of computing one number must be: both are measured against the same model in float64.

No tolerance is a figure of the chip it was chosen on. The plain way's own error is the yardstick, and
the other way may be wrong by no more than MULTIPLE times it. One computation may be right by luck, the
more so the fewer its numbers: so the model is computed some times more in float64 with float32's
rounding at random, which is the same on every chip, and the largest error of all of them counts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from golden_cases import opened, score
from torch.overrides import TorchFunctionMode

from harness.engine.fast import linear

MULTIPLE = 4
"""Sums of the same terms in another order: their errors differ by chance, not by this much."""
LARGEST = 5e-5
"""What a float32 way may be wrong by at all, as a share of the largest number: more is another model."""
ROUNDING = 2.0**-24
DRAWS = 4
ROUNDED = frozenset(
    {
        "linear",
        "addmm",
        "conv1d",
        "scaled_dot_product_attention",
        "layer_norm",
        "rms_norm",
        "rsqrt",
        "mean",
        "silu",
        "gelu",
        "tanh",
        "softmax",
    }
)
"""The functions in which roundings are drawn, by name; none whose numbers become places, such as a distance's bucket."""


class Float64(TorchFunctionMode):
    """While it is on, code that asks torch for float32 (norms, rotary angles, softmax) computes in float64.

    With a `seed`, what arithmetic takes is moved at random by at most one rounding of float32.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()
        self.random = None if seed is None else torch.Generator().manual_seed(seed)

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is torch.Tensor.float:
            function = torch.Tensor.double
        rounds = self.random is not None and getattr(function, "__name__", "") in ROUNDED
        swap = self._rounded if rounds else _wider
        named = {key: value if key == "out" else swap(value) for key, value in (kwargs or {}).items()}
        return function(*map(swap, args), **named)

    def _rounded(self, value: Any) -> Any:
        value = _wider(value)
        if isinstance(value, torch.Tensor) and value.dtype == torch.float64:
            moved = torch.rand(value.shape, generator=self.random, dtype=torch.float64)
            return value * (1 + ROUNDING * (2 * moved - 1))
        return value


def _wider(value: Any) -> Any:
    if type(value) in (list, tuple):
        return type(value)(map(_wider, value))
    if isinstance(value, torch.Tensor) and value.dtype == torch.float32:
        return torch.Tensor.to(value, torch.float64)
    return torch.float64 if value is torch.float32 else value


class Yardstick(NamedTuple):
    """What a plain way computed in float32, and the same model in float64; one row each."""

    plain: np.ndarray
    exact: np.ndarray
    rounded: Sequence[np.ndarray] = ()
    """The same in float64 with float32's rounding at random."""

    def through(self, activate: Callable[[np.ndarray], np.ndarray]) -> Yardstick:
        """The yardstick of published scores, by that of the margins that they are made from."""
        return Yardstick(activate(self.plain), activate(self.exact), [activate(each) for each in self.rounded])

    @property
    def error(self) -> float:
        """The plain way's largest error."""
        largest = float(np.abs(np.array(self.exact.tolist())).max())
        error = max(_error(found, self.exact) for found in (self.plain, *self.rounded))
        assert error <= LARGEST * largest, f"the plain way is wrong by {error:.1e} of {largest:.1e}: another model?"
        return max(error, ROUNDING * largest)

    def check(self, found: Any, rows: Any = slice(None)) -> None:
        """Fails where `found`, of these rows, is wrong by more than MULTIPLE times the plain way's own error."""
        error, allowed = _error(found, self.exact[rows]), MULTIPLE * self.error
        assert error <= allowed, f"wrong by {error:.2e}; {MULTIPLE} times the plain way's own error is {allowed:.2e}"


def _error(found: Any, exact: Any) -> float:
    found, exact = (
        np.array(values.tolist() if isinstance(values, torch.Tensor) else values, float) for values in (found, exact)
    )
    assert found.shape == exact.shape
    assert np.isfinite(found).all()
    return float(np.abs(found - exact).max())


def yardstick(plain: Any, wide: Callable[[], Any], draws: int = DRAWS) -> Yardstick:
    """`plain` was computed in float32; `wide()` computes the same with a model in float64.

    No draws are needed where a large model gives many numbers: the largest of their errors is no luck.
    """
    found = []
    for seed in (None, *range(draws)):
        with Float64(seed):
            found.append(wide())
    return Yardstick(plain, found[0], found[1:])


def both(compute: Callable[[Any], Any], model: torch.nn.Module, draws: int = DRAWS) -> Yardstick:
    """The yardstick of `compute(model)`; the model stays as it is."""
    wide = copy.deepcopy(model).double()
    return yardstick(compute(model), lambda: compute(wide), draws)


def alone(pairs: list, folder: Path, cache: Path, family: str | None = None, **settings: Any) -> Yardstick:
    """The yardstick of a reranker's margins of pairs, each computed by itself."""
    (plain,) = opened(folder, cache, family, **settings)
    return _margins(score(plain, pairs, batch=1).margins, pairs, folder, cache, family, 1, settings)


def beside(
    theirs: Any, pairs: list, folder: Path, cache: Path, family: str | None = None, **settings: Any
) -> Yardstick:
    """The yardstick of a reranker's margins of pairs, which somebody else's code gave as `theirs`, checked by it too.

    `of_queries` is the queries' own instruction; other settings are those after --set. Here luck could only make the yardstick longer: theirs is held to what float32's rounding at random does.
    """
    theirs = np.asarray(theirs, np.float32)
    yard = _margins(theirs, pairs, folder, cache, family, None, settings)
    Yardstick(yard.rounded[0], yard.exact, yard.rounded).check(theirs)
    return yard


def _margins(
    plain: np.ndarray, pairs: list, folder: Path, cache: Path, family: str | None, batch: int | None, settings: dict
) -> Yardstick:
    instruction = settings.pop("of_queries", "")
    (wide,) = opened(folder, cache, family, dtype="float64", **settings)
    with kept_wide():
        score(wide, [("weights are", "read at the first score")], instruction)
    return yardstick(plain, lambda: score(wide, pairs, instruction, batch=batch, kind=np.floating).margins)


@contextmanager
def kept_wide() -> Iterator[None]:
    """While weights are loaded here, none goes into oneDNN's layout, which is float32 for good."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "_agree", lambda *_: False)
        yield
