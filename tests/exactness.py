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
DRAWN = 2 * ROUNDING
"""A number drawn is moved by so much at most, as a share of it: its own rounding, and about that of the sum behind it."""
FEWEST, DRAWS = 24, 3
"""Draws of float32's rounding are made until there are so many numbers to take the largest error of, or so many draws."""
ROUNDED = frozenset(
    {
        "embedding",
        "linear",
        "matmul",
        "add",
        "addmm",
        "conv1d",
        "scaled_dot_product_attention",
        "layer_norm",
        "rms_norm",
        "rsqrt",
        "mean",
        "silu",
        "gelu",
        "sigmoid",
        "tanh",
        "softmax",
    }
)
"""The functions in which roundings are drawn, by name; none whose numbers become places, such as a distance's bucket.

Whole numbers are left as they are: float32 has them, and some are places.
"""


class Float64(TorchFunctionMode):
    """While it is on, code that asks torch for float32 (norms, rotary angles, softmax) computes in float64.

    With a `seed`, what arithmetic takes is moved at random by at most DRAWN.
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
            share = torch.rand(value.shape, generator=self.random, dtype=torch.float64)
            moved = value * (1 + DRAWN * (2 * share - 1))
            return torch.where(value == value.round(), value, moved)
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
        largest = float(np.abs(_numbers(self.exact)).max())
        error = max(_error(found, self.exact) for found in (self.plain, *self.rounded))
        assert error <= LARGEST * largest, f"the plain way is wrong by {error:.1e} of {largest:.1e}: another model?"
        return max(error, ROUNDING * largest)

    def check(self, found: Any, rows: Any = slice(None)) -> None:
        """Fails where `found`, of these rows, is wrong by more than MULTIPLE times the plain way's own error."""
        error, allowed = _error(found, _numbers(self.exact)[rows]), MULTIPLE * self.error
        assert error <= allowed, f"wrong by {error:.2e}; {MULTIPLE} times the plain way's own error is {allowed:.2e}"

    def check_best(self, run: dict[str, dict[str, float]], query_ids: list[str], doc_ids: list[str], k: int) -> None:
        """The same of a run's scores, where this is of every (query, document); and none is left out that is among the best `k`."""
        for query_id, row in zip(query_ids, _numbers(self.exact), strict=True):
            places = [doc_ids.index(doc_id) for doc_id in run[query_id]]
            assert len(places) == k
            allowed = MULTIPLE * self.error
            assert _error(list(run[query_id].values()), row[places]) <= allowed
            assert row[places].min() >= np.sort(row)[-k] - 2 * allowed


def _numbers(values: Any) -> np.ndarray:
    return np.array(values.tolist() if isinstance(values, torch.Tensor) else values, float)


def _error(found: Any, exact: Any) -> float:
    found, exact = _numbers(found), _numbers(exact)
    assert found.shape == exact.shape
    assert np.isfinite(found).all()
    return float(np.abs(found - exact).max())


def same_model(found: Any, theirs: Any) -> None:
    """Fails where two float32 ways are farther apart than two of one model may be, each wrong by LARGEST.

    It costs no model in float64, and says less than a yardstick: for what only hands scores through.
    """
    allowed = 2 * LARGEST * float(np.abs(_numbers(theirs)).max())
    assert _error(found, theirs) <= allowed, f"apart by {_error(found, theirs):.2e}; {allowed:.2e} is another model"


def check_unit(vectors: np.ndarray) -> None:
    """Fails where a vector's length is not 1, to a rounding of float32 for each of its dimensions."""
    lengths = np.linalg.norm(vectors.astype(float), axis=1)
    assert np.abs(lengths - 1).max() <= ROUNDING * vectors.shape[1], lengths


def both(compute: Callable[..., Any], *models: torch.nn.Module, draws: int | None = None) -> Yardstick:
    """The yardstick of `compute(*models)`; the models stay as they are.

    Without models, every float32 tensor that `compute` hands to torch is made float64 on its way: it must load nothing,
    and change no tensor in place.
    """
    wide = [copy.deepcopy(model).double() for model in models]
    return yardstick(compute(*models), lambda: compute(*wide), draws)


def ours(
    compute: Callable[[Any], Any], folder: Path, cache: Path, family: str | None = None, **settings: Any
) -> Yardstick:
    """The yardstick of `compute(reranker)`, with the reranker of a folder; settings as they are typed after --set."""
    (plain,) = opened(folder, cache, family, **settings)
    return _ours(compute(plain), compute, folder, cache, family, settings)


def alone(pairs: list, folder: Path, cache: Path, family: str | None = None, **settings: Any) -> Yardstick:
    """The yardstick of a reranker's margins of pairs, each computed by itself."""
    return ours(lambda reranker: margins(reranker, pairs), folder, cache, family, **settings)


def beside(
    theirs: Any, pairs: list, folder: Path, cache: Path, family: str | None = None, **settings: Any
) -> Yardstick:
    """The yardstick of a reranker's margins of pairs, which somebody else's code gave as `theirs`, checked by it too.

    `of_queries` is the queries' own instruction; other settings are those after --set. Here luck could only make the yardstick longer: theirs is held to what float32's rounding at random does.
    """
    instruction = settings.pop("of_queries", "")
    theirs = np.asarray(theirs, np.float32)
    draws = _draws(0, theirs.size)
    yard = _ours(theirs, lambda wide: margins(wide, pairs, instruction, None), folder, cache, family, settings, draws)
    yard._replace(plain=yard.rounded[0]).check(theirs)
    return yard


def golden(
    scores: Sequence[float],
    compute: Callable[[Any], Any],
    folder: Path,
    cache: Path,
    family: str | None = None,
    **settings: Any,
) -> Yardstick:
    """The yardstick of `compute(reranker)`, for which a golden has `scores`: these are the plain way here.

    They and the model in float64 are the same on every chip, so no draw is needed. How far apart they are is their
    chip's rounding and their last decimal's, or the yardstick says that they are another model's.
    """
    return _ours(np.array(scores), compute, folder, cache, family, settings, draws=0)


def published(reranker: Any, pairs: list, instruction: str = "") -> np.ndarray:
    """What a reranker publishes of (query, document) pairs, each computed by itself, in the precision it computes in."""
    return score(reranker, pairs, instruction, batch=1, kind=np.floating).published


def margins(reranker: Any, pairs: list, instruction: str = "", batch: int | None = 1) -> np.ndarray:
    """Its margins of them, likewise; `batch` of them at a time (None: all at once)."""
    return score(reranker, pairs, instruction, batch=batch, kind=np.floating).margins


def _ours(
    plain: Any,
    compute: Callable[[Any], Any],
    folder: Path,
    cache: Path,
    family: str | None,
    settings: dict,
    draws: int | None = None,
) -> Yardstick:
    (wide,) = opened(folder, cache, family, dtype="float64", **settings)
    with kept_wide():  # weights are read at the first score
        margins(wide, [("weights are", "read at the first score")])
    return yardstick(plain, lambda: compute(wide), draws)


def yardstick(plain: Any, wide: Callable[[], Any], draws: int | None = None) -> Yardstick:
    """`plain` was computed in float32; `wide()` computes the same with a model in float64.

    No draws are needed where a large model gives many numbers: the largest of their errors is no luck.
    """
    with Float64():
        exact = wide()
    size = _numbers(exact).size
    # One at least, whatever this chip's luck was in the plain way.
    draws = max(1, _draws(size, size)) if draws is None else draws
    return Yardstick(plain, exact, [_drawn(wide, seed) for seed in range(draws)])


def _draws(there: int, size: int) -> int:
    """How many draws of so many numbers make enough with those that are there."""
    return min(DRAWS, -(-max(0, FEWEST - there) // size))


def _drawn(wide: Callable[[], Any], seed: int) -> Any:
    with Float64(seed):
        return wide()


@contextmanager
def kept_wide() -> Iterator[None]:
    """While weights are loaded here, none goes into oneDNN's layout, which is float32 for good."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linear, "_agree", lambda *_: False)
        yield
