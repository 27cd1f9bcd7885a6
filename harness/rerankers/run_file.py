"""A ranking that is there already as a reranker: `run:FILE` gives every candidate the score that the file has for it.

So a production ranking, or a log of retrieval with a reranker, is held against new rerankers over the same
candidates, by the same measures and tests. Nothing is scored, and nothing is stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.rankings import digest_of_ranking, name_of_ranking, names_of, read_ranking
from ..errors import HarnessError
from ..files.digest import Digest
from ..results.naming import RANKING, place_of
from ..types import DocumentText, QueryText, Run, Subset, Task
from .base import Reranker, RerankerSpec

__all__ = ["FAMILY", "PREFIX", "is_run_file", "known_scores", "open_run_file"]

PREFIX = RANKING
FAMILY = "run file"
VERSION = 1


def is_run_file(name: str) -> bool:
    """Whether a `--reranker` word is `run:FILE`; `run:name` is a plug-in where there is a module of that name and no such file."""
    path = Path(name.removeprefix(PREFIX))
    return name.startswith(PREFIX) and (path.exists() or not Path("run.py").is_file())


def open_run_file(name: str, cache: Path) -> Reranker:
    """The reranker whose scores are those of a file, or of a folder of search responses. Reads nothing yet.

    Raises HarnessError where it is not there.
    """
    path = Path(name.removeprefix(PREFIX))
    if not path.exists():
        raise HarnessError(f"{name}: there is no file {path}; --reranker run:FILE is a ranking that is there already")
    digest = digest_of_ranking(path, cache)
    settings = (("file", digest), ("version", VERSION))
    spec = RerankerSpec(f"{PREFIX}{name_of_ranking(path)}", FAMILY, Digest(size=20).add(digest).hex(), settings)

    def scores(task: Task, subset: Subset) -> Run:
        found = read_ranking(path, names_of(task, subset), subset.split)
        return found.first if found.second is None else found.second

    place = f"{PREFIX}{place_of(path.parent)}/{name_of_ranking(path)}"
    return Reranker(spec, lambda: _NoModel(name), one_load=True, scores=scores, ranking=path, place=place)


def known_scores(
    run: Run, query_ids: Sequence[str], doc_ids: Sequence[str], pairs: NDArray[np.int64], name: str
) -> NDArray[np.float64]:
    """The score of every pair, shape (n,); `pairs`, shape (n, 2), are places in the ids. Raises HarnessError where one is lacking."""
    scores = np.full(len(pairs), np.nan)
    for row, (query, document) in enumerate(pairs.tolist()):
        scores[row] = run.get(query_ids[query], {}).get(doc_ids[document], np.nan)
    lacking = np.flatnonzero(np.isnan(scores))
    if len(lacking):
        query, document = pairs[lacking[0]]
        raise HarnessError(
            f'{name} has no score for {len(lacking):,} of the {len(scores):,} candidates (such as query "{query_ids[query]}", '
            f'document "{doc_ids[document]}"): take the candidates of the same file (leave --retriever out, or name it '
            "by --candidates), or a --top-k no deeper than what it scored"
        )
    return scores


class _NoModel:
    """What stands where other rerankers have a model: these scores belong to ids, and no text can be scored."""

    def __init__(self, name: str) -> None:
        self._name = name

    def score_list(self, query: QueryText, documents: Sequence[DocumentText]) -> NDArray[np.float64]:
        raise HarnessError(
            f"{self._name} is a ranking of its own queries and documents: it has no score for another text"
        )

    def activate(self, margins: NDArray[np.float32]) -> NDArray[np.float32]:
        """The scores of the file, as they are."""
        return margins
