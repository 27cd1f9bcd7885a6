"""Leaderboards from results: `leaderboards/NAME.yaml` → NAME.md, NAME.csv, NAME.tex and NAME.html.

    title: Demo suite
    tasks: [SciFact, NFCorpus]        # tasks, aggregates or suites
    suites: [FollowIR]                # the same, but only suites
    measure: nDCG@10                  # instead of each task's headline
    first_stages: [bm25]              # only these: `bm25`, `bm25 top 100`, `given lists`
    rerankers: ["BAAI/*"]             # only these, as shell patterns
    columns: [mean, tasks, trained]   # of the text tables; all that hold something where it is left out
    results: [results]                # folders, relative to the working folder
    oracle: yes                       # the best order of the same candidates, as a row
    published: no                     # what papers and model cards say, as rows marked so
    imported: [mteb.parquet]          # tables that `import` wrote
    figures:                          # what one's own YAML states, with its source: see `stated`
    models:                           # what the harness does not know of a model
      org/model: {parameters: 22713216, licence: mit, languages: [eng], trained_on: [MSMARCO], source: its card}

- `board`       the YAML, checked
- `columns`     tasks, languages, suites and means as weighted sums
- `systems`     results → rows, none of them mixed up; `references` published and imported ones, `stated` one's own
- `resampling`  the figures under sign flips, and their intervals; `pairs` which rows differ
- `answer`      the sentence on top
- `build`       the table: cells, ranks, what is missing; `facts` and `speed` what stands beside them
- `as_markdown`, `as_csv`, `as_tex`, `as_html`   the forms; `words` what they say alike
"""

from __future__ import annotations

from pathlib import Path

from ..errors import HarnessError
from ..files.cache import write_atomically
from .as_csv import long_csv
from .as_html import html
from .as_markdown import markdown
from .as_tex import tex
from .board import Board, board_of, leaderboard_names, read_board
from .build import Table, build_table
from .references import left_out_of

__all__ = [
    "Board",
    "Table",
    "board_of",
    "build_table",
    "leaderboard_names",
    "left_out_of",
    "read_board",
    "render",
    "write_table",
]


def render(table: Table) -> dict[str, str]:
    """File name → text, for every form of the board."""
    forms = {"md": markdown, "csv": long_csv, "tex": tex, "html": html}
    return {f"{table.board.name}.{ending}": form(table) for ending, form in forms.items()}


def write_table(table: Table, folder: Path, *, check: bool) -> list[str]:
    """Write the board's files into `folder`; with `check`, only name those that are out of date.

    Raises HarnessError for a file that cannot be written: it stays as it was.
    """
    stale = []
    for name, text in render(table).items():
        path = folder / name
        if path.is_file() and path.read_bytes() == text.encode():
            continue
        stale.append(name)
        if not check:
            try:
                write_atomically(path, text)
            except OSError as error:
                raise HarnessError(f"cannot write {path}: {error.strerror or error}") from None
    return stale
