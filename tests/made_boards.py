"""Leaderboards made for tests: cards without data, and boards over results made beside them."""

from __future__ import annotations

from pathlib import Path

from harness.boards import Board, Table, board_of, build_table
from harness.boards.build import Row
from harness.data.task import Cards

CARD = "name: {name}\npath: org/{name}\nrevision: {revision}\nlanguages: [eng-Latn]\n"
SUITES = """
Woods:
  tasks: [Birds, Trees]
Mixed:
  tasks: [Birds, Words]
  mean: none
Following:
  tasks: [Words, Orders]
  mean:
    p-MRR: p-MRR
    score: {Words: MAP@1000 og, Orders: nDCG@5 og}
"""


def made_cards(folder: Path) -> Cards:
    """Cards of five tasks (Ferns in two languages, Words and Orders with instructions), an aggregate and suites."""
    folder.mkdir()
    for name in ("Birds", "Trees", "Words", "Orders"):
        text = CARD.format(name=name, revision="a" * 40)
        text += {"Words": "measures: [p-MRR, MAP@1000]\n", "Orders": "measures: [p-MRR, nDCG@5]\n"}.get(name, "")
        (folder / f"{name}.yaml").write_text(text)
    (folder / "Ferns.yaml").write_text(
        f"name: Ferns\npath: org/ferns\nrevision: {'a' * 40}\nsubsets:\n"
        "  de: {languages: [deu-Latn]}\n  fr: {languages: [fra-Latn]}\n"
    )
    (folder / "Plants.yaml").write_text("tasks: [Trees, Ferns]\n")
    (folder / "suites.yaml").write_text(SUITES)
    return Cards(folder)


def board(cards: Cards, results: Path, **entry: object) -> Board:
    return board_of("mine", {"results": [str(results)], **entry}, cards, results / "cache")


def table(cards: Cards, results: Path, **entry: object) -> Table:
    return build_table(board(cards, results, **entry))


def row_of(made_table: Table, name: str, kind: str = "reranker") -> Row:
    (row,) = (row for row in made_table.rows if (row.system.kind, row.system.name) == (kind, name))
    return row
