"""The contract test of a reranker, in seconds: what a newcomer runs before an eight-hour job.

Six easy queries, each with one document that answers it and three that do not. The checks:
two separate loads score alike, scores are finite, the same twice, the same in any batch, and the same in any
order (pair context); the answers rank first more often than chance; a long document is cut where the family says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..types import DocumentText, Finding, QueryText, Status

if TYPE_CHECKING:
    from .base import Reranker
    from .score import Pair

__all__ = ["check_reranker"]

_EASY = (
    ("how long should eggs boil to be hard", "Hard-boiled eggs need about ten minutes in boiling water."),
    ("what is the capital of Norway", "Oslo is the capital and largest city of Norway."),
    ("why do leaves turn yellow in autumn", "In autumn leaves lose their green chlorophyll, and yellow pigments show."),
    ("when was the printing press invented", "Gutenberg built his printing press in Mainz around 1440."),
    ("how do vaccines protect against disease", "Vaccines train the immune system to recognise a pathogen."),
    ("which planet has the largest moon", "Ganymede, a moon of Jupiter, is the largest moon of any planet."),
)


def check_reranker(reranker: Reranker) -> Iterator[Finding]:
    """Every finding, as soon as it is known. Raises HarnessError where the model cannot be loaded."""
    import numpy as np

    from .rules import lines_of
    from .score import margins_of

    spec = reranker.spec
    yield Finding(
        "family",
        "info",
        f"{spec.family}, {spec.context} context, revision {spec.revision[:12]}, fingerprint {spec.fingerprint[:8]}",
    )
    for name, line in lines_of(reranker):
        yield Finding(name, "info", line)
    yield Finding("settings", "info", ", ".join(f"{key}={value}" for key, value in spec.settings))
    pairs = _pairs()
    yield from _input(reranker, pairs)
    yield from _loads(reranker, pairs)
    first = margins_of(reranker, pairs)
    finite = np.isfinite(first)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        yield Finding(
            "finite", "failed", f"{(~finite).sum()} of {len(first)} scores are NaN or infinite; first for {pairs[row]}"
        )
        return
    yield Finding("finite", "ok", f"{len(first)} scores from {first.min():.4f} to {first.max():.4f}")
    yield _constant(first)
    again = margins_of(reranker, pairs)
    same = bool((first == again).all())
    yield Finding(
        "deterministic",
        "ok" if same else "failed",
        "the same scores twice" if same else f"a second call moved scores by up to {abs(first - again).max():.2g}",
    )
    yield _order(first)
    if spec.context == "pair":
        yield from _batching(reranker, pairs, first)


def _loads(reranker: Reranker, pairs: list[Pair]) -> Iterator[Finding]:
    """Whether two separate loads score alike, where there can be two."""
    from ..models.twice import PROBES, LoadsDifferError
    from .score import compare_loads

    try:
        moved = compare_loads(reranker, pairs)
    except LoadsDifferError as error:
        yield Finding("two loads", "failed", str(error))
        return
    if moved is not None:
        yield Finding("two loads", "ok", f"loaded twice, it scores {PROBES} inputs alike (they move by {moved:.2g})")


def _pairs() -> list[Pair]:
    """Each query with its answer first, then three other queries' answers."""
    documents = [DocumentText("", answer) for _, answer in _EASY]
    return [
        (QueryText(query), documents[(row + step) % len(_EASY)])
        for row, (query, _) in enumerate(_EASY)
        for step in range(4)
    ]


def _input(reranker: Reranker, pairs: list[Pair]) -> Iterator[Finding]:
    """An example input as the model gets it, its ids marked, and what happens to a long document."""
    from .score import prepare

    model = reranker.load()
    if not (reranker.spec.counts_tokens and hasattr(model, "prepare")):
        return
    long = DocumentText("", " ".join(answer for _, answer in _EASY * 400))
    prepared: Any = prepare(
        model, [(QueryText("what is the capital of Norway", "Name the city only."), pairs[0][1]), (pairs[0][0], long)]
    )
    if hasattr(prepared, "token_ids"):
        ids = prepared.token_ids(0)
        yield Finding("input", "info", f"{len(ids)} tokens: {shown_tokens(model, ids)}")
    cut = f"a document of 400 repetitions is cut to {prepared.lengths[1]} tokens, {prepared.lost[1]:,} are lost"
    yield Finding(
        "truncation", "info", cut if prepared.lost[1] else f"no limit seen: {prepared.lengths[1]:,} tokens are scored"
    )


def shown_tokens(model: Any, ids: list[int]) -> str:
    """Each id with the piece it stands for, as `101=[CLS]`."""
    tokenizer: Any = getattr(model, "tokenizer", None)
    backend: Any = getattr(tokenizer, "backend", tokenizer)
    pieces = [backend.id_to_token(token) if hasattr(backend, "id_to_token") else "" for token in ids]
    return " ".join(f"{token}={piece}" if piece else str(token) for token, piece in zip(ids, pieces, strict=True))


def _constant(scores: Any) -> Finding:
    import numpy as np

    distinct = len(np.unique(scores))
    if distinct == 1:
        return Finding("distinct scores", "failed", "every pair has the same score")
    status: Status = "ok" if distinct > len(scores) * 0.9 else "warning"
    return Finding("distinct scores", status, f"{distinct} distinct scores of {len(scores)}")


def _order(scores: Any) -> Finding:
    lists = scores.reshape(len(_EASY), 4)
    first = int((lists.argmax(axis=1) == 0).sum())
    status: Status = "ok" if first >= 4 else "warning"
    hint = (
        ""
        if first >= 4
        else ": by chance it would be one or two. Untrained, a wrong family, or labels the wrong way round?"
    )
    return Finding("order", status, f"the answer is first for {first} of {len(_EASY)} easy queries{hint}")


def _batching(reranker: Reranker, pairs: list[Pair], first: Any) -> Iterator[Finding]:
    import numpy as np

    from ..models.twice import TOLERANCE
    from .score import margins_of

    allowed = TOLERANCE.get(str(dict(reranker.spec.settings).get("dtype", "float32")), 1e-4)
    single = np.concatenate([margins_of(reranker, [pair]) for pair in pairs])
    moved = float(abs(first - single).max())
    yield Finding(
        "batch invariance",
        "ok" if moved <= allowed else "failed",
        f"alone or in a batch, scores move by at most {moved:.2g} (allowed {allowed:g})",
    )
    backwards = margins_of(reranker, pairs[::-1])[::-1]
    moved = float(abs(first - backwards).max())
    yield Finding(
        "order invariance",
        "ok" if moved <= allowed else "failed",
        f"in another order, scores move by at most {moved:.2g}",
    )
