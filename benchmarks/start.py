"""How soon a run shows a sign of life, and when its first batch is scored: `python -m benchmarks.start TASK RERANKER`.

The run has a terminal of its own. The first sign is the first character on it, the first batch the
moment at which its scores are stored. The first run of the two fills the cache of data, models and
candidates for one query, the second is measured. Scores that are stored already are not computed: where
all of them are, there is no first batch, and RERANK_HARNESS_CACHE names an empty folder as the way out.
"""

from __future__ import annotations

import argparse
import os
import pty
import subprocess
import sys
import tempfile
import time

_MARK = "first batch stored"
_CHILD = f"""
import sys
import harness.rerankers.rerank as rerank

plain = rerank.run_plan

def told(batches, missing, compute, commit):
    def commit_and_end(rows, values):
        commit(rows, values)
        sys.stderr.write("{_MARK}\\n")
        sys.stderr.flush()
        sys.exit(0)
    plain(batches, missing, compute, commit_and_end)

rerank.run_plan = told
from harness.commands.cli import main
main(sys.argv[1:])
"""


def main() -> int:
    """Print both times; 1 where one of them is longer than it should be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.start", description=str(__doc__).splitlines()[0])
    parser.add_argument("task")
    parser.add_argument("reranker")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as results:
        words = ["run", given.task, "--reranker", given.reranker, "--results", results]
        _run([*words, "--limit", "1"])
        sign, batch = _run(words)
    print(f"first sign of life after {sign:.2f} s (aim: 1), first batch scored after {batch:.2f} s (aim: 5)")
    return int(sign > 1 or batch > 5)


def _run(words: list[str]) -> tuple[float, float]:
    """Seconds until the first character and until the first batch."""
    terminal, end = pty.openpty()
    started = time.perf_counter()
    child = subprocess.Popen([sys.executable, "-c", _CHILD, *words], stderr=end, stdout=end, stdin=subprocess.DEVNULL)
    os.close(end)
    seen, sign, batch = b"", 0.0, 0.0
    try:
        while not batch:
            some = os.read(terminal, 4096)
            sign = sign or time.perf_counter() - started
            seen += some
            if _MARK.encode() in seen:
                batch = time.perf_counter() - started
    except OSError:
        # So a terminal says that its other end is closed.
        sys.exit(f"no batch was scored: {seen.decode(errors='replace').strip()[-500:]}")
    child.wait()
    os.close(terminal)
    return sign, batch


if __name__ == "__main__":
    sys.exit(main())
