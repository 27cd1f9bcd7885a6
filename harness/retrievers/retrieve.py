"""Stage 2: Collection → Candidates, each query's top k from a first stage, cached.

A first stage is BM25, a dense encoder, a TREC run from anywhere, the data set's own lists, or
several of these fused. A document with the query's own id (where the card says so) and a query's
excluded documents leave before the cut at k, so they never take a candidate's place.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache as once
from pathlib import Path
from typing import TYPE_CHECKING

from ..data.collection import Collection
from ..data.forms import refuse_other_forms
from ..data.rankings import digest_of_ranking, is_trec, name_of_ranking, names_of, read_ranking
from ..engine.options import Options
from ..errors import HarnessError, did_you_mean
from ..files.cache import write_atomically, writing
from ..files.digest import Digest, digest_of, digest_of_settings
from ..types import LARGEST_FLOAT32, Candidates, Run, Subset, Task, cut
from .scope import refused_of, scope_of

if TYPE_CHECKING:
    from ..models.source import ModelSource

__all__ = [
    "FirstStage",
    "allowed",
    "candidates_of",
    "known_digest",
    "memory_stage",
    "open_first_stage",
    "refuse_idle_settings",
]

BM25 = "bm25"
GIVEN = "given"
_ANALYZER = "analyzer"
Say = Callable[[str], None]
Search = Callable[[Collection, Task, Subset, int], Run]


@dataclass(frozen=True)
class FirstStage:
    """A first stage by name, with everything that decides its scores; loads nothing until it searches."""

    name: str
    settings: tuple[tuple[str, object], ...]
    search: Search = field(compare=False, repr=False)
    wants_task_prompt: bool = False
    """Whether its scores depend on the task sentence of the data set's card."""
    scored: bool = True
    note: str | None = field(default=None, compare=False)
    in_language: Callable[[str], FirstStage] | None = field(default=None, compare=False, repr=False)
    """The stage for one language, where its settings depend on it (BM25's analyzer)."""

    def for_subset(self, subset: Subset) -> FirstStage:
        """The stage as it searches a subset, in the subset's first language."""
        if self.in_language is None:
            return self
        return self.in_language(subset.languages[0] if subset.languages else "und")

    @property
    def fingerprint(self) -> str:
        """32 hex digits over the settings."""
        return digest_of_settings([("name", self.name), *self.settings])


def open_first_stage(name: str, options: Options, cache: Path) -> FirstStage:
    """`bm25`, or a sentence-transformers model by name or folder.

    Of the settings, BM25 takes `analyzer`, and a model the others. Raises HarnessError for a model
    that is no bi-encoder, or that cannot be found, and for an analyzer that is none.
    """
    settings = dict(options.settings)
    chosen = settings.pop(_ANALYZER, "")
    if name == BM25:
        return _bm25(cache, options.cores, analyzer=chosen)
    return _dense(name, replace(options, settings=tuple(settings.items())), cache)


def refuse_idle_settings(names: Sequence[str], settings: Sequence[tuple[str, str]], languages: Sequence[str]) -> None:
    """Raises HarnessError for a setting that none of the first stages `names` takes, or that changes nothing.

    `languages` are those of the data: an analyzer for none of them would be left aside without a word.
    """
    from . import analyzers

    for key, value in settings:
        if key == _ANALYZER and BM25 not in names:
            raise HarnessError(f"--retriever-set {key}= is for --retriever {BM25}, which is not asked for")
        if key != _ANALYZER and all(name == BM25 for name in names):
            raise HarnessError(f'{BM25} has no setting "{key}"; it has {_ANALYZER}.{did_you_mean(key, [_ANALYZER])}')
        if key == _ANALYZER and all(analyzers.chosen(language, value) == language for language in languages):
            known = ", ".join(dict.fromkeys(languages)).replace("und", "unknown")
            raise HarnessError(
                f"--retriever-set {key}={value} is for another language than the data's ({known}); --language CODE says "
                f"the language of a folder or a hub data set"
            )


def _bm25(cache: Path, cores: int | None, language: str = "und", analyzer: str = "") -> FirstStage:
    from . import BM25_VERSION, analyzers

    language = analyzers.chosen(language, analyzer) if analyzer else language
    found = analyzers.analyzer(language)
    settings = {
        "analyzer": f"{found.name} {found.version}",
        "b": 0.4,
        "fields": "flat",
        "k1": 0.9,
        "language": found.language,
        "version": BM25_VERSION,
    }

    def search(collection: Collection, task: Task, subset: Subset, k: int) -> Run:
        from .search import bm25_run

        return bm25_run(collection, language, cache, k, scope_of(collection, task), cores)

    def in_language(code: str) -> FirstStage:
        return _bm25(cache, cores, code, analyzer)

    return FirstStage(BM25, tuple(settings.items()), search, in_language=in_language)


def _dense(name: str, options: Options, cache: Path) -> FirstStage:
    from ..models.encoders import Encoder, encoder_note, encoder_spec
    from ..models.recipes import is_late_interaction
    from ..models.source import open_model
    from .sparse_encoder import is_sparse

    source = open_model(name, cache, rehash=options.rehash, trust=options.trust_remote_code)
    if is_sparse(source):
        return _sparse(source, options, cache)
    if is_late_interaction(source):
        return _late(source, options)
    spec = encoder_spec(source, options)

    @once
    def encoder() -> Encoder:
        return Encoder(source, spec, options, cache)

    def search(collection: Collection, task: Task, subset: Subset, k: int) -> Run:
        from .search import dense_run

        return dense_run(collection, encoder(), k, scope_of(collection, task), task.prompt)

    settings = (("revision", source.revision), *sorted(spec.settings.items()))
    note = encoder_note(source, spec)
    return FirstStage(source.name, settings, search, spec.recipe.wants_task_prompt, note=note)


def _sparse(source: ModelSource, options: Options, cache: Path) -> FirstStage:
    from .sparse_encoder import SparseEncoder, sparse_spec

    spec = sparse_spec(source, options)

    @once
    def encoder() -> SparseEncoder:
        return SparseEncoder(source, spec, options, cache)

    def search(collection: Collection, task: Task, subset: Subset, k: int) -> Run:
        from .search import sparse_run

        return sparse_run(collection, encoder(), cache, k, scope_of(collection, task))

    settings = (("family", "sparse encoder"), ("revision", source.revision), *spec.settings)
    return FirstStage(source.name, settings, search, note=source.note)


def _late(source: ModelSource, options: Options) -> FirstStage:
    from ..models.late.encoder import FAMILY, TokenEncoder, late_settings

    layout, settings = late_settings(source, options)

    @once
    def encoder() -> TokenEncoder:
        return TokenEncoder(source, options, layout)

    def search(collection: Collection, task: Task, subset: Subset, k: int) -> Run:
        from .search import late_run

        return late_run(collection, encoder(), k, scope_of(collection, task))

    known = (("family", FAMILY), ("revision", source.revision), *sorted(settings.items()))
    return FirstStage(source.name, known, search, note=source.note)


def run_file_stage(path: Path, cache: Path) -> FirstStage:
    """A ranking from anywhere, in any form of `data.rankings`; its digest is that of the file's bytes."""
    if not path.exists():
        raise HarnessError(
            f"--candidates {path}: there is no such file; it is a TREC run, JSON lines of query_id, doc_id and score, or "
            "another form of a ranking"
        )
    if is_trec(path):
        name = path.name.removesuffix(".gz").removesuffix(".trec").removesuffix(".run").removesuffix(".txt")
    else:
        name = name_of_ranking(path)

    def search(collection: Collection, task: Task, subset: Subset, k: int) -> Run:
        found = read_ranking(path, names_of(task, subset), subset.split).first
        return _checked(found, collection, task, f"--candidates {path}", k)

    return FirstStage(name, (("file", digest_of_ranking(path, cache)),), search)


def _checked(run: Run, collection: Collection, task: Task, where: str, k: int) -> Run:
    """The run of this task's queries. Raises HarnessError for one of another task, ids in another form, lists without order."""
    lacking = sorted(collection.queries.keys() - run.keys())
    refuse_other_forms(lacking, run, f"{where}: {task.name} has query", "the run")
    own = _of_this_task(run, collection, where, task)
    named = {doc_id for scores in own.values() for doc_id in scores}
    collection.refuse_other_forms(sorted(named - collection.known(named)), f"{where} names document")
    _refuse_lists_without_order(own, where, k)
    return own


def _refuse_lists_without_order(run: Run, where: str, k: int) -> None:
    """A list of one score throughout has no best `k`: cutting it would leave the greatest document ids."""
    import numpy as np

    for query_id, scores in run.items():
        if len(scores) > k and len(np.unique(np.fromiter(scores.values(), np.float32, len(scores)))) == 1:
            raise HarnessError(
                f'{where}: the {len(scores)} documents of query "{query_id}" have one and the same score, so there is no '
                f"best {k} of them (the rank column is not read): write the scores, or a --top-k that takes them all"
            )


def memory_stage(run: Run, name: str) -> FirstStage:
    """A ranking that is in memory; its digest is that of its ids and float32 scores.

    Raises HarnessError for a score that has no place in single precision.
    """
    for query_id, scores in run.items():
        for doc_id, score in scores.items():
            if not -LARGEST_FLOAT32 <= score <= LARGEST_FLOAT32:
                raise HarnessError(
                    f'{name}: the score {score} of query "{query_id}" and document "{doc_id}" is no finite number of '
                    "single precision (at most 3.4e38), in which scores are ranked"
                )

    def search(collection: Collection, task: Task, subset: Subset, k: int) -> Run:
        return _checked(run, collection, task, name, k)

    return FirstStage(name, (("run", digest_of_run(run)),), search)


def given_stage() -> FirstStage:
    """The data set's own candidate lists, whole; they carry no scores."""

    def search(collection: Collection, task: Task, subset: Subset, k: int) -> Run:
        if collection.given is None:
            raise HarnessError(
                f"{task.name} has no candidate lists of its own; name a first stage, as in --retriever bm25"
            )
        return {query_id: dict.fromkeys(doc_ids, 0.0) for query_id, doc_ids in collection.given.items()}

    return FirstStage(GIVEN, (("lists", "of the data set"),), search, scored=False)


def candidates_of(
    stage: FirstStage, collection: Collection, task: Task, subset: Subset, top_k: int | None, cache: Path
) -> Candidates:
    """The candidates of every judged query: found in the cache, or searched and kept there.

    `top_k` None takes given lists whole. Raises HarnessError where the first stage finds nothing
    for any query, and for a cut of lists that have no order.
    """
    if not stage.scored and top_k is not None:
        raise HarnessError(f"the lists of {task.name} have no scores, so there are no {top_k} best of them")
    folder = cache / "candidates" / _key(stage, collection.fingerprint, task, subset, top_k)
    kept = _read_kept(folder, stage)
    if kept is not None:
        return kept
    run = allowed(stage.search(collection, task, subset, _depth(collection, task, top_k)), collection, task, top_k)
    if not any(run.values()):
        raise HarnessError(f"the first stage {stage.name} finds no document for any query of {task.name}")
    found = Candidates(run, stage.name, digest_of_run(run), stage.scored)
    _keep(folder, found)
    return found


def known_digest(
    stage: FirstStage, fingerprint: str | None, task: Task, subset: Subset, top_k: int | None, cache: Path
) -> str | None:
    """The digest of candidates already in the cache, without reading them; None where there are none."""
    if fingerprint is None:
        return None
    folder = cache / "candidates" / _key(stage, fingerprint, task, subset, top_k)
    try:
        return str(json.loads((folder / "manifest.json").read_text())["digest"])
    except (OSError, ValueError, KeyError):
        return None


def digest_of_run(run: Run) -> str:
    """32 hex digits over every query_id, doc_id and float32 score, sorted by id."""
    import numpy as np

    digest = Digest()
    for query_id in sorted(run):
        scores = run[query_id]
        doc_ids = sorted(scores)
        single = np.fromiter((scores[doc_id] for doc_id in doc_ids), "<f4", len(doc_ids))
        digest.add(query_id, str(len(doc_ids)), *doc_ids).add(single.tobytes())
    return digest.hex()


def _key(stage: FirstStage, fingerprint: str, task: Task, subset: Subset, top_k: int | None) -> str:
    identical = "drop" if task.drop_identical_ids else "keep"
    sentence = [task.prompt] if stage.wants_task_prompt else []
    scope = ["scoped"] if task.scoped else []
    return digest_of(stage.fingerprint, fingerprint, str(top_k), identical, *subset.languages[:1], *sentence, *scope)


def _depth(collection: Collection, task: Task, top_k: int | None) -> int:
    """How deep to search so that `top_k` are left when refused documents are gone."""
    refused = max((len(doc_ids) for doc_ids in collection.excluded.values()), default=0) + task.drop_identical_ids
    return (top_k or max((len(documents) for documents in (collection.given or {}).values()), default=1)) + refused


def allowed(run: Run, collection: Collection, task: Task, k: int | None) -> Run:
    """The run of the judged queries, within their scope, without excluded and identical ids, then cut at k."""
    kept: Run = {}
    for query_id in collection.queries:
        refused = refused_of(query_id, collection, task)
        scores = run.get(query_id, {})
        if task.scoped:
            scope = set((collection.given or {}).get(query_id, ()))
            scores = {doc_id: score for doc_id, score in scores.items() if doc_id in scope}
        kept[query_id] = {doc_id: score for doc_id, score in scores.items() if doc_id not in refused}
    return kept if k is None else cut(kept, k)


def _of_this_task(run: Run, collection: Collection, where: str, task: Task) -> Run:
    if not set(run) & set(collection.queries):
        example = next(iter(collection.queries))
        raise HarnessError(
            f"{where}: none of its {len(run)} queries is one of {task.name}'s {len(collection.queries)} judged "
            f'queries (such as "{example}"): is it a run of another task?'
        )
    return {query_id: scores for query_id, scores in run.items() if query_id in collection.queries}


def _read_kept(folder: Path, stage: FirstStage) -> Candidates | None:
    """Candidates kept by `_keep`, if they are whole; None where there are none, or they are damaged."""
    try:
        lists = json.loads(gzip.decompress((folder / "candidates.json.gz").read_bytes()))
        run = {query_id: dict(zip(*documents, strict=True)) for query_id, documents in lists.items()}
        digest = str(json.loads((folder / "manifest.json").read_text())["digest"])
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Candidates(run, stage.name, digest, stage.scored) if digest_of_run(run) == digest else None


def _keep(folder: Path, found: Candidates) -> None:
    """As JSON rather than a TREC run: an id may hold white space."""
    lists = {query_id: (list(scores), list(scores.values())) for query_id, scores in found.run.items()}
    with writing(folder):
        write_atomically(folder / "candidates.json.gz", gzip.compress(json.dumps(lists).encode(), 6, mtime=0))
        write_atomically(folder / "manifest.json", json.dumps({"digest": found.digest, "origin": found.origin}))
