"""Pairwise and setwise rerankers: the score of a document is n minus its place, so n … 1.

Both cut query and documents to 128 tokens each, as ielab/llm-rankers does, and put the first `top` documents in their
places; the others follow in their first-stage order. Answers that name no passage that was shown count as the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....engine.fast import note_of
from ....engine.options import Options
from ....errors import HarnessError
from ....files.digest import digest_of_settings
from ....models.running import numeric_settings
from ....models.settings import Reader, one_of, read_settings, whole_number
from ....models.source import ModelSource
from ....text import JOIN_RULE, join_document, join_query
from ....types import DocumentText, QueryText
from ...base import Reranker, RerankerSpec
from ...prompts.sort_prompt import SortTemplate, read_sort_template
from ...prompts.sorts import by_points, sort_by_bubbles, sort_by_heap
from .asker import Asker, T5Asker, kind_of

__all__ = ["Pairwise", "Setwise", "SortRule", "Sorter", "open_sorter"]

VERSION = 1


@dataclass(frozen=True)
class SortRule:
    """How a list is sorted; lengths are in tokens."""

    method: str
    top: int = 10
    children: int = 3
    """How many documents one is held against; 1 in a bubble and 2 in a heap that compare pairs."""
    scoring: str = "generation"
    query_length: int = 128
    passage_length: int = 128


def open_sorter(kind: type[Sorter], source: ModelSource, options: Options) -> list[Reranker]:
    """The reranker of a T5 or a chat model that sorts as `kind` does.

    Settings: template (a name in sorting.yaml or a path), method, top, query_length, passage_length, and for setwise
    children and scoring (see `SortRule`). Raises HarnessError for another kind of model and settings that do not fit.
    """
    family, asker = kind.family, kind_of(source)
    readers: dict[str, Reader] = {
        "template": str,
        "method": one_of(*kind.methods),
        **dict.fromkeys(("top", "query_length", "passage_length"), whole_number),
        **kind.readers,
    }
    chosen: dict[str, Any] = read_settings(family, options.settings, readers)
    name: str = chosen.pop("template", kind.template)
    template = read_sort_template(family, name)
    rule = SortRule(**{"method": kind.methods[0], **chosen})
    _refuse_unfit(kind, rule, template, source)
    if rule.method == "allpair" and "top" in chosen:
        raise HarnessError("method=allpair puts every document in its place: top is for method=heapsort or bubblesort")
    used = {key: value for key, value in asdict(rule).items() if key in readers}
    if rule.method == "allpair":
        del used["top"]
    settings: dict[str, object] = {
        **used,
        **numeric_settings(source, options),
        "join": JOIN_RULE,
        "template": Path(name).stem,
        "template_digest": digest_of_settings(asdict(template).items()),
        "version": VERSION,
    }
    spec = RerankerSpec(source.name, family, source.revision, tuple(sorted(settings.items())), context="list")
    note = note_of(source.config, source.note, known=False)
    return [Reranker(spec, lambda: kind(asker(source, options, template), rule), note)]


def _refuse_unfit(kind: type[Sorter], rule: SortRule, template: SortTemplate, source: ModelSource) -> None:
    """Raise HarnessError where rule, template and model do not fit each other."""
    if kind is Pairwise and len(template.labels) != 2:
        raise HarnessError(f"a pairwise template has two labels, not {len(template.labels)} ({template.labels})")
    if kind is Setwise and rule.children + 1 > len(template.labels):
        raise HarnessError(
            f"children={rule.children} asks about {rule.children + 1} passages at a time, and the template names "
            f"{len(template.labels)}"
        )
    if rule.scoring == "likelihood" and kind_of(source) is not T5Asker:
        raise HarnessError(f"scoring=likelihood is defined for a T5, and {source.name} is {source.architecture}")


class Sorter:
    """A model to ask, and what it said of the texts of the present list."""

    family: str
    template: str
    methods: tuple[str, ...]
    readers: Mapping[str, Reader] = {}
    tallied: tuple[str, ...]

    def __init__(self, asker: Asker, rule: SortRule) -> None:
        self.asker, self.rule = asker, rule
        self.tallies: dict[str, int] = {}
        self._query = ""
        self._passages: list[str] = []
        self._said: dict[tuple[int, ...], str] = {}

    @property
    def tokenizer(self) -> Any:
        """The model's."""
        return self.asker.tokenizer

    @property
    def model(self) -> Any:
        """The weights."""
        return self.asker.model

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float32]:
        """N … 1 by final place, shape (n,), in the order of `documents`; `tallies` then says how they were asked for."""
        rule = self.rule
        [self._query], queries = self.asker.cut([join_query(query)], rule.query_length)
        texts = [join_document(document) for document in documents]
        self._passages, passages = self.asker.cut(texts, rule.passage_length)
        self._said, self.tallies = {}, dict.fromkeys(self.tallied, 0)
        self.tallies |= {"queries_shortened": queries, "passages_shortened": passages}
        order = self.order(len(documents))
        scores = np.empty(len(documents), np.float32)
        scores[order] = np.arange(len(documents), 0, -1, dtype=np.float32)
        return scores

    def order(self, count: int) -> list[int]:
        """The documents of the present list, best first."""
        raise NotImplementedError

    def question(self, seen: Sequence[int]) -> list[int]:
        """The ids of a question about these documents of the present list."""
        texts = [self._passages[document] for document in seen]
        return self.asker.ids(self.asker.template.ask(self._query, texts))

    def said(self, questions: Sequence[tuple[int, ...]]) -> list[str]:
        """What the model answers about each tuple of documents; asked once for each."""
        new = list(dict.fromkeys(seen for seen in questions if seen not in self._said))
        if new:
            self._said.update(zip(new, self.asker.answers([self.question(seen) for seen in new]), strict=True))
            self.tallies["answers"] += len(new)
        return [self._said[seen] for seen in questions]


class Pairwise(Sorter):
    """One passage beats another where the model says so in both orders: pairwise ranking prompting (arXiv 2306.17563)."""

    family, template, methods = "pairwise", "prp", ("allpair", "heapsort", "bubblesort")
    tallied = ("answers", "malformed", "conflicts", "queries_shortened", "passages_shortened")

    def order(self, count: int) -> list[int]:
        if self.rule.method == "allpair":
            self._ask([(one, other) for one in range(count) for other in range(one + 1, count)])
            return by_points(count, self.points)
        if self.rule.method == "heapsort":
            return sort_by_heap(count, self.rule.top, 2, self._best)
        return sort_by_bubbles(count, self.rule.top, 1, self._best)

    def points(self, one: int, other: int) -> float:
        """1 where `one` beats `other` in both orders, 0 where it loses in both, else ½."""
        first, second = tuple(self.asker.template.labels)
        self._ask([(one, other)])
        there, back = self.said([(one, other), (other, one)])
        if (there, back) in ((first, second), (second, first)):
            return float(there == first)
        return 0.5

    def _ask(self, pairs: Sequence[tuple[int, int]]) -> None:
        """Ask about each pair in both orders, and count what is new."""
        new = [pair for pair in pairs if pair not in self._said]
        self.said([order for one, other in new for order in ((one, other), (other, one))])
        labels = self.asker.template.labels
        for one, other in new:
            answers = [self._said[one, other], self._said[other, one]]
            wrong = sum(answer not in tuple(labels) for answer in answers)
            self.tallies["malformed"] += wrong
            self.tallies["conflicts"] += not wrong and answers[0] == answers[1]

    def _best(self, seen: Sequence[int]) -> int:
        best = 0
        for place in range(1, len(seen)):
            if self.points(seen[place], seen[best]) == 1:
                best = place
        return best


class Setwise(Sorter):
    """The best of several passages, by the label that the model writes or finds likeliest (arXiv 2310.09497)."""

    family, template, methods = "setwise", "setwise-ielab", ("heapsort", "bubblesort")
    readers: Mapping[str, Reader] = {"children": whole_number, "scoring": one_of("generation", "likelihood")}
    tallied = ("answers", "malformed", "queries_shortened", "passages_shortened")

    def __init__(self, asker: Asker, rule: SortRule) -> None:
        super().__init__(asker, rule)
        self._labels = asker.label_ids() if rule.scoring == "likelihood" and isinstance(asker, T5Asker) else []

    def order(self, count: int) -> list[int]:
        sort = sort_by_heap if self.rule.method == "heapsort" else sort_by_bubbles
        return sort(count, self.rule.top, self.rule.children, self._best)

    def _best(self, seen: Sequence[int]) -> int:
        key = tuple(seen)
        asked = key not in self._said
        if self._labels and isinstance(self.asker, T5Asker):
            if asked:
                logits = self.asker.likelihoods([self.question(seen)], self._labels[: len(seen)])
                self._said[key] = self.asker.template.labels[int(logits[0].argmax())]
                self.tallies["answers"] += 1
            return self.asker.template.labels.index(self._said[key])
        [answer] = self.said([key])
        # The authors take a T5's last character, and of a chat's one token all of it.
        label = answer[-1:] if isinstance(self.asker, T5Asker) else answer
        place = self.asker.template.labels.find(label) if len(label) == 1 else -1
        if 0 <= place < len(seen):
            return place
        self.tallies["malformed"] += asked
        return 0
