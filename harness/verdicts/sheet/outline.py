"""Finding one's way on the page: its contents list, and filters that work by style alone, without any script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ...results.result import Result
from ..pairing import title_of
from .parts import headline, verdict

__all__ = ["Filters", "contents", "filters_of", "verdict_of"]

VERDICTS = ("win", "loss", "tie", "none")
_WORDS = ("won", "lost", "not decided", "no difference measured")


@dataclass(frozen=True)
class Filters:
    """The tasks and rerankers of a page, each known by its place."""

    tasks: tuple[str, ...]
    rerankers: tuple[str, ...]
    results: tuple[Result, ...]

    def name_of(self, result: Result) -> str | None:
        """What the page calls the reranker of a result that a comparison may call otherwise."""
        return next((own.reranker for own in self.results if own.identity == result.identity), result.reranker)

    def marks(self, task: str, rerankers: Sequence[str | None], said: str = "") -> str:
        """The attributes of an element about a task, some rerankers and a verdict, or about every verdict.

        What is about no task of the page, such as a mean, is not shown once one is chosen.
        """
        of = self.tasks.index(task) if task in self.tasks else "all"
        judged = f' data-verdict="{said}"' if said else ""
        return f' data-task="{of}"{self.whose(rerankers)}{judged}'

    def whose(self, rerankers: Sequence[str | None]) -> str:
        """The attribute of an element about some rerankers, whatever the task."""
        who = " ".join(str(self.rerankers.index(name)) for name in rerankers if name in self.rerankers)
        return f' data-reranker="{who or "none"}"'

    @property
    def html(self) -> str:
        """The three choices."""
        shown = [
            _choice("task", "task", "all tasks", list(map(str, range(len(self.tasks)))), self.tasks),
            _choice(
                "reranker", "reranker", "all rerankers", list(map(str, range(len(self.rerankers)))), self.rerankers
            ),
            _choice("verdict", "verdict", "every verdict", VERDICTS, _WORDS),
        ]
        return f'<div class="filters">{"".join(shown)}</div>'

    @property
    def css(self) -> str:
        """A rule for each choice: what is not about it is not shown, and in a chart is faint."""
        values = {
            "task": range(len(self.tasks)), "reranker": range(len(self.rerankers)), "verdict": VERDICTS,
        }  # fmt: skip
        return "".join(_rule(kind, str(value)) for kind, own in values.items() for value in own)


def _rule(kind: str, value: str) -> str:
    when, other = f"body:has(#{kind}-{value}:checked)", f'[data-{kind}]:not([data-{kind}~="{value}"])'
    return f"{when} :not(g){other} {{ display: none; }}\n{when} g{other} {{ opacity: .08; }}\n"


def _choice(kind: str, label: str, every: str, values: Sequence[str], words: Sequence[str]) -> str:
    options = "".join(
        f'<option id="{kind}-{value}">{escape(word)}</option>' for value, word in zip(values, words, strict=True)
    )
    return f'<label><span>{label}</span> <select autocomplete="off"><option>{every}</option>{options}</select></label>'


def filters_of(results: Sequence[Result]) -> Filters:
    """The filters of a page about `results`."""
    tasks = dict.fromkeys(map(title_of, results))
    rerankers = dict.fromkeys(result.reranker for result in results if result.reranker)
    return Filters(tuple(tasks), tuple(rerankers), tuple(results))


def verdict_of(result: Result) -> str:
    """`win`, `loss`, `tie`, or `none` where nothing is held against a first stage."""
    row = headline(result)[1]
    return "none" if row.get("difference") is None else verdict(row)


def contents(places: Sequence[tuple[str, str]]) -> str:
    """A link for each (anchor, words)."""
    links = "".join(f'<a href="#{anchor}">{escape(words)}</a>' for anchor, words in places)
    return f'<nav aria-label="Contents">{links}</nav>'
