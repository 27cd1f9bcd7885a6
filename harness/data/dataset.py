"""A data set's files → the folder of a prepared collection: corpus.arrow, judged.json, manifest.json.

Everything is checked on the way: what a collection holds has been read strictly, once.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..files.digest import Digest
from ..types import Qrels
from .corpus import Corpus, write_corpus
from .formats import read_examples, read_instructions, read_lists, read_qrels, read_queries

__all__ = ["write_collection"]


def write_collection(folder: Path, paths: Mapping[str, Sequence[Path]], source: str) -> None:
    """Reads the parts (`layout.Layout` names them) and writes a collection; the manifest comes last.

    Raises HarnessError for whatever the readers refuse, a document that stands twice, qrels that
    name an unknown query, a judged query without its instruction, and given documents that the
    corpus lacks.
    """
    judged = _read_judged(paths, source)
    corpus = folder / "corpus.arrow"
    size, corpus_digest = write_corpus(corpus, paths["corpus"])
    missing = _count_missing(Corpus(corpus), judged, source)
    write_atomically(folder / "judged.json", json.dumps(judged, ensure_ascii=False))
    manifest = {
        "source": source,
        "fingerprint": _fingerprint(corpus_digest, judged),
        "documents": size,
        "queries": len(judged["queries"]),
        "judgements": sum(map(len, judged["qrels"].values())),
        "judged_without_text": missing,
        "sizes": {name: (folder / name).stat().st_size for name in ("corpus.arrow", "judged.json")},
    }
    write_atomically(folder / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False))


# -- queries, qrels and lists


def _read_judged(paths: Mapping[str, Sequence[Path]], source: str) -> dict[str, Any]:
    """All but the corpus, of the judged queries alone."""
    for part, gold in (("examples", "gold_ids"), ("examples_long", "gold_ids_long")):
        if paths.get(part):
            asked, judgements, excluded = read_examples(paths[part], gold)
            return {"queries": asked, "qrels": judgements, "given": None, "excluded": excluded, "qrel_diff": None}
    qrels = read_qrels(paths["qrels"])
    queries = read_queries(paths["queries"])
    if unknown := [query_id for query_id in qrels if query_id not in queries]:
        raise HarnessError(
            f'{source}: the qrels judge query "{unknown[0]}"{_and_more(unknown)}, which the queries do not have: '
            "every judged query needs its text"
        )
    texts = {query_id: queries[query_id] for query_id in qrels}
    if paths.get("instruction"):
        instructions = read_instructions(paths["instruction"])
        if without := [query_id for query_id in texts if query_id not in instructions]:
            raise HarnessError(
                f'{source}: query "{without[0]}"{_and_more(without)} has no instruction, and the data set has '
                "instructions: every judged query needs one"
            )
        texts = {query_id: query._replace(instruction=instructions[query_id]) for query_id, query in texts.items()}
    qrel_diff = read_lists(paths["qrel_diff"]) if paths.get("qrel_diff") else None
    if qrel_diff is not None:
        _require_twins(qrels, qrel_diff, source)
    return {
        "queries": texts,
        "qrels": qrels,
        "given": _lists_of(paths.get("top_ranked"), qrels),
        "excluded": _lists_of(paths.get("excluded"), qrels) or {},
        "qrel_diff": qrel_diff,
    }


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


def _lists_of(paths: Sequence[Path] | None, qrels: Qrels) -> dict[str, list[str]] | None:
    if not paths:
        return None
    lists = read_lists(paths)
    return {query_id: lists[query_id] for query_id in qrels if query_id in lists}


def _and_more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1:,} more" if len(names) > 1 else ""


def _count_missing(corpus: Corpus, judged: Mapping[str, Any], source: str) -> int:
    """Judged pairs without a document: normal where pools are deeper than the corpus (TREC DL).

    A given candidate without a document could never be scored, so that is an error.
    """
    named = {doc_id for documents in judged["qrels"].values() for doc_id in documents}
    named.update(doc_id for doc_ids in (judged["given"] or {}).values() for doc_id in doc_ids)
    there = corpus.known(named)
    for query_id, doc_ids in (judged["given"] or {}).items():
        if lost := [doc_id for doc_id in doc_ids if doc_id not in there]:
            raise HarnessError(
                f'{source}: the list of query "{query_id}" names document "{lost[0]}"{_and_more(lost)}, which the '
                "corpus does not have: every candidate needs its text"
            )
    return sum(doc_id not in there for documents in judged["qrels"].values() for doc_id in documents)


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
    return digest.hex()
