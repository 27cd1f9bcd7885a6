"""TREC runs, written and read."""

from __future__ import annotations

import gzip
import io
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..types import LARGEST_FLOAT32, Run, ranked
from .containers import lines_of
from .rows import decoded

__all__ = ["read_run", "write_run"]

_WHITE = re.compile(r"[ \t\n\r\f\v]")
# float() takes 1_000 and Ⅷ-like digits too; a run file has neither.
_NUMBER = re.compile(rb"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def read_run(path: Path) -> Run:
    """A TREC run: query_id, Q0, doc_id, rank, score, tag, between any white space.

    The rank column is not read: scores rank. Lines that begin with # are comments, as in
    trec_eval. Raises HarnessError for another number of columns, a score that is not a finite
    number, a document that stands twice for one query, and a file without lines.
    """
    run: Run = {}
    for place, line in lines_of(path):
        if line.startswith(b"#"):
            continue
        columns = line.split()
        if len(columns) != 6:
            raise HarnessError(
                f"{place} has {len(columns)} columns: a TREC run has six, query_id Q0 doc_id rank score tag"
            )
        score = float(columns[4]) if _NUMBER.fullmatch(columns[4]) else math.nan
        if not math.isfinite(score):
            raise HarnessError(f'{place}: "{decoded(columns[4], place)}" is no finite number, as a score must be')
        if not -LARGEST_FLOAT32 <= score <= LARGEST_FLOAT32:
            raise HarnessError(
                f'{place}: "{decoded(columns[4], place)}" is beyond single precision (at most 3.4e38), in which scores '
                "are ranked, as in trec_eval"
            )
        query_id, doc_id = decoded(columns[0], place), decoded(columns[2], place)
        scores = run.setdefault(query_id, {})
        if doc_id in scores:
            raise HarnessError(f'{place}: document "{doc_id}" stands twice for query "{query_id}"')
        scores[doc_id] = score
    if not run:
        raise HarnessError(f"{path} is empty: a run has at least one line")
    return run


def write_run(path: Path, run: Run, tag: str, comments: Sequence[str] = ()) -> None:
    """Writes a TREC run, whole or not at all; packed where the name ends in .gz; `comments` stand before it, each after a #.

    Queries in the run's order, documents by `types.ranked`, ranks from 1, scores as the shortest
    nine digits that give the same float32 back. White space in `tag` becomes _. Raises HarnessError
    for a score that is not finite in float32, and for an id that is empty or has white space, which
    the format cannot hold.
    """
    lines = [f"# {comment}\n" for comment in comments]
    text = "".join([*lines, *_run_lines(run, "_".join(tag.split()) or "run")]).encode("utf-8")
    if path.name.lower().endswith(".gz"):
        packed = io.BytesIO()
        # No name and no time inside: the same run gives the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream:
            stream.write(text)
        text = packed.getvalue()
    try:
        write_atomically(path, text)
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror or error}") from error


def _run_lines(run: Run, tag: str) -> Iterator[str]:
    import numpy as np

    for query_id, scores in run.items():
        for name in (query_id, *scores):
            if not name or _WHITE.search(name):
                raise HarnessError(f'id "{name}" is empty or has white space: a TREC run cannot hold it')
        with np.errstate(over="ignore"):
            single = {doc_id: float(np.float32(score)) for doc_id, score in scores.items()}
        for doc_id, score in single.items():
            if not math.isfinite(score):
                raise HarnessError(f'query "{query_id}" and document "{doc_id}": score {scores[doc_id]} is not finite')
        for rank, doc_id in enumerate(ranked(single), 1):
            yield f"{query_id} Q0 {doc_id} {rank} {single[doc_id]:.9g} {tag}\n"
