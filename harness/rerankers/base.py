"""What every reranker is to the rest of the harness.

A `RerankerSpec` is everything that decides the scores, known without loading a model; its
fingerprint is the key under which scores are stored. A `Reranker` is a spec with the way to load
it. A loaded model is a `PairModel` (scores each pair on its own) or a `ListModel` (sees a query's
whole list).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..engine import ahead
from ..engine.progress import stage
from ..files.digest import digest_of_settings
from ..models.source import ModelSource, weights_here
from ..results.naming import Known, settings_as_text
from ..types import DocumentText, QueryText, Run, Subset, Task

if TYPE_CHECKING:
    from ..engine.options import Options
    from .origin import Origin
    from .services.cost import Estimate

__all__ = ["Basis", "ListModel", "PairModel", "Prepared", "Reranker", "RerankerSpec", "sigmoid"]


@dataclass(frozen=True)
class RerankerSpec:
    """Name, revision and resolved settings of a reranker."""

    name: str
    family: str
    revision: str
    """Hub commit, or digest of a folder's or a plug-in's files."""
    settings: tuple[tuple[str, object], ...]
    """Everything resolved that moves scores: dtype, max_length, template, tokenizer, family version."""
    context: Literal["pair", "list"] = "pair"
    declared: bool = True
    """False for a plug-in that declares neither fingerprint nor revision: its scores may resume the
    run that made them and are never used by another."""

    @property
    def fingerprint(self) -> str:
        """32 hex digits over family, revision and settings; the name is not a part of it."""
        # Lists were kept by their texts once, and equal texts then shared one score: those are never used again.
        context = "list by place" if self.context == "list" else self.context
        fields = [("family", self.family), ("revision", self.revision), ("context", context)]
        return digest_of_settings([*fields, ("settings", dict(self.settings))])

    @property
    def counts_tokens(self) -> bool:
        """Whether the tokens of pairs are known: not those of whole lists, nor where the tokenizer is somebody else's."""
        return self.context == "pair" and self.family not in ("plug-in", "remote", "run file")


@dataclass(frozen=True)
class Basis:
    """How a reranker is run and why so: what `check` prints of it."""

    prompt: str = ""
    """The form of its input, in one line."""
    activation: str = ""
    """What its published score makes of the margin."""
    rule: str = ""
    """The name of its rule in rules.yaml."""
    decided_by: str = ""
    """What decided its family."""


class Prepared(Protocol):
    """The pairs of one request, tokenized: what a batch plan and a forward pass need."""

    lengths: NDArray[np.int64]
    """Tokens of each pair after truncation; the plan's cost."""
    lost: NDArray[np.int64]
    """Tokens that truncation took from each pair."""
    # A family may also offer `plan(budget) -> list of row batches`, where it computes several pairs
    # together best; see `engine.plan_of`. And `taken`, what truncation took from whom (see
    # `truncation.Taken`), and `beginnings(rows)`, which are the same for rows whose inputs are.

    also: Mapping[str, NDArray[np.float32]]
    """Scores of the rows of the last `score` under other fingerprints, found in the same pass (a
    layerwise model's other layers); they are stored with them. Empty for most families."""

    def score(self, rows: NDArray[np.int64]) -> NDArray[np.floating]:
        """The margin of each pair in `rows`, in their order: float32, or float64 where somebody else's code gives it."""
        ...


class PairModel(Protocol):
    """A model whose score of a pair depends on that pair alone."""

    def prepare(
        self, queries: Sequence[QueryText], documents: Sequence[DocumentText], pairs: NDArray[np.int64]
    ) -> Prepared:
        """Tokenize each distinct text once. `pairs` has shape (n, 2): a query's and a document's index."""
        ...

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The score that the authors publish for a margin (sigmoid, softmax, or the margin itself), in float32."""
        ...


class ListModel(Protocol):
    """A model that sees one query's documents together, in first-stage order."""

    # A family may also have `tallied`, names, and after each `score_list` `tallies`, a count for each name: they are
    # stored with the list's scores, and their sums stand in the result.

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.floating]:
        """One score a document, in their order; higher is better. Float32, or float64 as in `Prepared.score`."""
        ...


@dataclass
class Reranker:
    """A spec and the way to load it; loaded at most once, and only when a score is missing."""

    spec: RerankerSpec
    loader: Callable[[], Any]
    note: str | None = None
    bind: Callable[[str], Reranker] | None = None
    """For a model whose input holds the data set's task sentence: the reranker with that sentence.
    Its spec has the sentence too, so that scores made with another one are never taken for its own."""
    newly_initialised: list[str] = field(default_factory=list)
    """Weights that a plug-in's model lacked and its library filled with random numbers."""
    estimate: Callable[..., Estimate] | None = None
    """For a provider's model: (queries, documents, pairs) → the requests that they take, about the tokens that
    they are billed, and the money; with a fourth argument, numbers of queries and of documents of each, the pairs are a sample of these."""
    source: ModelSource | None = None
    """The model's files, where it has any of its own."""
    place: str = ""
    """The folder or file that it was opened from; empty where its name says it all."""
    options: Options | None = None
    """How it is run, where that is its own and not the request's."""
    basis: Basis = Basis()
    one_load: bool = False
    """Whether there is but one load to be had: of a plug-in, a service, an engine, or an encoder, which compares its own."""
    separate: Callable[[], Any] | None = None
    """Loads the model once more, where `loader` hands out weights that it has loaded before."""
    compared: bool = False
    """Whether two separate loads were found to score alike."""
    scores: Callable[[Task, Subset], Run] | None = None
    """For a ranking that is there already: its scores, by ids; no text is scored."""
    ranking: Path | None = None
    """The file of such a ranking."""
    origin: Origin | None = field(default=None, repr=False)
    """What a worker opens to have the same; None where the scores are computed in this process alone."""
    _model: Any = field(default=None, repr=False)

    @property
    def known(self) -> Known:
        """What tells it from other rerankers."""
        spec = self.spec
        return Known(spec.name, self.place, spec.revision, spec.fingerprint, settings_as_text(dict(spec.settings)))

    def load(self) -> Any:
        """The PairModel or ListModel. Raises HarnessError where its files do not fit the family."""
        if self._model is None:
            with stage(f"loading {self.spec.name}"):
                self._model = self.loader()
        return self._model

    def read_ahead(self) -> None:
        """Have the system read the weights that are on this machine, beside whatever is done next."""
        if self.source is not None:
            ahead.read(weights_here(self.source))

    def load_ahead(self) -> None:
        """Begin with what loading takes, beside whatever is done next; `ahead.settled` is the end of it."""
        if self.source is not None:
            self.read_ahead()
            ahead.begin(self.source.config.get("architectures") or [])

    def for_task(self, prompt: str) -> Reranker:
        """The reranker as it is used on a data set whose task sentence is `prompt`; mostly itself."""
        if self.bind is None:
            return self
        bound = self.bind(prompt)
        bound.origin = replace(self.origin, task_prompt=prompt) if self.origin else None
        return bound


def sigmoid(margins: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + e^-x) in float32, without overflow for margins of any size."""
    small = np.exp(-np.abs(margins))
    found: NDArray[np.float32] = np.where(margins >= 0, 1 / (1 + small), small / (1 + small)).astype(np.float32)
    return found
