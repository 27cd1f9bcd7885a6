"""Our measures and mteb's keys: one table for both directions.

mteb writes trec_eval's measures as `ndcg_at_10`, `map_at_100`, `recall_at_100`, `mrr_at_10`,
`precision_at_5`, `hit_rate_at_1`, of the same meaning as nDCG@10, MAP@100, R@100, RR@10, P@5 and
Success@1 here. Judged@k has no key: mteb's `hole` asks whether a document was judged for any query,
Judged@k whether it was judged for this one.
"""

from __future__ import annotations

import re

__all__ = ["POOLED", "SIDES", "measure_of", "mteb_key"]

_KEYS = {
    "nDCG": "ndcg", "MAP": "map", "R": "recall", "RR": "mrr", "P": "precision", "Success": "hit_rate",
    "robustness": "robustness",
}  # fmt: skip
_ALONE = {"p-MRR": "p-MRR", "paired-accuracy": "paired_accuracy"}
_OVER = "max_over_subqueries_"

SIDES = ("og", "changed")
"""The two instructions of FollowIR's queries: each side has its own figures, in mteb as here."""

POOLED = "pooled"
"""What marks mteb's figures over both sides together, which no measure of ours means."""


def mteb_key(measure: str) -> tuple[str, str] | None:
    """(side, key) of a measure as results print it: `nDCG@10` → ("", "ndcg_at_10"); None where mteb has none.

    `MAP@1000 og` → ("og", "map_at_1000"): mteb nests both sides of FollowIR's tasks under their names.
    """
    name, _, side = measure.partition(" ")
    if side not in ("", *SIDES):
        return None
    if name in _ALONE:
        return side, _ALONE[name]
    base, _, cutoff = name.partition("@")
    if over := re.fullmatch(r"max-over-subqueries\((\w+)\)", base):
        return (side, f"{_OVER}{_KEYS[over[1]]}_at_{cutoff}") if over[1] in _KEYS else None
    return (side, f"{_KEYS[base]}_at_{cutoff}") if base in _KEYS and cutoff else None


def measure_of(key: str) -> tuple[str, str] | None:
    """(measure, its key) of what mteb calls a main score: `ndcg_at_10` → ("nDCG@10", "ndcg_at_10"); None where it is mteb's alone.

    `accuracy` of a retrieval task is by mteb's own definition the recall at 1.
    """
    alone = next((name for name, known in _ALONE.items() if known == key), None)
    if alone is not None:
        return alone, key
    if key.startswith(_OVER):
        inner = measure_of(key.removeprefix(_OVER))
        return (f"max-over-subqueries({inner[0].replace('@', ')@')}", key) if inner and "@" in inner[0] else None
    key = "recall_at_1" if key == "accuracy" else key
    base, _, cutoff = key.rpartition("_at_")
    name = next((name for name, known in _KEYS.items() if known == base), None)
    return (f"{name}@{cutoff}", key) if name and cutoff.isdigit() else None
