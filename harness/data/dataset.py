"""A data set's files → the folder of a prepared collection: corpus.arrow, judged.json, manifest.json.

Everything is checked on the way: what a collection holds has been read strictly, once.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.cache import hash_of, write_atomically
from ..files.digest import Digest
from ..types import Qrels
from .corpus import Corpus, write_corpus
from .formats import EXCLUDED, read_examples, read_instructions, read_lists, read_queries
from .forms import refuse_other_forms, shown_ids
from .judgements import Judgements, read_judgements
from .names import Fields, fields_of

__all__ = ["read_judged", "write_collection"]


Unread = defaultdict[str, set[str]]
"""part → columns that its files have, and that nobody here reads."""

_ASIDE = {"reasoning", "gold_answer", "gold_ids", "gold_ids_long", "metadata", "iteration", "__index_level_0__"}
"""Columns that are known, and move no number."""
_TEXTS = ("corpus", "queries")
_TELLING = re.compile(r"exclud|negative|candidate|ranked|\bgains?\b", re.IGNORECASE)
"""What the name of a column beside a text would have to do with candidates or judgements."""


def write_collection(folder: Path, paths: Mapping[str, Sequence[Path]], source: str, fields: str = "") -> None:
    """Reads the parts (`layout.Layout` names them) and writes a collection; the manifest comes last.

    `fields` says which columns hold what, where a card does (`names.fields_of_card`).

    Raises HarnessError for whatever the readers refuse, a document that stands twice, qrels that
    name an unknown query, a judged query without its instruction, given documents that the corpus
    lacks, an id that one part writes in another form than the other, and a corpus without any of
    the relevant documents.
    """
    unread: Unread = defaultdict(set)
    columns = fields_of(fields)
    judged, repeated = read_judged(paths, source, columns, unread)
    corpus = folder / "corpus.arrow"
    written = write_corpus(corpus, paths["corpus"], unread["corpus"], columns["corpus"])
    missing = _count_missing(Corpus(corpus), judged, source)
    write_atomically(folder / "judged.json", json.dumps(judged, ensure_ascii=False))
    manifest = {
        "source": source,
        "fingerprint": _fingerprint(written.digest, judged),
        "documents": written.size,
        "queries": len(judged["queries"]),
        "judgements": sum(map(len, judged["qrels"].values())),
        "judged_without_text": missing,
        "without_text": written.blank,
        "repeated": {"documents": written.repeated, "judgements": repeated},
        "unread": _worth_saying(unread),
        "sizes": {name: (folder / name).stat().st_size for name in ("corpus.arrow", "judged.json")},
        "digests": {name: hash_of(folder / name) for name in ("corpus.arrow", "judged.json")},
    }
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))


def _worth_saying(unread: Mapping[str, set[str]]) -> list[str]:
    """`qrels: weight` for each column that may mean something: any in judgements and lists, a telling name beside a text."""
    return [
        f"{part}: {name}"
        for part in sorted(unread)
        for name in sorted(unread[part] - _ASIDE)
        if part not in _TEXTS or _TELLING.search(name)
    ]


# -- queries, qrels and lists


def read_judged(
    paths: Mapping[str, Sequence[Path]], source: str, columns: Mapping[str, Fields], unread: Unread | None = None
) -> tuple[dict[str, Any], int]:
    """All but the corpus, of the judged queries alone; and how many judgements stand there again.

    Raises HarnessError as `write_collection` does for these parts.
    """
    unread = defaultdict(set) if unread is None else unread
    for part, gold in (("examples", "gold_ids"), ("examples_long", "gold_ids_long")):
        if paths.get(part):
            asked, judgements, excluded = read_examples(paths[part], gold, unread[part])
            return {"queries": asked, "qrels": judgements, "given": None, "excluded": excluded, "qrel_diff": None}, 0
    said = read_judgements(paths["qrels"], unread["qrels"], columns["qrels"], paths.get("gains", ()))
    qrels = said.qrels
    queries = read_queries(paths["queries"], unread["queries"], columns["queries"])
    if unknown := [query_id for query_id in qrels if query_id not in queries]:
        refuse_other_forms(unknown, queries, f"{source}: the qrels judge query", "the queries' file")
        raise HarnessError(
            f"{source}: the qrels judge query {shown_ids(unknown)}, which the queries do not have (they have "
            f"{shown_ids(list(queries))}): every judged query needs its text"
        )
    texts = {query_id: queries[query_id] for query_id in qrels}
    if paths.get("instruction"):
        instructions = read_instructions(paths["instruction"], unread["instruction"])
        if without := [query_id for query_id in texts if query_id not in instructions]:
            refuse_other_forms(without, instructions, f"{source}: there is query", "the instructions' file")
            raise HarnessError(
                f'{source}: query "{without[0]}"{_and_more(without)} has no instruction, and the data set has '
                "instructions: every judged query needs one"
            )
        texts = {query_id: query._replace(instruction=instructions[query_id]) for query_id, query in texts.items()}
    qrel_diff = read_lists(paths["qrel_diff"], unread=unread["qrel_diff"]) if paths.get("qrel_diff") else None
    if qrel_diff is not None:
        _require_twins(qrels, qrel_diff, source)
    excluded = _lists_of("excluded", ("corpus-ids", *EXCLUDED), paths, queries, unread, source) or {}
    given = _lists_of("top_ranked", ("corpus-ids",), paths, queries, unread, source)
    judged = {
        "queries": texts,
        "qrels": qrels,
        "given": None if given is None else {query_id: given[query_id] for query_id in qrels if query_id in given},
        "excluded": {query_id: excluded[query_id] for query_id in qrels if query_id in excluded},
        "qrel_diff": qrel_diff,
        **_beside_grades(said),
    }
    return judged, said.repeated


def _beside_grades(said: Judgements) -> dict[str, Any]:
    """What stands there only where the data set has aspects or gains, so that other collections are as they were."""
    gains = {} if said.gains is None else {"gains": said.gains, "gains_alone": said.gains_alone}
    return gains | ({"aspects": said.aspects} if said.aspects else {})


def _lists_of(
    part: str, names: Sequence[str], paths: Mapping[str, Sequence[Path]],
    queries: Mapping[str, Any], unread: Unread, source: str,
) -> dict[str, list[str]] | None:  # fmt: skip
    """The lists of a part; None where the data set has no such part."""
    if not paths.get(part):
        return None
    lists = read_lists(paths[part], names, unread[part])
    strangers = [query_id for query_id in lists if query_id not in queries]
    refuse_other_forms(strangers, queries, f"{source}: its {part} has a list of query", "the queries' file")
    return lists


def _require_twins(qrels: Qrels, qrel_diff: Mapping[str, Sequence[str]], source: str) -> None:
    """Where instructions change, each judged query is `{base}-og` or `{base}-changed`, and both are there."""
    for query_id in [*qrels, *(f"{base}-og" for base, doc_ids in qrel_diff.items() if doc_ids)]:
        base, dash, side = query_id.rpartition("-")
        if not dash or side not in ("og", "changed"):
            raise HarnessError(
                f'{source} has a qrel_diff, and its query "{query_id}" ends in neither -og nor -changed: which '
                "instruction it has cannot be told"
            )
        for twin in (f"{base}-og", f"{base}-changed"):
            if twin not in qrels:
                raise HarnessError(
                    f'{source}: query "{query_id}" has no twin: "{twin}" is not judged, and a change of instruction '
                    "is measured on the two"
                )


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1:,} more" if len(names) > 1 else ""


def _count_missing(corpus: Corpus, judged: Mapping[str, Any], source: str) -> int:
    """Judged pairs without a document: normal where pools are deeper than the corpus (TREC DL).

    A given candidate without a document could never be scored, so that is an error; so are ids in
    another form than the corpus has, and a corpus without any relevant document.
    """
    qrels, given = judged["qrels"], judged["given"] or {}
    listed = {
        "the qrels judge document": {doc_id for documents in qrels.values() for doc_id in documents},
        "its top_ranked names document": _of_lists(given),
        "its exclusions name document": _of_lists(judged["excluded"]),
        "its qrel_diff names document": _of_lists(judged["qrel_diff"] or {}),
    }
    there = corpus.known(set().union(*listed.values()))
    for what, named in listed.items():
        if lost := sorted(named - there):
            refuse_other_forms(lost, corpus.iterate_ids(), f"{source}: {what}", "the corpus")
    for query_id, doc_ids in given.items():
        if lost := [doc_id for doc_id in doc_ids if doc_id not in there]:
            raise HarnessError(
                f'{source}: the list of query "{query_id}" names document "{lost[0]}"{_and_more(lost)}, which the '
                "corpus does not have: every candidate needs its text"
            )
    _require_a_relevant(qrels, corpus, there, source)
    return sum(doc_id not in there for documents in qrels.values() for doc_id in documents)


def _require_a_relevant(qrels: Qrels, corpus: Corpus, there: AbstractSet[str], source: str) -> None:
    """Raises HarnessError, with ids of both sides, where the corpus has no judged, or no relevant, document."""
    judged = list(dict.fromkeys(doc_id for documents in qrels.values() for doc_id in documents))
    relevant = list(dict.fromkeys(d for documents in qrels.values() for d, grade in documents.items() if grade > 0))
    for what, named in (("documents that the qrels judge", judged), ("relevant documents", relevant)):
        if named and there.isdisjoint(named):
            raise HarnessError(
                f"{source}: the corpus has none of the {what} (such as {shown_ids(named)}); its own are such as "
                f"{shown_ids(list(islice(corpus.iterate_ids(), 2)))}: is it the corpus of another data set?"
            )


def _of_lists(lists: Mapping[str, Sequence[str]]) -> set[str]:
    return {doc_id for doc_ids in lists.values() for doc_id in doc_ids}


# -- the fingerprint


def _fingerprint(corpus_digest: str, judged: Mapping[str, Any]) -> str:
    """32 hex digits over the content, whatever the order of rows."""
    digest = Digest().add("collection", "1", corpus_digest)
    queries = judged["queries"]
    digest.add("queries", str(len(queries)))
    for query_id in sorted(queries):
        digest.add(query_id, *queries[query_id])
    digest.add("qrels")
    for query_id in sorted(queries):
        documents = judged["qrels"][query_id]
        digest.add(str(len(documents)))
        for doc_id in sorted(documents):
            digest.add(doc_id, str(documents[doc_id]))
    for part in ("given", "excluded", "qrel_diff"):
        lists = judged[part]
        digest.add(part, "none" if lists is None else str(len(lists)))
        for query_id in sorted(lists or {}):
            digest.add(query_id, str(len(lists[query_id])), *sorted(lists[query_id]))
    for query_id, documents in sorted(judged.get("aspects", {}).items()):
        for doc_id, relevance in sorted(documents.items()):
            of = [part for aspect in sorted(relevance) for part in (aspect, str(relevance[aspect]))]
            digest.add("aspects", query_id, doc_id, *of)
    if "gains" in judged:
        digest.add("gains", "alone" if judged["gains_alone"] else "beside grades")
        for query_id in sorted(judged["gains"]):
            documents = judged["gains"][query_id]
            digest.add(query_id, str(len(documents)))
            for doc_id in sorted(documents):
                digest.add(doc_id, repr(documents[doc_id]))
    return digest.hex()
