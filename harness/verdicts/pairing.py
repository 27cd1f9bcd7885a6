"""Which results can be held against each other, and what keeps two results apart.

Two results compare when they answer the same question: the same data, the same judged queries, the
same candidates at the same depth. Only the reranker may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import HarnessError
from ..results.naming import labelled
from ..results.result import Result, load_result, result_files

__all__ = [
    "Entry",
    "Matched",
    "differences_between",
    "entries_in",
    "first_stage_label",
    "labelled_entries",
    "match",
    "remarks_on",
    "title_of",
]


@dataclass(frozen=True)
class Entry:
    """A result and the file it lies in; without the values of its queries until `whole` is asked."""

    path: Path
    result: Result

    def whole(self) -> Result:
        """The result with the values of every query. Raises HarnessError where their file is missing."""
        found = load_result(self.path, with_values=True)
        return replace(found, label=self.result.label, view=self.result.view)


@dataclass(frozen=True)
class Matched:
    """Two sets of results, paired."""

    pairs: list[tuple[Entry, Entry]]
    differing: list[tuple[Entry, Entry, list[str]]]
    """Results of one key that do not compare, and what differs, in words."""
    only_first: list[Entry]
    only_second: list[Entry]


def entries_in(folder: Path) -> list[Entry]:
    """Every result below `folder`, in the order of their paths. Raises HarnessError for a damaged one."""
    return [Entry(path, load_result(path)) for path in result_files(folder)]


def labelled_entries(entries: Sequence[Entry]) -> list[Entry]:
    """The same entries, each reranker called as among all of them."""
    results = labelled([entry.result for entry in entries])
    return [replace(entry, result=result) for entry, result in zip(entries, results, strict=True)]


def title_of(result: Result) -> str:
    """`XQuADRetrieval de`: task and subset, with `+ NAME` of a layer of judgements, and `(part)` where a run stopped before its last query."""
    subset = "" if result.identity.subset == "default" else f" {result.identity.subset}"
    layer = result.identity.qrels_layer.rpartition(" ")[0]
    judged = f" + {layer}" if layer else ""
    return result.identity.task + subset + judged + (" (part)" if result.identity.until else "")


def first_stage_label(result: Result) -> str:
    """`bm25 top 100`, or `given lists`."""
    identity = result.identity
    return f"{identity.retriever} lists" if identity.top_k is None else f"{identity.retriever} top {identity.top_k}"


def differences_between(first: Result, second: Result) -> list[str]:
    """What keeps two results from being compared, in words: `depth 100 → 200`; empty where nothing does.

    A folder's revision is a digest of its files' bytes, which the order of their rows changes: there
    the content decides, by the collection's fingerprint. Of the candidates the documents decide: a dense
    first stage's scores differ in their last digits from machine to machine.
    """
    a, b = first.identity, second.identity
    fields = [
        ("data set", a.dataset, b.dataset),
        ("split", a.split, b.split),
        ("first stage", a.retriever, b.retriever),
        ("depth", a.top_k or "the whole lists", b.top_k or "the whole lists"),
        ("--limit", a.limit or "none", b.limit or "none"),
        ("--until-decided", a.until[:8] or "none", b.until[:8] or "none"),
        ("--relevance-level", a.relevance_level, b.relevance_level),
        ("--qrels-layer", a.qrels_layer or "none", b.qrels_layer or "none"),
        ("--missing-text", a.missing_text, b.missing_text),
        ("--instructions", a.instructions, b.instructions),
        ("scoring version", a.scoring_version, b.scoring_version),
    ]
    found = [f"{name} {before} → {after}" for name, before, after in fields if before != after]
    from_hub = "/" in a.dataset
    if from_hub and a.dataset_revision != b.dataset_revision:
        found.append(f"dataset revision {a.dataset_revision[:8]} → {b.dataset_revision[:8]}")
    elif first.collection != second.collection and a.instructions == b.instructions:
        found.append(f"the data's content {first.collection[:8]} → {second.collection[:8]}")
    if first.candidates != second.candidates and not found and not _same_documents(first, second):
        found.append(f"candidates {first.candidates[:8]} → {second.candidates[:8]}")
    return found


def remarks_on(first: Result, second: Result) -> list[str]:
    """What differs between two results that compare all the same, in words."""
    a, b = first.identity.dataset_revision, second.identity.dataset_revision
    remarks = [f"revision {a[:8]} → {b[:8]}, the same content"] if a != b else []
    if first.candidates != second.candidates:
        remarks.append(f"the first stage's scores {first.candidates[:8]} → {second.candidates[:8]}, the same documents")
    before, after = _judged(first), _judged(second)
    if before is not None and after is not None and abs(after - before) > _UNLIKE:
        remarks.append(
            f"Judged@10 {before:.2f} → {after:.2f}: unjudged documents count as not relevant, so a part of the "
            f"difference may be theirs (explain RH006)"
        )
    return remarks


_UNLIKE = 0.05
"""From this difference on, Judged@10 is worth a word."""


def _judged(result: Result) -> float | None:
    row = result.measures.get("Judged@10") or result.measures.get("Judged@10 og") or {}
    return row.get(result.stage)


def _same_documents(first: Result, second: Result) -> bool:
    one, other = (result.diagnostics.get("candidate_documents") for result in (first, second))
    return one is not None and one == other


def match(first: Sequence[Entry], second: Sequence[Entry], key: Callable[[Result], Hashable]) -> Matched:
    """Pair results of equal `key` that compare; what is left of a key is paired as differing.

    Raises HarnessError where more than one result could be meant.
    """
    matched = Matched([], [], [], [])
    for value in dict.fromkeys(key(entry.result) for entry in (*first, *second)):
        left = [entry for entry in first if key(entry.result) == value]
        right = [entry for entry in second if key(entry.result) == value]
        _match_one(left, right, matched)
    # Paths begin with digests: by name is the order that a reader expects.
    matched.pairs.sort(key=lambda pair: (title_of(pair[0].result), first_stage_label(pair[0].result)))
    return matched


def _match_one(left: list[Entry], right: list[Entry], matched: Matched) -> None:
    pairs = [(a, b) for a in left for b in right if not differences_between(a.result, b.result)]
    alike = [(a, b) for a, b in pairs if _settings(a) == _settings(b)]
    if not _each_once(pairs) and _each_once(alike):
        pairs = alike  # a sweep: each setting is held against itself
    for side in (0, 1):
        _refuse_ambiguous([pair[side] for pair in pairs], [pair[1 - side] for pair in pairs])
    matched.pairs.extend(pairs)
    left = [entry for entry in left if all(entry is not a for a, _ in pairs)]
    right = [entry for entry in right if all(entry is not b for _, b in pairs)]
    for a in left:
        others = [b for b in right if differences_between(a.result, b.result)]
        if not others:
            matched.only_first.append(a)
            continue
        nearest = min(others, key=lambda b, a=a: len(differences_between(a.result, b.result)))  # type: ignore[misc]
        right.remove(nearest)
        matched.differing.append((a, nearest, differences_between(a.result, nearest.result)))
    matched.only_second.extend(right)


def _settings(entry: Entry) -> tuple[object, ...]:
    identity = entry.result.identity
    return identity.reranker_settings, identity.batch_tokens


def _each_once(pairs: Sequence[tuple[Entry, Entry]]) -> bool:
    return bool(pairs) and all(len({id(pair[side]) for pair in pairs}) == len(pairs) for side in (0, 1))


def _refuse_ambiguous(ones: Sequence[Entry], others: Sequence[Entry]) -> None:
    for one in ones:
        meant = [other for mine, other in zip(ones, others, strict=True) if mine is one]
        if len(meant) > 1:
            paths = " and ".join(str(entry.path) for entry in meant[:3])
            raise HarnessError(
                f"{title_of(one.result)} over {first_stage_label(one.result)} has more than one result that could be "
                f"meant: {paths}; name one file, or a folder with one of them"
            )
