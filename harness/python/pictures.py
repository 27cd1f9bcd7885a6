"""Results as pictures that a notebook shows: SVG that stands alone, made of the report's charts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import HarnessError
from ..results.figures import ALPHA, interval, signed
from ..verdicts.charts import Bar, forest, standing_alone
from ..verdicts.plots.files import write_picture

if TYPE_CHECKING:
    from ..verdicts.rows import Row

__all__ = ["Picture", "differences"]


@dataclass(frozen=True)
class Picture:
    """An SVG; a notebook shows it."""

    svg: str

    def save(self, path: str | Path) -> Path:
        """Write it to `path`, which it returns: .svg, or .png where the extra `plots` is installed."""
        return write_picture(Path(path), self.svg)

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return f"Picture({len(self.svg):,} characters of SVG)"


def differences(rows: Iterable[tuple[str, Row]], name: str) -> Picture:
    """A line for each named row: its difference with its 95 % interval, in colour where corrected p is .05 at most.

    Raises HarnessError where no row has an interval.
    """
    bars = []
    for title, row in rows:
        if row.low is None or row.high is None:
            continue
        certain = row.p_corrected <= ALPHA
        shown = f"{signed(row.difference, row.measure)}  {interval(row.low, row.high, row.measure, row.difference)}"
        bars.append(Bar(f"{title} {row.measure}", row.difference, row.low, row.high, certain, shown))
    if not bars:
        raise HarnessError("no difference has an interval: there are too few queries for a picture")
    return Picture(standing_alone(forest(bars, name)))
