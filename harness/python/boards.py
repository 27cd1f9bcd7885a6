"""`harness.leaderboard`: boards written from results, as the verb `leaderboard` does, and each as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, overload

from ..boards import left_out_of, render
from ..boards.words import heads, notes
from ..errors import HarnessError
from .tables import html_of, text_of

if TYPE_CHECKING:
    import pandas as pd

    from ..boards import Table

__all__ = ["Leaderboard", "Leaderboards", "leaderboard", "leaderboards"]


@dataclass(frozen=True)
class Leaderboard:
    """One board: its table, and what writing it changed."""

    table: Table = field(repr=False)
    folder: Path
    changed: Sequence[str]
    """Names of the files in `folder` that were written, or with `check` that are out of date; empty where none is."""

    @property
    def name(self) -> str:
        """What it is called: NAME of NAME.yaml."""
        return self.table.board.name

    @property
    def paths(self) -> list[Path]:
        """The files of `changed`."""
        return [self.folder / name for name in self.changed]

    @property
    def left_out(self) -> list[str]:
        """What the results hold and the board does not show, and why."""
        return list(left_out_of(self.table.board))

    def frame(self) -> pd.DataFrame:
        """A line for every row and column of the board, as its CSV has them; figures in the measure's own unit."""
        import pandas as pd

        return pd.read_csv(StringIO(render(self.table)[f"{self.name}.csv"]), dtype={"rank": "Int64"})

    def _table(self) -> list[dict[str, str]]:
        shown = heads(self.table)
        return [{head.title: head.cell(row) for head in shown} for row in self.table.rows]

    def __repr__(self) -> str:
        return text_of(self._table(), self.table.board.title, notes(self.table))

    def _repr_html_(self) -> str:
        return html_of(self._table(), self.table.board.title, notes(self.table))


class Leaderboards(Sequence[Leaderboard]):
    """What `harness.leaderboard` gives: the boards in order. One alone answers for itself: `.table`, `.frame()`."""

    def __init__(self, found: Sequence[Leaderboard]) -> None:
        self._found = list(found)

    @overload
    def __getitem__(self, place: int) -> Leaderboard: ...
    @overload
    def __getitem__(self, place: slice) -> Leaderboards: ...
    def __getitem__(self, place: int | slice) -> Leaderboard | Leaderboards:
        return Leaderboards(self._found[place]) if isinstance(place, slice) else self._found[place]

    def __len__(self) -> int:
        return len(self._found)

    @property
    def only(self) -> Leaderboard:
        """The one board. Raises HarnessError where there are several, or none."""
        if len(self._found) != 1:
            names = ", ".join(each.name for each in self._found) or "none"
            raise HarnessError(f"these are {len(self._found)} boards ({names}): take one, as in boards[0]")
        return self._found[0]

    @property
    def changed(self) -> list[Path]:
        """The files that were written, or with `check` that are out of date, of all boards."""
        return [path for each in self._found for path in each.paths]

    def frame(self) -> pd.DataFrame:
        """The lines of every board, and `board`, its name."""
        import pandas as pd

        return pd.concat([each.frame().assign(board=each.name) for each in self._found], ignore_index=True)

    def __repr__(self) -> str:
        return "\n\n".join(map(repr, self._found))

    def _repr_html_(self) -> str:
        return "".join(each._repr_html_() for each in self._found)


def leaderboard(
    *names: str, folder: str | Path = "leaderboards", cards: str | Path | None = None, check: bool = False
) -> Leaderboards:
    """Write the boards `names` of `folder`, all of them without names, as the verb `leaderboard` does.

    `cards` is a folder with cards of your own, --tasks there. With `check` nothing is written, and `changed`
    names what is out of date. Raises HarnessError for a board that is not there, or whose results do not fit.
    """
    return Leaderboards(list(leaderboards(names, Path(folder), None if cards is None else Path(cards), check=check)))


def leaderboards(names: Sequence[str], folder: Path, cards: Path | None, *, check: bool) -> Iterator[Leaderboard]:
    """Each board as soon as it is written (with `check`, held against its files); all of `folder` without names."""
    from ..boards import build_table, leaderboard_names, read_board, write_table
    from ..data.task import Cards
    from ..files.cache import cache_folder

    for name in names or leaderboard_names(folder):
        table = build_table(read_board(name, folder, Cards(cards), cache_folder()))
        yield Leaderboard(table, folder, write_table(table, folder, check=check))
