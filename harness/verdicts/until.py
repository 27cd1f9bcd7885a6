"""The gate that decides with the fewest pairs: a run that stops when its verdict against a baseline is certain.

Units (queries, or clusters of queries) are drawn in an order that a fixed seed gives, and after each round a bet is
looked at (`measures.betting`). Where the last query comes before the verdict, the gate's own rule is asked.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import HarnessError
from ..files.digest import digest_of
from ..measures.betting import Population, verdict_so_far
from ..request import Job
from ..results.figures import signed
from ..results.naming import akin, known_of
from ..results.result import Result, load_result
from .answers import answered
from .gate import MAX_DROP
from .pairing import differences_between, entries_in, first_stage_label, title_of
from .rows import ALPHA
from .samples import headlines, samples_of, values_of

__all__ = ["ALPHA", "MAX_DROP", "Decision", "UntilDecided", "Watcher"]

SEED = "0"
ROUNDS = 50
"""Into how many rounds a task's units go; a look costs nothing, and a round is one request to the model."""
SPENT = 0.5
"""The share of alpha that is for the rounds; the rest is for the gate's rule after the last query."""


@dataclass(frozen=True)
class Decision:
    """What became of one job."""

    name: str
    reranker: str
    verdict: str
    """`failed`, `passed` or `not decided`."""
    early: bool
    """Whether it was certain before the last query."""
    queries: int
    of_queries: int
    pairs: int
    of_pairs: int
    measures: Mapping[str, float]
    """Each measure that was looked at → current - baseline over the queries that were scored."""
    baseline: str
    """The reranker that it was held against."""
    max_drop: float
    alpha: float

    def line(self) -> str:
        """In words, with how much of the whole it needed."""
        differences = ", ".join(f"{name} {signed(value, name)}" for name, value in self.measures.items())
        against = "" if self.baseline == self.reranker else f", held against {self.baseline}"
        share = f"{self.pairs:,} of {self.of_pairs:,} pairs ({self.pairs / max(1, self.of_pairs):.0%})"
        needed = f"after {share}, {self.queries:,} of {self.of_queries:,} queries"
        if not self.early:
            needed = f"by the gate's rule; not certain before all {share} were scored"
        return f"{self.name}, {self.reranker}{against}: {self.verdict} {needed}; {differences} (tolerance {self.max_drop:g}, alpha {self.alpha:g})"

    def record(self) -> dict[str, Any]:
        """As JSON takes it."""
        return asdict(self)


@dataclass(eq=False)
class Watcher:
    """Looks on while one job is scored: `measures.rounds.Watch`."""

    baseline: Result
    """With the values of its queries."""
    names: Sequence[str]
    """The measures that decide."""
    max_drop: float
    alpha: float
    rows: int
    """How many measures of how many jobs may fail in one run."""
    verdicts: dict[str, str] = field(default_factory=dict)
    pairs: int = 0
    _drawn: list[str] = field(default_factory=list)
    _populations: dict[str, tuple[list[tuple[str, list[str]]], Population]] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """Of all that decides when to stop, beside the scores."""
        said = [SEED, repr(ROUNDS), repr(self.max_drop), repr(self.alpha), repr(self.rows), "bets 1"]
        return digest_of(*said, *(json.dumps([name, self._before(name)]) for name in self.names))

    def _before(self, name: str) -> dict[str, float]:
        return values_of(self.baseline, name)

    def begin(self, now: Result) -> None:
        """Raises HarnessError, exit code 3, where the baseline is of other data or candidates."""
        different = differences_between(self.baseline, now)
        if different:
            raise HarnessError(
                f"{title_of(now)} does not match the baseline: {', '.join(different)}; run it without --until-decided, "
                f"and make the new results the baseline (gate --update)",
                exit_code=3,
            )
        self.pairs = int(now.diagnostics["candidates"])

    def rounds(self, units: Mapping[str, str]) -> Iterator[list[str]]:
        """The query_ids of each round, in an order that depends on the units' names alone."""
        members: dict[str, list[str]] = {}
        for query_id, unit in units.items():
            members.setdefault(unit, []).append(query_id)
        order = sorted(members, key=lambda unit: digest_of(SEED, unit))
        self._populations = {name: self._population(name, order, units) for name in self.names}
        size = math.ceil(len(order) / ROUNDS)
        for start in range(0, len(order), size):
            self._drawn = order[: start + size]
            yield [query_id for unit in order[start : start + size] for query_id in members[unit]]

    def _population(
        self, name: str, order: Sequence[str], units: Mapping[str, str]
    ) -> tuple[list[tuple[str, list[str]]], Population]:
        """Each unit, in the order of drawing, with the keys of its values; and what is known of them beforehand."""
        unit_of = dict(units)
        for query_id, unit in units.items():
            # p-MRR and the measures of groups have a value for what stands behind several queries.
            for key in (query_id.removesuffix("-og").removesuffix("-changed"), unit):
                unit_of.setdefault(key, unit)
        before = self._before(name)
        keys: dict[str, list[str]] = {}
        for key in before:
            keys.setdefault(unit_of[key], []).append(key)
        low = -1.0 if name.startswith("p-MRR") else 0.0
        outside = [key for key, value in before.items() if not low - 1e-9 <= value <= 1 + 1e-9]
        if outside:
            raise HarnessError(f"{title_of(self.baseline)}: {name} of {outside[0]} lies outside [{low:g}, 1]")
        parts = [(unit, keys[unit]) for unit in order if unit in keys]
        return parts, Population.of([[before[key] for key in found] for _, found in parts], low)

    def decided(self, values: Mapping[str, Mapping[str, float]]) -> bool:
        """Whether a measure has failed or each has passed; what was decided once stays."""
        drawn = set(self._drawn)
        for name in self.names:
            if name in self.verdicts:
                continue
            parts, population = self._populations[name]
            now, before = values.get(name, {}), self._before(name)
            count = len(before) / len(parts)
            seen = [keys for unit, keys in parts if unit in drawn]
            if not seen or not all(key in now for keys in seen for key in keys):
                continue
            differences = np.array([math.fsum(now[key] - before[key] for key in keys) / count for keys in seen])
            verdict = verdict_so_far(population, differences, self.max_drop, SPENT * self.alpha, self.rows)
            if verdict is not None:
                self.verdicts[name] = verdict
        return self.verdict is not None

    @property
    def verdict(self) -> str | None:
        """`failed`, `passed`, or None where it is not certain yet."""
        if "failed" in self.verdicts.values():
            return "failed"
        return "passed" if all(name in self.verdicts for name in self.names) else None

    def record(self) -> dict[str, Any]:
        """What a result's diagnostics keep."""
        return {
            "verdict": self.verdict, "verdicts": dict(self.verdicts), "max_drop": self.max_drop, "alpha": self.alpha,
            "rows": self.rows, "of_queries": self.baseline.queries, "of_pairs": self.pairs,
        }  # fmt: skip

    def decision(self, path: Path) -> Decision:
        """What the result at `path` says; on all queries by the gate's rule."""
        result = load_result(path, with_values=True)
        known = result.diagnostics.get("until_decided") or {}
        early = known.get("verdict") if result.identity.until else None
        pairs = int(result.diagnostics.get("candidates") or 0)
        return Decision(
            name=f"{title_of(self.baseline)} over {first_stage_label(result)}",
            reranker=result.reranker or "",
            verdict=early or self._by_the_gate(result),
            early=early is not None,
            queries=result.queries,
            of_queries=self.baseline.queries,
            pairs=pairs,
            of_pairs=known.get("of_pairs", pairs) if early else pairs,
            measures={name: self._difference(result, name) for name in self.names},
            baseline=self.baseline.identity.reranker or "",
            max_drop=self.max_drop,
            alpha=self.alpha,
        )

    def _difference(self, result: Result, name: str) -> float:
        before, now = self._before(name), values_of(result, name)
        differences = [now[key] - before[key] for key in now if key in before]
        return math.fsum(differences) / max(1, len(differences))

    def _by_the_gate(self, result: Result) -> str:
        samples = [sample for name in self.names for sample in samples_of([(self.baseline, result)], name)]
        samples = list({sample.measure: sample for sample in samples}.values())
        left = (1 - SPENT) * self.alpha
        share = left * len(samples) / self.rows
        if any(row.answer and row.answer.verdict == "failed" for row in answered(samples, self.max_drop, share)):
            return "failed"
        rows = answered(samples, self.max_drop, left)
        passed = all(row.answer and row.answer.verdict == "passed" for row in rows)
        return "passed" if passed else "not decided"


@dataclass(eq=False)
class UntilDecided:
    """A folder of results to be held against, and the rule: `request.Watches`."""

    folder: Path
    max_drop: float = MAX_DROP
    alpha: float = ALPHA
    watchers: list[Watcher] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise HarnessError(f"alpha is {self.alpha:g}: it must lie between 0 and 0.5, both excluded, as in 0.05")
        if not self.max_drop >= 0:
            raise HarnessError(f"the tolerated drop is {self.max_drop:g}: it must be 0 or more, as in 0.01")
        entries = entries_in(self.folder) if self.folder.is_dir() else []
        self._entries = [entry for entry in entries if entry.result.identity.reranker]
        if not self._entries:
            raise HarnessError(f"{self.folder} holds no result of a reranker to be held against", exit_code=3)

    def over(self, jobs: Sequence[Job]) -> list[Watcher]:
        """A watcher for each job. Raises HarnessError, exit code 3, for a job without its like in the baseline."""
        pairs = [(job, self._baseline_of(job)) for job in jobs]
        names = [_names(job, baseline) for job, baseline in pairs]
        rows = sum(map(len, names))
        found = [
            Watcher(baseline, measures, self.max_drop, self.alpha, rows)
            for (_, baseline), measures in zip(pairs, names, strict=True)
        ]
        self.watchers = found
        return found

    def decisions(self, paths: Sequence[Path]) -> list[Decision]:
        """One for each result, which lie at `paths` in the order of the jobs."""
        return [watcher.decision(path) for watcher, path in zip(self.watchers, paths, strict=True)]

    def _baseline_of(self, job: Job) -> Result:
        if job.reranker is None:
            raise HarnessError("--until-decided is for rerankers: name one with --reranker")
        identity = job.identity
        near = [e for e in self._entries if _place(e.result) == (identity.task, identity.subset, identity.retriever)]
        matching = [e for e in near if not differences_between(e.result, replace(e.result, identity=identity))]
        own = [e for e in matching if akin(known_of(e.result), job.reranker.known)]
        found = own or matching
        subset = "" if identity.subset == "default" else f" {identity.subset}"
        asked = f"{identity.task}{subset} over {identity.retriever}, {identity.reranker}"
        if not found:
            why = [", ".join(differences_between(e.result, replace(e.result, identity=identity))) for e in near[:1]]
            raise HarnessError(
                f"{asked}: the baseline {self.folder} has nothing that it can be held against"
                f"{f' ({why[0]})' if why else ''}",
                exit_code=3,
            )
        if len(found) > 1:
            paths = " and ".join(str(entry.path) for entry in found[:3])
            raise HarnessError(f"{asked}: the baseline has more than one result that could be meant: {paths}")
        return found[0].whole()


def _place(result: Result) -> tuple[str, str, str]:
    return result.identity.task, result.identity.subset, result.identity.retriever


def _names(job: Job, baseline: Result) -> list[str]:
    """The headline asked for, with its companions as the gate has them. Raises HarnessError where the baseline lacks it."""
    asked = str(job.measures[0])
    usual = headlines(baseline, None)
    names = usual if usual and asked in (usual[0], usual[0].removesuffix(" og")) else headlines(baseline, asked)
    for name in names:
        values_of(baseline, name)
    return names
