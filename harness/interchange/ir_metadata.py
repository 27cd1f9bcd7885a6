"""A result → the header that ir_metadata puts before a TREC run: YAML in comments, by the parts of PRIMAD.

Platform, research goal, implementation, method, actor, data (Breuer, Keller, Schaer, SIGIR 2022; ir-metadata.org);
trec_eval passes over lines that begin with #. What nobody told us, such as who ran it, is left empty.
"""

from __future__ import annotations

from typing import Any

import yaml

from ..results.result import Result
from ..types import Measure

__all__ = ["END", "START", "header_of_run"]

START, END = "ir_metadata.start", "ir_metadata.end"
VERSION = "0.2"
_TREC_EVAL = {"nDCG": "ndcg", "MAP": "map", "R": "recall", "RR": "recip_rank", "P": "P", "Success": "success"}


def header_of_run(result: Result, stage: str) -> list[str]:
    """The lines, without their #, for the ranking of `stage` (`first_stage` or `reranked`)."""
    text = yaml.safe_dump(_metadata(result, stage), sort_keys=False, allow_unicode=True, width=1000)
    return [START, *text.splitlines(), END]


def _metadata(result: Result, stage: str) -> dict[str, Any]:
    identity = result.identity
    reranked = stage == "reranked"
    first = str(identity.retriever)
    return {
        "schema version": VERSION,
        "tag": (identity.reranker if reranked else first) or "",
        "actor": {"team": None},
        "platform": _platform(result),
        "implementation": _implementation(result),
        "method": {
            "automatic": True,
            "score ties": "by document id, descending, of scores in single precision",
            "retrieval": [_first(result), *([_second(result)] if reranked else [])],
        },
        "research goal": {
            "evaluation": {
                "reported measures": [_trec_name(name) for name in result.asked],
                "baseline": [first] if reranked else [],
                "significance test": [{"name": "paired sign-flip randomisation", "correction method": None}] if reranked else [],
            }
        },
        "data": {
            "test_collection": {
                "name": identity.task if identity.subset == "default" else f"{identity.task} {identity.subset}",
                "source": identity.dataset,
                "revision": identity.dataset_revision,
                "qrels": f"split {identity.split}",
                "topics": f"{result.queries} judged queries",
                "content": result.collection,
            }
        },
    }  # fmt: skip


def _platform(result: Result) -> dict[str, Any]:
    seen = result.environment
    hardware: dict[str, Any] = {"cpu": {"model": seen.get("processor"), "number of cores": seen.get("cores")}}
    if seen.get("accelerator"):
        hardware["gpu"] = {"model": seen["accelerator"]}
    libraries = [f"{name} {version}" for name, version in dict(seen.get("packages") or {}).items()]
    return {
        "hardware": hardware,
        "operating system": {"kernel": seen.get("platform")},
        "software": {"libraries": {"python": libraries}, "python": seen.get("python")},
    }


def _implementation(result: Result) -> dict[str, Any]:
    seen = result.environment
    return {
        "source": {
            "lang": "python",
            "name": f"rerank-harness {seen.get('harness', '')}".strip(),
            "commit": seen.get("commit"),
        }
    }


def _first(result: Result) -> dict[str, Any]:
    identity = result.identity
    return {
        "name": identity.retriever,
        "method": str(identity.retriever_settings.get("family", identity.retriever)),
        **{key: value for key, value in identity.retriever_settings.items() if isinstance(value, str | int | float)},
        "fingerprint": identity.retriever_fingerprint,
        "depth": "given lists" if identity.top_k is None else identity.top_k,
    }


def _second(result: Result) -> dict[str, Any]:
    identity = result.identity
    return {
        "name": identity.reranker,
        "method": "reranker",
        **{key: value for key, value in identity.reranker_settings.items() if isinstance(value, str | int | float)},
        "revision": identity.reranker_revision,
        "fingerprint": identity.reranker_fingerprint,
        "reranks": identity.retriever,
    }


def _trec_name(name: str) -> str:
    """`ndcg_cut_10` for nDCG@10, as repro_eval and TIRA call measures; ours where trec_eval has none."""
    try:
        measure = Measure.parse(name)
    except ValueError:
        return name
    known = _TREC_EVAL.get(measure.name)
    if known is None or measure.option:
        return name
    cut = "_cut" if measure.name in ("nDCG", "MAP") else ""
    return known if measure.cutoff is None or measure.name == "RR" else f"{known}{cut}_{measure.cutoff}"
