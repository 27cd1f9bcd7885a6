"""The rankings behind results → TREC run files, for trec_eval, pytrec_eval, ir_measures and ranx.

Rankings lie in the cache, since they can be made again: a result whose rankings are gone is told,
with the way to get them back. Scores are written so that the same float32 comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..data.trec import write_run
from ..errors import HarnessError
from ..results.rankings import read_rankings
from ..verdicts.pairing import Entry
from .ir_metadata import header_of_run

__all__ = ["ExportedRuns", "export_runs"]


@dataclass
class ExportedRuns:
    """What was written, and what was left out and why, one line each."""

    paths: list[Path] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def export_runs(entries: Sequence[Entry], output: Path, cache: Path, *, annotated: bool = False) -> ExportedRuns:
    """Write the first stage's and the reranked ranking of each result below `output`, where `--save-runs` puts them.

    With `annotated` each begins with the header of ir_metadata.

    Raises HarnessError, exit code 3, where no ranking is in the cache, and for a file that cannot be
    written.
    """
    done, gone = ExportedRuns(), False
    for entry in entries:
        identity = entry.result.identity
        rankings = read_rankings(entry.result, cache)
        if not rankings:
            gone = True
            done.left_out.append(f"{entry.path}: its rankings are not in {cache}")
            continue
        first = replace(identity, reranker=None, reranker_revision=None, reranker_fingerprint=None)
        for stage, whose, tag in (
            ("first_stage", first, identity.retriever),
            ("reranked", identity, identity.reranker),
        ):
            path = whose.path(output).with_suffix(".trec")
            if stage not in rankings or path in done.paths:
                continue
            try:
                header = header_of_run(entry.result, stage) if annotated else ()
                write_run(path, rankings[stage], tag or "", header)
                done.paths.append(path)
            except HarnessError as error:
                done.left_out.append(f"{entry.path}: {error}")
    if not done.paths:
        again = f": run the same command again with --save-runs {output}; no pair is scored twice" if gone else ""
        raise HarnessError(f"{done.left_out[0]}{again}", exit_code=3 if gone else 2)
    return done
