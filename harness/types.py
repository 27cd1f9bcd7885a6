"""The nouns of the harness: Task, Measure, Run, Candidates, Measurement.

This module imports nothing of ours but errors, and nothing heavy, so every other module may use it. Two nouns
live where their work is done: Collection in `collection.py`, Result in `result.py`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from .errors import did_you_mean, spelt

__all__ = [
    "DEFAULT_BATCH_TOKENS",
    "LARGEST_FLOAT32",
    "Aggregate",
    "Aspects",
    "Candidates",
    "DocumentText",
    "Finding",
    "Grades",
    "Interval",
    "Measure",
    "Measurement",
    "Part",
    "Qrels",
    "QueryText",
    "Run",
    "Status",
    "Subset",
    "Task",
    "cut",
    "ranked",
]

DEFAULT_BATCH_TOKENS = 4096
"""The token budget of a batch on CPU. Results of half precision that were made with another one say so in their names."""

LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
"""Scores are ranked in single precision; what lies beyond this has no place there."""

Run = dict[str, dict[str, float]]
"""query_id → doc_id → score; higher is better. A ranking of any stage."""

Qrels = dict[str, dict[str, int]]
"""query_id → doc_id → relevance. A query with judgements counts, also when a run misses it."""


Aspects = dict[str, dict[str, dict[str, int]]]
"""query_id → doc_id → aspect → relevance: the judgements of data that ask whether rankings are diverse."""

Grades = Mapping[str, Mapping[str, float]]
"""Qrels, or gains that need be no whole numbers: what nDCG takes."""


class QueryText(NamedTuple):
    """A query as a reranker sees it; `instruction` is empty where the data has none."""

    text: str
    instruction: str = ""


class DocumentText(NamedTuple):
    """A document as the corpus stores it: title and text apart, joined by `text.join_document`."""

    title: str
    text: str


def ranked(scores: Mapping[str, float]) -> list[str]:
    """doc_ids, best first: float32 score descending, then doc_id descending.

    This is the order of trec_eval 9 and pytrec_eval (single-precision scores, ties by document id,
    descending; `form_res_rels.c`; trec_eval 10 compares in double precision), the one tie rule of the whole harness. Python compares strings
    by code point, which is the byte order of their UTF-8 that trec_eval's `strcmp` sees.
    """
    import numpy as np

    doc_ids = sorted(scores, reverse=True)
    single = np.fromiter((scores[doc_id] for doc_id in doc_ids), np.float32, len(doc_ids))
    return [doc_ids[i] for i in np.argsort(-single, kind="stable")]


def cut(run: Run, k: int) -> Run:
    """The best `k` documents of each query, by `ranked`."""
    return {query_id: {doc_id: scores[doc_id] for doc_id in ranked(scores)[:k]} for query_id, scores in run.items()}


_MEASURE = re.compile(r"(?P<name>[A-Za-z][A-Za-z-]*?)(\((?P<option>[^()@]*)\))?(@(?P<cutoff>[1-9][0-9]*))?\Z")
_OTHER_NAMES = {
    "ap": "MAP", "mrr": "RR", "reciprank": "RR", "reciprocalrank": "RR", "recall": "R", "precision": "P", "prec": "P",
    "hit": "Success", "hits": "Success", "hitrate": "Success", "hitratio": "Success", "hr": "Success", "acc": "Success",
    "accuracy": "Success", "rprecision": "Rprec", "hole": "Judged", "holes": "Judged",
    "ndcgexp": "nDCG(dcg='exp-log2')", "expndcg": "nDCG(dcg='exp-log2')", "ndcgburges": "nDCG(dcg='exp-log2')",
    **{
        f"maxoversubqueries{theirs}": f"max-over-subqueries({ours})"
        for theirs, ours in (("ndcg", "nDCG"), ("map", "MAP"), ("recall", "R"), ("mrr", "RR"), ("precision", "P"))
    },
}  # fmt: skip
"""What trec_eval, mteb, beir and their users call measures → what papers, and we, call them."""


@dataclass(frozen=True)
class Measure:
    """A measure as papers write it: nDCG@10, MAP@1000, R@100, RR@10, P@5, Success@1, Judged@10, p-MRR.

    What ir_measures writes in brackets is `option`: nDCG(dcg='exp-log2')@10, RBP(p=0.8); and that which is measured
    of the best scores of several queries: max-over-subqueries(MAP)@1000.
    """

    name: str
    cutoff: int | None = None
    option: str = ""

    NAMES = (
        "nDCG", "MAP", "R", "RR", "P", "Success", "Judged", "ERR", "RBP", "Rprec", "bpref", "infAP", "alpha-nDCG",
        "p-MRR", "robustness", "paired-accuracy", "max-over-subqueries",
    )  # fmt: skip
    WITH_CUTOFF = ("P", "R", "Success", "Judged", "ERR", "alpha-nDCG", "robustness", "max-over-subqueries")
    WITHOUT_CUTOFF = ("p-MRR", "RBP", "Rprec", "bpref", "infAP", "paired-accuracy")

    def __str__(self) -> str:
        whole = f"{self.name}({self.option})" if self.option else self.name
        return whole if self.cutoff is None else f"{whole}@{self.cutoff}"

    @classmethod
    def parse(cls, text: str) -> Measure:
        """The measure that `text` writes, in whatever case.

        Raises ValueError for a name that is not in `NAMES`, a cutoff that is not a whole number
        above 0, and an option that the measure has not; the message is the whole line a user needs.
        """
        found = _MEASURE.match(text.strip())
        name = spelt(found["name"], cls.NAMES) if found else ""
        if not found or name not in cls.NAMES:
            raise ValueError(
                f'unknown measure "{text}": a measure is one of {", ".join(cls.NAMES)}, with @k for a cutoff.'
                f"{_meant(text.strip())}"
            )
        cutoff = int(found["cutoff"]) if found["cutoff"] else None
        if name in cls.WITH_CUTOFF and cutoff is None:
            raise ValueError(f'measure "{text}" needs a cutoff, as in {name}@10')
        if name in cls.WITHOUT_CUTOFF and cutoff is not None:
            raise ValueError(f'measure "{text}": {name} has no cutoff')
        return cls(name, cutoff, _option(text, name, found["option"]))

    @property
    def condensed(self) -> bool:
        """Whether documents without a judgement are taken out of the ranking before it is measured."""
        return self.option == _JUDGED_ONLY

    def condensed_twin(self) -> Measure | None:
        """The same measure of the condensed list; None where there is none."""
        return Measure(self.name, self.cutoff, _JUDGED_ONLY) if self.name in _CONDENSED and not self.option else None

    @property
    def grouped(self) -> bool:
        """Whether it has one value for each group of queries that are one in several forms."""
        return self.name in ("robustness", "paired-accuracy", "max-over-subqueries")

    @property
    def alpha(self) -> float:
        """alpha-nDCG's: how much less an aspect that was served gains again."""
        return float(self.option.partition("=")[2] or 0.5)

    @property
    def persistence(self) -> float:
        """RBP's p."""
        return float(self.option.partition("=")[2])


_JUDGED_ONLY = "judged_only=True"
"""What ir_measures calls a measure of condensed lists (Sakai, SIGIR 2007)."""
_CONDENSED = ("nDCG", "MAP", "R", "RR", "P", "Success", "Rprec")


def _option(text: str, name: str, given: str | None) -> str:
    """The option as it is printed; RBP always says its p, nDCG only what is not usual."""
    key, _, value = (part.strip().strip("'\"") for part in (given or "").partition("="))
    if name == "RBP" and (not given or key == "p"):
        persistence = _number(value or "0.8")
        if 0 < persistence < 1:
            return f"p={persistence!r}"
        raise ValueError(f'measure "{text}": p is a number between 0 and 1, as in RBP(p=0.8)')
    if name == "alpha-nDCG" and key == "alpha":
        alpha = _number(value)
        if 0 < alpha < 1:
            return "" if alpha == 0.5 else f"alpha={alpha!r}"
        raise ValueError(f'measure "{text}": alpha is a number between 0 and 1, as in alpha-nDCG(alpha=0.7)@10')
    if name == "nDCG" and key == "dcg" and value in ("log2", "exp-log2"):
        return "" if value == "log2" else "dcg='exp-log2'"
    if name in _CONDENSED and (key, value) == ("judged_only", "True"):
        return _JUDGED_ONLY
    if name == "max-over-subqueries":
        inner = {known.casefold(): known for known in ("nDCG", "MAP", "R", "RR", "P", "Success")}
        if found := inner.get((given or "").strip().casefold()):
            return found
        raise ValueError(f'measure "{text}": say what is measured, as in max-over-subqueries(MAP)@1000')
    if not given:
        return ""
    if key == "rel":
        raise ValueError(f'measure "{text}": the grade from which a document is relevant is --relevance-level {value}')
    raise ValueError(
        f'measure "{text}": {name} has no option "{given}"; there are nDCG(dcg=\'exp-log2\')@10, RBP(p=0.8), '
        "nDCG(judged_only=True)@10 and alpha-nDCG(alpha=0.7)@10"
    )


def _number(written: str) -> float:
    """-1 for what is no number."""
    try:
        return float(written)
    except ValueError:
        return -1.0


def _meant(text: str) -> str:
    """` Did you mean "RR@10"?` for what others call a measure, or for a slip of the pen; else nothing."""
    parts = re.fullmatch(r"(.+?)(?:_at|_cut)?[@_ ]*([0-9]*)", re.sub(r"\([^)]*\)", "", text))
    word, cutoff = parts.groups() if parts else (text, "")
    key = re.sub(r"[\s_-]", "", word).casefold().replace("α", "alpha")
    known = {name.replace("-", "").casefold(): name for name in Measure.NAMES} | _OTHER_NAMES
    near = known.get(key) or next(
        (known[each] for each in difflib.get_close_matches(key, known, n=1, cutoff=0.7)), None
    )
    if near is None:
        return did_you_mean(word, Measure.NAMES)
    if near in Measure.WITHOUT_CUTOFF:
        cutoff = ""
    elif near in Measure.WITH_CUTOFF:
        cutoff = cutoff or "10"
    return f' Did you mean "{near}{f"@{int(cutoff) or 10}" if cutoff else ""}"?'


@dataclass(frozen=True)
class Subset:
    """One language, or one of the parts, of a task: what is loaded and scored on its own."""

    name: str
    split: str
    languages: tuple[str, ...] = ()
    config: str = ""
    """The hub's config prefix: `zh` for zh-corpus, zh-queries, zh-qrels; empty for the plain names."""
    queries: int | None = None
    """How many judged queries the data must have; None where no card says so."""
    documents: int | None = None


@dataclass(frozen=True)
class Part:
    """What a benchmark takes of a task: these of the hub's subsets, on these splits."""

    subsets: tuple[str, ...]
    splits: tuple[str, ...]

    def holds(self, subset: str, split: str) -> bool:
        """Whether that subset and split are of the part."""
        return subset in self.subsets and split in self.splits


@dataclass(frozen=True)
class Task:
    """One card: which data, which measures, which rules. See tasks/README.md for the YAML."""

    name: str
    path: str
    """A hub data set (`mteb/scifact`) or an absolute folder."""
    revision: str
    """40 hex digits: the commit of a hub data set, or a digest of a folder's files."""
    subsets: tuple[Subset, ...]
    measures: tuple[Measure, ...]
    """The first is the headline."""
    relevance_level: int = 1
    """The lowest grade that binary measures (MAP, RR, R, P …) count as relevant; gains are the grades all the same."""
    given_lists: bool = False
    """Whether the data set brings each query's candidates; a first stage is then used only when asked for."""
    scoped: bool = False
    """Whether a query's list is the scope of the search: what may be retrieved for it, not what is reranked whole."""
    drop_identical_ids: bool = False
    """Whether a document with the query's own id leaves the candidates before the cut at k."""
    licence: str = ""
    prompt: str = ""
    """The task sentence that instruction-tuned encoders put before a query."""
    clusters: str = ""
    """Which queries share something: `prefix:_` (what stands before the first _ of their ids), `stem:_` (before the
    last one), `field:NAME` (of the
    queries' rows), `shared relevant` (a relevant document), `base query` (FollowIR's, without -og and -changed), `none`; empty where no card says."""
    folder: bool = False
    """Whether `path` is a folder of the user's rather than a hub data set."""
    origin: str = "packed"
    """`packed` for the cards that come with the harness, `mteb` for a task of mteb without a card,
    `split` for one of them on another split, `folder` and `hub` for data without a card; else a digest
    of the user's card."""
    loader: str = ""
    """`mteb:NAME:VERSION` for data that only mteb's own class of that task can read; empty for files."""
    fields: str = ""
    """Which columns hold what, as `data.names.fields_of_card` writes it; empty where no card says so."""
    files: str = ""
    """Which files hold what, as `data.layout.files_of_card` writes it; empty where their names say so."""
    note: str = field(default="", compare=False)
    """What the user should know about how the task was found."""
    modalities: tuple[str, ...] = ("text",)
    """What the data is made of; only texts are reranked here, while boards show imported figures of all."""
    left_out: int = field(default=0, compare=False)
    """How many subsets the card has beside these, where only some languages are run."""
    part: Part | None = field(default=None, compare=False)
    """What a benchmark takes of the task, where that is not all: the subsets left out are then none of its."""

    @property
    def headline(self) -> Measure:
        return self.measures[0]

    def hf_subset(self, subset: Subset) -> str:
        """mteb's name of a subset. A task of several splits has the split in our name, and mteb has it beside."""
        return (subset.config or "default") if self.origin == "mteb" else subset.name


@dataclass(frozen=True)
class Aggregate:
    """A card or a suite that lists tasks and says how their mean is taken: never a result of its own."""

    name: str
    members: tuple[str, ...]
    """Tasks, or other aggregates, by name."""
    means: tuple[tuple[str, tuple[str, ...]], ...]
    """Each mean's name and the measure of every member that it averages, unweighted, as results print
    them (`MAP@1000 og`); empty where the members are not to be averaged."""
    parts: tuple[tuple[str, Part], ...] = ()
    """Members of which not all is taken."""
    note: str = ""
    """What the user should know: which of a benchmark's tasks are left out."""


@dataclass(frozen=True)
class Candidates:
    """What a first stage hands to the rerankers: its Run cut to k.

    `scored` is False for a given list without scores: its figures as a first stage are missing,
    and the order in which the data set stores it is never taken for a ranking.
    """

    run: Run
    origin: str
    """The first stage as the tables show it: `bm25`, a model's name, a run file's name."""
    digest: str
    """32 hex digits over every query_id, doc_id and float32 score, length-prefixed."""
    scored: bool = True


Status = Literal["ok", "warning", "failed", "info"]


@dataclass(frozen=True)
class Finding:
    """One check: its name, how it ended, and what was seen."""

    name: str
    status: Status
    detail: str


class Interval(NamedTuple):
    """Both ends of a 95 % interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Measurement:
    """One measure over all judged queries: the value of each query and their mean."""

    measure: Measure
    values: Mapping[str, float]
    """query_id → value, one for every judged query; a query that the run misses has 0."""
    mean: float = field(init=False)

    def __post_init__(self) -> None:
        import math

        values = list(self.values.values())
        object.__setattr__(self, "mean", math.fsum(values) / len(values) if values else math.nan)


def languages_of(subsets: Iterable[Subset]) -> tuple[str, ...]:
    """Every language of the subsets once, in order."""
    return tuple(dict.fromkeys(language for subset in subsets for language in subset.languages))
