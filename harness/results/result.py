"""The Result: all it takes to believe, compare and repeat a number. Its JSON, its path, its schema.

    results/<reranker>/<revision 8>-<fingerprint 8>/<first stage>-<digest 8>-top<k or given>/<Task>@<dataset revision 8>.json
    results/first-stage/<first stage>-<digest 8>-top<k or given>/<Task>@<dataset revision 8>.json

A file name says more where a setting departs from the default and could move a number:
`.<subset>`, `.first<N>` (a partial run), `.until-<8>` (a run that stopped when a verdict was certain), `.rel<N>` (another level than the card's), `.skip-missing-text`, `.no-instructions`, `.batch<N>`
(half precision alone), `.card-<8>` (a card of the user's own), `.split-<name>`. Beside each result,
`….values.json.gz` holds the value of every query. In a baseline that `gate --update` writes, the JSON is a face (see
`faces`) and the whole record lies in that file too.
This module imports only the standard library: it is all that a run whose results exist needs.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..types import DEFAULT_BATCH_TOKENS
from .faces import FACE, face_of, face_text, lines_path, require_agreement, require_lines, values_lines

__all__ = [
    "ORACLE",
    "SCHEMA",
    "SCORING_VERSION",
    "Identity",
    "Result",
    "find_previous",
    "load_result",
    "result_files",
    "slug",
]

SCHEMA = 1
"""Raised when the JSON changes its shape; `load_result` reads every earlier one."""

SCORING_VERSION = 1
"""Raised when the same inputs would give other numbers."""

ORACLE = "oracle"
"""The best order of the candidates: a stage of every result."""


def slug(name: str) -> str:
    """A name as one part of a path: `/` becomes `__`, and what file systems dislike becomes `-`."""
    return re.sub(r"[^\w.+=-]", "-", name.replace("/", "__")).strip(".") or "-"


@dataclass(frozen=True)
class Identity:
    """Everything that decides a result's numbers. Equal identities mean equal numbers."""

    task: str
    subset: str
    split: str
    dataset: str
    dataset_revision: str
    card: str
    retriever: str
    retriever_fingerprint: str
    retriever_settings: Mapping[str, object]
    top_k: int | None
    """None where the data set's own lists are taken whole."""
    reranker: str | None
    reranker_revision: str | None
    reranker_fingerprint: str | None
    reranker_settings: Mapping[str, object]
    limit: int | None = None
    relevance_level: int = 1
    missing_text: str = "error"
    instructions: str = "given"
    batch_tokens: int | None = None
    """The token budget of a batch in half precision, where batching moves scores; None in float32."""
    task_prompt: str = ""
    """The card's task sentence where the first stage or the reranker puts it into its input, else empty."""
    scoring_version: int = SCORING_VERSION
    card_relevance_level: int = 1
    """The level that the card says: figures at another are by a rule of the user's own."""
    qrels_layer: str = ""
    """Name and digest of a layer of judgements that was added to the data set's own; empty for these alone."""
    until: str = ""
    """Of a run that stopped when a verdict was certain: a digest of the baseline and the rule; empty for all others."""

    @property
    def by_the_card(self) -> bool:
        """Whether it was measured as its card says: at its level, with its instructions, nothing skipped, no judgement added."""
        rules = (self.relevance_level, self.missing_text, self.instructions)
        return rules == (self.card_relevance_level, "error", "given") and not self.qrels_layer

    @property
    def partial(self) -> str:
        """Which part of the queries it is about, in words; empty for all of them."""
        if self.until:
            return "those that were drawn until the verdict was certain"
        return f"the first {self.limit}" if self.limit is not None else ""

    def path(self, results: Path) -> Path:
        """Where this result lies under the results folder."""
        depth = "given" if self.top_k is None else f"top{self.top_k}"
        stage = f"{slug(self.retriever)}-{self.retriever_fingerprint[:8]}-{depth}"
        if self.reranker is None:
            folder = results / "first-stage" / stage
        else:
            model = f"{(self.reranker_revision or '')[:8]}-{(self.reranker_fingerprint or '')[:8]}"
            folder = results / slug(self.reranker) / model / stage
        return folder / f"{self._file_name()}.json"

    def _file_name(self) -> str:
        parts = [slug(self.task)]
        if self.subset != "default":
            parts.append(slug(self.subset))
        name = ".".join(parts) + f"@{self.dataset_revision[:8]}"
        if self.card == "split" or (self.card in ("folder", "hub") and self.split != "test"):
            name += f".split-{slug(self.split)}"
        elif self.card not in ("packed", "mteb", "folder", "hub"):
            name += f".card-{self.card[:8]}"
        name += f".first{self.limit}" if self.limit is not None else ""
        layer, _, digest = self.qrels_layer.rpartition(" ")
        name += f".layer-{slug(layer)}-{digest[:8]}" if layer else ""
        name += f".until-{self.until[:8]}" if self.until else ""
        name += f".rel{self.relevance_level}" if self.relevance_level != self.card_relevance_level else ""
        name += f".batch{self.batch_tokens}" if self.batch_tokens not in (None, DEFAULT_BATCH_TOKENS) else ""
        name += ".no-instructions" if self.instructions == "none" else ""
        return name + (".skip-missing-text" if self.missing_text == "skip" else "")

    def changed_from(self, other: Identity) -> list[str]:
        """What differs from `other`, in words: `depth 100 → 200`."""
        words = {
            "top_k": "depth", "dataset_revision": "dataset revision", "retriever": "first stage",
            "retriever_fingerprint": "first stage's fingerprint", "reranker_revision": "model files",
            "reranker_fingerprint": "reranker's fingerprint", "limit": "--limit",
            "until": "--until-decided", "qrels_layer": "--qrels-layer", "card_relevance_level": "the card's relevance level",
            "relevance_level": "--relevance-level", "missing_text": "--missing-text", "batch_tokens": "--batch-tokens",
            "instructions": "--instructions",
            "scoring_version": "scoring version", "card": "card", "task_prompt": "task sentence",
        }  # fmt: skip
        mine, theirs = asdict(self), asdict(other)
        changes = []
        for name in mine:
            if name == "retriever_settings" and self.retriever != other.retriever:
                continue
            if name in ("retriever_settings", "reranker_settings"):
                changes += _changed_settings(theirs[name], mine[name], name.removesuffix("_settings"))
            elif mine[name] != theirs[name] and not name.endswith("_fingerprint"):
                changes.append(f"{words.get(name, name)} {_short(theirs[name])} → {_short(mine[name])}")
        if not changes:
            changes = [words[name] for name in mine if name.endswith("_fingerprint") and mine[name] != theirs[name]]
        return changes


def _changed_settings(before: Mapping[str, Any], after: Mapping[str, Any], whose: str) -> list[str]:
    return [
        f"{whose}'s {key} {_short(before.get(key))} → {_short(after.get(key))}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text[:8] if re.fullmatch(r"[0-9a-f]{32,40}", text) else text


@dataclass(frozen=True)
class Result:
    """One task, one subset, one first stage, one reranker (or none): the numbers and their grounds."""

    identity: Identity
    collection: str
    """The collection's fingerprint."""
    candidates: str
    """The candidates' digest."""
    queries: int
    asked: tuple[str, ...]
    """The measures that were asked for; one that the runs do not decide is here and not in `measures`."""
    measures: Mapping[str, Mapping[str, float | None]]
    """measure → first_stage, reranked, oracle, difference, low, high, p; None where there is none."""
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    """Counts and shares: missing queries, ties, truncation, skipped documents; equal for equal runs."""
    performance: Mapping[str, Any] = field(default_factory=dict)
    """Seconds, pairs a second, latency: measured, so they differ from run to run."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Mapping[str, list[float | None]]] = field(default_factory=dict, compare=False)
    """measure → stage → value of each query, in the order of `query_ids`; None where a measure leaves a query out."""
    query_ids: tuple[str, ...] = ()
    clusters: tuple[str, ...] = ()
    """The cluster of each query of `query_ids`, within which queries share something; empty where each stands alone."""
    interval_method: str = "percentile bootstrap"
    """How `low` and `high` were found; files that do not say are of the time of the bootstrap."""
    place: str = ""
    """The folder or file that the reranker came from, as a path; empty where its name says it all."""
    label: str = field(default="", compare=False)
    """What the reranker is called among others that are shown with it (see `naming`); no part of the file."""
    view: str = field(default="", compare=False)
    """`first_stage` or `oracle` where it is taken for that alone, as a comparison does; no part of the file."""

    @property
    def reranker(self) -> str | None:
        """What tables call the reranker; None for a first stage alone."""
        if self.view:
            return ORACLE if self.view == ORACLE else None
        return self.label or self.identity.reranker

    @property
    def stage(self) -> str:
        """Which of its stages the result is about: `reranked`, or the first stage where nothing was reranked."""
        return self.view or ("reranked" if self.identity.reranker else "first_stage")

    def save(self, results: Path) -> Path:
        """Write the result and its per-query values under `results`; the JSON last. Returns its path."""
        path = self.identity.path(results)
        text = json.dumps(self.record(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        try:
            self._keep_values(path, {})
            write_atomically(path, text)
            lines_path(path).unlink(missing_ok=True)
        except OSError as error:
            raise HarnessError(
                f"cannot write {path}: {error.strerror or error}; the scores are kept in the cache, and the same command "
                f"with --results DIR puts results elsewhere"
            ) from None
        return path

    def save_face(self, results: Path) -> Path:
        """Write the result as a baseline keeps it (see `faces`) under `results`; the face last. Returns its path.

        Raises OSError for a disk that does not take it.
        """
        path, record = self.identity.path(results), self.record()
        self._keep_values(path, {"record": record})
        write_atomically(lines_path(path), values_lines(self.query_ids, self.values))
        write_atomically(path, face_text(face_of(record)))
        return path

    def _keep_values(self, path: Path, more: Mapping[str, Any]) -> None:
        beside = {"query_ids": self.query_ids, "values": self.values, **more}
        beside |= {"clusters": self.clusters} if self.clusters else {}
        write_atomically(values_path(path), gzip.compress(json.dumps(beside, allow_nan=False).encode(), mtime=0))

    def record(self) -> dict[str, Any]:
        """What its file holds, but for the values of queries."""
        record: dict[str, Any] = {"schema": SCHEMA}
        record |= {k: v for k, v in vars(self).items() if k not in _BESIDE and (k != "place" or v)}
        identity = asdict(self.identity).items()
        record["identity"] = {k: v for k, v in identity if k not in _WHERE_IT_APPLIES or v != _WHERE_IT_APPLIES[k]}
        return record

    def summary(self) -> dict[str, Any]:
        """The entry of `run --format json`."""
        return {
            "task": self.identity.task,
            "subset": self.identity.subset,
            "retriever": self.identity.retriever,
            "reranker": self.reranker,
            "top_k": self.identity.top_k,
            "queries": self.queries,
            "measures": self.measures,
            "interval_method": self.interval_method,
            "diagnostics": self.diagnostics,
            "performance": self.performance,
            "environment": self.environment,
        }


_WHERE_IT_APPLIES = {"until": "", "card_relevance_level": 1, "qrels_layer": ""}
"""Fields of an identity that are written only where they are not this."""

_BESIDE = ("values", "query_ids", "clusters", "identity", "label", "view")
"""What the JSON does not hold as it is: the values of queries lie in a file beside it, and a label is of a table."""


def values_path(path: Path) -> Path:
    """Where the per-query values of the result at `path` lie."""
    return path.with_name(path.name.removesuffix(".json") + ".values.json.gz")


def load_result(path: Path, *, with_values: bool = False) -> Result:
    """The result at `path`, with the values of its queries where these are asked for.

    Raises HarnessError for a file that is not a result or of a later schema, for values that are missing
    (exit code 3), for figures that are not the means of their values, and for a baseline whose texts do not agree with
    its exact figures.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        face = record["schema"] == FACE
        if not face and record["schema"] > SCHEMA:
            raise HarnessError(
                f"{path} has schema {record['schema']}, later than the {SCHEMA} known here: update rerank-harness"
            )
        beside = _values_beside(path) if with_values or face else {}
        exact = beside.pop("record", None)
        if face:
            require_agreement(path, record, exact)
            record = exact
        if with_values:
            require_lines(path, beside["query_ids"], beside["values"])
            record |= beside
        result = _result_of(record)
        _require_means(result, path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise HarnessError(f"{path} is not a result of the harness: {type(error).__name__}: {error}") from None
    return result


def _result_of(record: dict[str, Any]) -> Result:
    del record["schema"]
    identity = Identity(**record.pop("identity"))
    lists = {name: tuple(record.get(name, ())) for name in ("query_ids", "clusters")}
    return Result(identity, **{**record, **lists, "asked": tuple(record["asked"])})


def _values_beside(path: Path) -> dict[str, Any]:
    beside = values_path(path)
    if not beside.is_file():
        raise HarnessError(
            f"{beside} is missing: the values of {path.name}'s queries; keep both files together", exit_code=3
        )
    try:
        found: dict[str, Any] = json.loads(gzip.decompress(beside.read_bytes()))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise HarnessError(
            f"{beside} cannot be read ({type(error).__name__}: {error}): take it from where the result came from, or "
            f"remove {path.name} and run the task again"
        ) from None
    return found


def _require_means(result: Result, path: Path) -> None:
    """Figures and values lie in two files: one that was changed without the other is not to be believed."""
    for measure, stages in result.values.items():
        for stage, column in stages.items():
            values = [value for value in column if value is not None]
            mean = math.fsum(values) / len(values) if values else None
            figure = result.measures[measure][stage]
            if len(column) != len(result.query_ids):
                raise HarnessError(f"{values_path(path)}: {len(column)} values for {len(result.query_ids)} queries")
            if mean is None or figure is None or not math.isclose(mean, figure, abs_tol=1e-9):
                raise HarnessError(
                    f"{path}: {measure} ({stage}) is {figure}, and the mean of its queries' values is {mean}: one of "
                    f"the two files was changed; run the task again"
                )


def result_files(results: Path) -> Iterator[Path]:
    """Every result file below `results`, sorted."""
    return (path for path in sorted(results.rglob("*@*.json")) if not path.name.startswith("."))


def find_previous(identity: Identity, results: Path, before: float) -> Result | None:
    """What a change is told against: the newest result of the same reranker (or none), first stage, task and subset.

    Of whatever settings; another first stage, or another file of candidates, is another system and no
    change. Only files last written before `before` (seconds since the epoch) count, so that one
    command's results are not told against each other.
    """
    folder = results / ("first-stage" if identity.reranker is None else slug(identity.reranker))
    name = slug(identity.task) + ("" if identity.subset == "default" else f".{slug(identity.subset)}")
    found = []
    for path in folder.rglob(f"{name}@*.json"):
        with contextlib.suppress(HarnessError, OSError):
            if (written := path.stat().st_mtime) < before:
                result = load_result(path)
                if result.identity.retriever == identity.retriever and not result.identity.until:
                    found.append((written, result))
    return max(found, key=lambda entry: entry[0])[1] if found else None
