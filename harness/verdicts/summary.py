"""The answer of a run that made several results: one table, and a sentence for each reranker.

What is known of each result besides stands in its block (`results.tables`); what casts doubt on a number
is counted here by code, so that nothing is lost where blocks are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from ..results.cautions import Caution, recall_of, title_of_code
from ..results.layout import WIDTH, shortened, width_of, wrapped
from ..results.means import Mean
from ..results.published import Compared
from ..results.result import Result
from ..results.tables import published_cell, published_lines
from .grid import Line, grid, usual_measure
from .pairing import title_of
from .sentences import Told, sentence_of, stage_name

__all__ = ["Means", "sentences", "summary", "warning_lines"]

Means = Sequence[tuple[Mean, Sequence[Compared]]]


def summary(results: Sequence[Result], means: Means = (), width: int = WIDTH) -> str:
    """Every result's headline measure in one table of at most `width` places, then a sentence a reranker."""
    lines = _lines(results, means)
    table, notes = grid(lines, width)
    sources = [line for _, found in means for line in published_lines(found)]
    told = [*sentences(results), *notes, *_rules(results), *sources]
    return "\n".join([wrapped(_title(results, lines), width), table, "", *(wrapped(line, width) for line in told)])


def _rules(results: Sequence[Result]) -> list[str]:
    """How the table and the sentences are to be read."""
    tested = [result for result in results if next(iter(result.measures.values())).get("p") is not None]
    older = sum(result.interval_method == "percentile bootstrap" for result in tested)
    rule = "Won or lost: p <= .05 for that task alone, which chance gives 1 in 20." if tested else ""
    told = (
        f"{older} intervals are an older version's percentile bootstrap: their queries' values are gone."
        if older
        else ""
    )
    return [line for line in (rule, told) if line]


def _lines(results: Sequence[Result], means: Means) -> list[Line]:
    covered = {mean.name for mean, _ in means}
    limits = {result.identity.limit for result in results}
    lines = []
    for result in results:
        name, row = next(iter(result.measures.items()))
        folded = result.identity.task in covered and result.identity.subset != "default"
        own = {**row, "recall": (recall_of(result) or ("", None))[1]}
        lines.append(Line(_named(result, limits), name, _stage(result), result.reranker, own, folded=folded))
    for mean, published in means:
        some = f"{mean.parts}" if mean.parts == mean.of else f"{mean.parts} of {mean.of}"
        stage = "lists" if mean.top_k is None else f"{mean.retriever} top {mean.top_k}"
        for name in mean.headline:
            cell = published_cell(name, "reranked" if mean.reranker else "first_stage", published)
            title = f"{mean.name}, mean of {some}"
            lines.append(Line(title, name, stage, mean.reranker, mean.measures[name], cell))
    return lines


def _named(result: Result, limits: AbstractSet[int | None]) -> str:
    """The task; of how many queries, where the results have several limits: one that all share is in the title."""
    limit = result.identity.limit
    return title_of(result) + (f" (first {limit})" if limit is not None and len(limits) > 1 else "")


def _stage(result: Result) -> str:
    identity = result.identity
    return "lists" if identity.top_k is None else f"{identity.retriever} top {identity.top_k}"


def _title(results: Sequence[Result], lines: Sequence[Line]) -> str:
    """What all rows share, so that no row needs to say it."""
    stages = list(dict.fromkeys(line.stage for line in lines if line.stage != "lists"))
    given = any(line.stage == "lists" for line in lines)
    where = ", ".join(stages[:3]) + (f" and {len(stages) - 3} more" if len(stages) > 3 else "")
    where += (" or " if where else "") + "given lists" if given else ""
    rerankers = list(dict.fromkeys(line.system for line in lines if line.system))
    arrow = f" → {rerankers[0]}" if len(rerankers) == 1 else f" → {len(rerankers)} rerankers" if rerankers else ""
    count = f"{len(results)} results" if len(results) > 1 else "1 result"
    limits = {result.identity.limit for result in results}
    if len(limits) == 1 and (limit := limits.pop()) is not None:
        count += f" of the first {limit} queries" if limit > 1 else " of the first query"
    return f"{usual_measure(lines)}, {count}: {where}{arrow}"


def sentences(results: Sequence[Result]) -> list[str]:
    """One for each first stage and reranker."""
    systems: dict[tuple[str, str], list[Result]] = {}
    depths = {result.identity.top_k for result in results} - {None}

    def at(result: Result) -> str:
        """The first stage; with its depth where there are several, which are no parts of one finding."""
        return stage_name(result) + (f" top {result.identity.top_k}" if len(depths) > 1 else "")

    own = {result.reranker: at(result) for result in results if result.identity.top_k is not None}
    for result in results:
        identity = result.identity
        if result.reranker:
            stage = at(result) if identity.top_k is not None else own.get(result.reranker, "")
            systems.setdefault((stage, result.reranker), []).append(result)
    several = len({stage for stage, _ in systems}) > 1
    return [
        _sentence(found, reranker + (f" over {stage}" if several and stage else ""))
        for (stage, reranker), found in systems.items()
    ]


def _sentence(results: Sequence[Result], who: str) -> str:
    told = []
    for result in results:
        name, row = next(iter(result.measures.items()))
        told.append(Told(title_of(result), name, row.get("difference"), row.get("low"), row.get("high"), row.get("p")))
    held = {stage_name(result) for result, each in zip(results, told, strict=True) if each.difference is not None}
    alone = next((r for r, each in zip(results, told, strict=True) if each.difference is None), None)
    reranked = next(iter(alone.measures.values())).get("reranked") if alone else None
    return sentence_of(told, who, held.pop() if len(held) == 1 else "the first stage", reranked)


def warning_lines(cautions: Sequence[tuple[str, Caution]], width: int = WIDTH) -> list[str]:
    """A line for each code: in how many results, and in which; `cautions` are pairs of a result's name and a warning."""
    codes: dict[str, list[str]] = {}
    for name, caution in sorted(cautions, key=lambda pair: pair[1].code):
        codes.setdefault(caution.code, []).append(name)
    lines = []
    for code, names in codes.items():
        head = f"{code} in {len(names)}: {title_of_code(code)}"
        lines.append(_listed(f"{head} (", list(dict.fromkeys(names)), width))
    return lines


def _listed(head: str, names: Sequence[str], width: int) -> str:
    """The head, and as many names as the line has room for."""
    for count in range(len(names), 0, -1):
        more = f", {len(names) - count} more" if count < len(names) else ""
        line = f"{head}{', '.join(names[:count])}{more})"
        if width_of(line) <= width:
            return line
    return shortened(head.removesuffix(" ("), width)
