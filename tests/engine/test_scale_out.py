"""Workers on a real local Ray cluster: the result of one process, whoever computes and whoever is lost on the way."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import DATA, ROOT, Cli, write_collection

from harness.data.trec import read_run
from harness.engine import parcels
from harness.engine.actor import Opening, refuse_other_versions, versions
from harness.engine.options import Options
from harness.engine.plan import plan_batches
from harness.engine.scale_out import Workers
from harness.engine.store import ScoreStore
from harness.errors import HarnessError
from harness.files.units import units
from harness.rerankers.origin import Origin, PluginFile
from harness.rerankers.resolve import open_origin, open_rerankers
from harness.rerankers.worker import Scorer
from harness.results.result import load_result

pytest.importorskip("ray", reason="needs Ray: pip install 'rerank-harness[ray]'")
MODELS = DATA / "models"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A cluster of two cores, this process joined to it; gives its address."""
    import ray
    import torch

    cache = tmp_path_factory.mktemp("workers-cache")
    threads = torch.get_num_threads()
    # The sums of a matrix product depend on the number of threads; a worker has one.
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RERANK_HARNESS_CACHE", str(cache))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        joined = Workers(2, "cpu")
        address = joined._ray().get_runtime_context().gcs_address
    yield address
    joined.close()
    torch.set_num_threads(threads)
    # Workers never open a store: theirs would be in their cache folder.
    assert not [path for path in cache.rglob("*") if "scores" in path.name or "embeddings" in path.name]
    assert not ray.is_initialized()


def answer_of(home: Path) -> tuple[list[object], list[object]]:
    results = [load_result(path, with_values=True) for path in sorted((home / "results").rglob("*@*.json"))]
    runs = [read_run(path) for path in sorted((home / "runs").rglob("*.trec"))]
    assert results
    return [(result.measures, result.values) for result in results], runs


def run(cli: Cli, monkeypatch: pytest.MonkeyPatch, home: Path, *words: object):
    """A run whose cache, results and rankings are in `home`."""
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(home / "cache"))
    return cli("run", *words, "--results", home / "results", "--save-runs", home / "runs", "--format", "json")


PLUGINS = {
    "words.py": """
def score(query, documents):
    return [len(set(query.split()) & set(text.split())) + len(documents) * place / 1000 for place, text in enumerate(documents)]
""",
    "marked.py": """
def score(query, documents):
    return [len(set(query.split()) & set(text.split())) + len(text) / 1000 for text in documents]
score.context, score.revision = "pair", "1"
""",
}


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    for name, source in PLUGINS.items():
        (tmp_path / name).write_text(source)
    return tmp_path


KINDS = {
    "a model": lambda folder: ["--reranker", MODELS / "cross-encoder", "--batch-tokens", 128],
    "lists, with no word of what they are": lambda folder: ["--reranker", folder / "words.py:score"],
    "one query at a time, scores of pairs": lambda folder: ["--reranker", folder / "marked.py:score"],
}  # fmt: skip
LONG = {
    "half precision": lambda folder: ["--reranker", MODELS / "cross-encoder", "--batch-tokens", 128, "--dtype", "bfloat16"],
    "layers in one pass": lambda folder: ["--reranker", MODELS / "bge-reranker-layerwise", "--set", "cutoff_layers=2,4", "--batch-tokens", 256],
    "a dense first stage and a bi-encoder": lambda folder: ["--reranker", MODELS / "e5-mistral", "--family", "e5-mistral", "--retriever", MODELS / "e5-mistral", "--retriever-set", "recipe=e5-mistral", "--batch-tokens", 256],
}  # fmt: skip


@pytest.mark.parametrize("kind", [*KINDS, *(pytest.param(kind, marks=pytest.mark.slow) for kind in LONG)])
def test_the_result_is_that_of_one_process_to_the_bit(
    cluster: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, collection_folder: Path, plugins: Path, kind: str
):
    words = [collection_folder, *(KINDS | LONG)[kind](plugins)]
    homes = plugins / "alone", plugins / "together"
    for home, more in zip(homes, ([], ["--workers", 2]), strict=True):
        done = run(cli, monkeypatch, home, *words, *more)
        assert done.code == 0, done.err
    assert answer_of(homes[0]) == answer_of(homes[1])
    counts = []
    for home in homes:
        with ScoreStore(home / "cache" / "scores.sqlite") as store:
            counts.append(store.count())
    assert counts[0] == counts[1]


class Recorded:
    """A plug-in that writes down the process and every pair it was asked for; `before` is run at each call."""

    def __init__(self, folder: Path, before: str = "") -> None:
        self.log, file = folder / "calls.tsv", folder / "recorded.py"
        file.write_text(
            f"""
import os, pathlib, signal, time
log, folder = pathlib.Path({str(self.log)!r}), pathlib.Path({str(folder)!r})

class Recorded:
    fingerprint = "recorded 1"

    def predict(self, pairs):
{before}
        with log.open("a") as stream:
            stream.write("".join(f"{{os.getpid()}}\\t{{query}}\\t{{text}}\\n" for query, text in pairs))
        return [len(set(query.split()) & set(text.split())) + len(text) / 1000 for query, text in pairs]

reranker = Recorded()
"""
        )
        self.name = f"{file}:reranker"

    def times(self) -> Counter[str]:
        """How often each pair was scored; a line that is still being written is not one yet."""
        lines = self.log.read_text().rpartition("\n")[0].splitlines() if self.log.exists() else []
        return Counter(line.split("\t", 1)[1] for line in lines)

    def processes(self) -> set[int]:
        return {int(line.split("\t")[0]) for line in self.log.read_text().splitlines()}


DIE_ONCE = """
        if log.exists() and len(log.read_text().splitlines()) > 60 and not (folder / "died").exists():
            (folder / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_worker_killed_in_the_middle_costs_its_batches_and_nothing_else(
    cluster: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    folder = write_collection(tmp_path / "birds", documents=60, queries=12)
    recorded = Recorded(tmp_path, DIE_ONCE)
    done = run(
        cli, monkeypatch, tmp_path / "cut", folder, "--reranker", recorded.name, "--workers", 2, "--batch-tokens", 64
    )
    assert done.code == 0, done.err
    assert (tmp_path / "died").exists()
    assert done.err.count("a worker was lost") == 1
    times = recorded.times()
    run(cli, monkeypatch, tmp_path / "whole", folder, "--reranker", recorded.name, "--batch-tokens", 64)
    assert set(recorded.times()) == set(times), "nothing lost"
    # The killed worker had at most two batches: the one in which it died was not written down.
    assert sum(times.values()) - len(times) <= 32
    assert answer_of(tmp_path / "cut") == answer_of(tmp_path / "whole")
    (path,) = (tmp_path / "cut" / "results").rglob("*@*.json")
    performance = load_result(path).performance
    assert performance["pairs_scored"] == len(times), "nothing counted twice"
    assert performance["workers"] == 2
    assert len(json.loads(done.out)["results"]) == 1, "what Ray says of it stays off stdout"


def test_a_batch_that_ends_every_worker_is_given_up_in_one_line_and_the_rest_is_kept(
    cluster: str, cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, collection_folder: Path
):
    deadly = """
        if any(text.endswith("note 5") for _, text in pairs) and not (folder / "healed").exists():
            os.kill(os.getpid(), signal.SIGKILL)
"""
    recorded = Recorded(tmp_path, deadly)
    words = [collection_folder, "--reranker", recorded.name, "--workers", 2, "--batch-tokens", 8]
    done = run(cli, monkeypatch, tmp_path / "home", *words)
    assert done.code == 2
    assert "3 workers were lost over one batch" in done.err
    assert "Traceback" not in done.err
    before = recorded.times()
    (tmp_path / "healed").touch()
    assert run(cli, monkeypatch, tmp_path / "home", *words).code == 0
    twice = [pair for pair, count in recorded.times().items() if count > 1]
    assert len(before) > 0
    assert len(twice) <= 16, "only what was under way is scored again"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("        return [float('nan')] * len(pairs)", "scored nan for query q"),
        ("        raise RuntimeError('the model is\\n upset')", "raised RuntimeError: the model is upset"),
        ("        return [1.0]", "one score a document is needed"),
    ],
)
def test_what_goes_wrong_on_a_worker_is_the_same_line_as_here(
    cluster: str,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    collection_folder: Path,
    before: str,
    said: str,
):
    recorded = Recorded(tmp_path, before)
    errors = [
        run(cli, monkeypatch, tmp_path / name, collection_folder, "--reranker", recorded.name, *more)
        for name, more in (("alone", []), ("together", ["--workers", 2]))
    ]
    assert [error.code for error in errors] == [2, 2]
    assert said in errors[1].err
    assert errors[1].err == errors[0].err


def test_memory_that_runs_out_on_a_worker_halves_its_batches_and_goes_on(cluster: str):
    class Small(Opening):
        """Fits three rows; locally defined, so that it travels whole."""

        def open(self):
            from harness.engine.plan import compute_in_parts

            parts = 1

            def compute(rows):
                if len(rows) > 3:
                    raise RuntimeError("CUDA out of memory. Tried to allocate 20.00 GiB")
                return rows * 10.0

            def answer(rows):
                nonlocal parts
                values, parts = compute_in_parts(rows, parts, compute)
                return values

            return lambda request: answer

    found: dict[int, float] = {}
    workers = Workers(2, "cpu")
    workers.run_plan(
        plan_batches([1] * 40, 8), np.ones(40, bool), Small(), None, lambda rows: rows,
        lambda answers: [found.update(zip(rows.tolist(), values.tolist(), strict=True)) for rows, values in answers],
    )  # fmt: skip
    workers.close()
    assert found == {row: row * 10.0 for row in range(40)}


def test_workers_that_end_before_they_are_ready_are_given_up_in_one_line(cluster: str):
    class Deadly(Opening):
        def open(self):
            os.kill(os.getpid(), signal.SIGKILL)

    lines: list[str] = []
    workers = Workers(1, "cpu", report=lines.append)
    with pytest.raises(HarnessError, match="3 workers were lost before they were ready"):
        workers.run_plan(plan_batches([1], 8), np.ones(1, bool), Deadly(), None, lambda rows: rows, lines.extend)
    workers.close()
    assert len(lines) == 2


def test_more_workers_than_the_cluster_has_room_for_is_one_line(
    cluster: str, cli: Cli, collection_folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    done = run(cli, monkeypatch, tmp_path, collection_folder, "--reranker", MODELS / "cross-encoder", "--workers", 9)
    assert done.code == 2
    assert "9 workers need a CPU each, and the Ray cluster has 2: take --workers 2 or fewer" in done.err


def start(folder: Path, recorded: Recorded, home: Path, *words: str) -> subprocess.Popen[bytes]:
    command = [
        sys.executable, ROOT / "run_eval.py", "run", folder, "--reranker", recorded.name, "--batch-tokens", "64",
        "--results", home / "results", "--save-runs", home / "runs", *words,
    ]  # fmt: skip
    environment = {**os.environ, "RERANK_HARNESS_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    while not ready():
        assert process.poll() is None, process.communicate()[1].decode()


SLOWLY = "        time.sleep(0.02)"


def test_a_driver_killed_and_started_again_ends_in_the_same_result(cluster: str, tmp_path: Path):
    folder = write_collection(tmp_path / "birds", documents=60, queries=12)
    recorded = Recorded(tmp_path, SLOWLY)
    process = start(folder, recorded, tmp_path / "cut", "--ray-address", cluster)
    wait_for(lambda: sum(recorded.times().values()) > 100, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    process = start(folder, recorded, tmp_path / "cut", "--ray-address", cluster)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    times = recorded.times()
    assert b"written to" in out
    # Two batches for each of two workers were under way.
    assert sum(times.values()) - len(times) <= 4 * 16
    process = start(folder, recorded, tmp_path / "whole")
    assert process.communicate(timeout=300)[0]
    assert set(recorded.times()) == set(times)
    assert answer_of(tmp_path / "cut") == answer_of(tmp_path / "whole")


def test_control_c_ends_with_130_and_one_line(cluster: str, tmp_path: Path):
    folder = write_collection(tmp_path / "birds", documents=60, queries=12)
    recorded = Recorded(tmp_path, SLOWLY)
    process = start(folder, recorded, tmp_path / "cut", "--ray-address", cluster)
    wait_for(lambda: sum(recorded.times().values()) > 30, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130, err.decode()
    assert err.decode().splitlines()[-1] == "interrupted; what was scored is kept, and the same command resumes"
    assert b"Traceback" not in err


@pytest.mark.slow
def test_a_killed_driver_takes_the_cluster_that_it_started_with_it(tmp_path: Path):
    folder = write_collection(tmp_path / "birds", documents=60, queries=12)
    recorded = Recorded(tmp_path, SLOWLY)
    process = start(folder, recorded, tmp_path / "cut", "--workers", "2")
    wait_for(lambda: recorded.log.exists() and len(recorded.processes()) == 2, process)
    workers = recorded.processes()
    process.kill()
    process.communicate()
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        os.sched_yield()
    process = start(folder, recorded, tmp_path / "cut", "--workers", "2")
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err.decode()
    process = start(folder, recorded, tmp_path / "whole")
    process.communicate(timeout=300)
    assert answer_of(tmp_path / "cut") == answer_of(tmp_path / "whole")


# Without a cluster


def test_without_ray_one_line_says_what_to_install(cli: Cli, collection_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    done = cli("run", collection_folder, "--reranker", MODELS / "cross-encoder", "--workers", 2)
    assert done.code == 2
    assert done.err == "error: --workers needs the package ray: pip install 'rerank-harness[ray]'\n"


def test_a_device_that_cannot_be_shared_out_is_one_line():
    with pytest.raises(HarnessError, match="take --device cuda or cpu, not cuda:1"):
        Workers(2, "cuda:1")


def test_another_version_on_a_worker_is_refused_by_name():
    refuse_other_versions(versions())
    with pytest.raises(HarnessError, match=r"worker on far has torch 1\.0, and this process .*install the same"):
        refuse_other_versions({**versions(), "node": "far", "torch": "1.0"})


@pytest.mark.parametrize("there", ["no folder", "other files", "the start of a model"])
def test_a_model_that_a_machine_lacks_arrives_and_is_the_same_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str
):
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(parcels, "_PIECE", 4096)
    folder = shutil.copytree(MODELS / "cross-encoder", tmp_path / "model")
    (here,) = open_rerankers(str(folder), Options(), tmp_path / "cache")
    assert here.origin is not None
    opening = Scorer(here.origin, here.spec.fingerprint)
    assert opening.lacking() == [], "where the folder is, nothing is sent"
    pieces = [piece for parcel in opening.parcels() for piece in parcel.pieces()]
    assert len({piece.name for piece in pieces}) < len(pieces), "large files come in several pieces"

    if there == "other files":
        (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    elif there == "no folder":
        shutil.rmtree(folder)
    else:
        (folder / "config.json").unlink()
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "its cache"))
    (lacked,) = opening.lacking()
    with pytest.raises(HarnessError, match=r"has not the files that .*model holds here"):
        opening.open()
    arriving = parcels.Arriving()
    for piece in pieces[:-1]:
        arriving.take(piece)
    assert opening.lacking() == [lacked], "half of it is nothing"
    arriving.take(pieces[-1])
    arriving.keep(lacked.key)
    assert opening.lacking() == []
    assert opening.open() is not None
    (unit,) = [unit for unit in units(tmp_path / "its cache") if unit.part == "sent"]
    assert unit.size() == sum(len(piece.content) for piece in pieces)


def test_a_plugin_file_is_sent_along_and_is_the_same_there(plugins: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(plugins)
    (here,) = open_rerankers("words.py:score", Options(), plugins / "cache")
    assert here.origin is not None
    sent = here.origin.source
    assert isinstance(sent, PluginFile)
    assert sent.here() == f"{plugins / 'words.py'}:score"
    (plugins / "words.py").write_text("def score(query, documents): return [0.0] * len(documents)")
    there = Origin(here.origin.family, sent, Options())
    assert open_origin(there)[0].spec.fingerprint == here.spec.fingerprint
    answers = Scorer(there, here.spec.fingerprint).open()
    assert answers is not None
    with pytest.raises(HarnessError, match=r"opens another words\.py:score than this process"):
        Scorer(there, "0" * 32).open()


def test_what_a_plugin_imports_from_its_own_folder_is_sent_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    folder = tmp_path / "mine"
    (folder / "rh_parts").mkdir(parents=True)
    (folder / "scorer.py").write_text("import rh_beside, rh_parts.inner\nscore = rh_beside.score\n")
    (folder / "rh_beside.py").write_text("def score(query, documents): return [1.0] * len(documents)\n")
    (folder / "rh_parts" / "inner.py").write_text("")
    (folder / "unused.py").write_text("")
    (here,) = open_rerankers(f"{folder / 'scorer.py'}:score", Options(), tmp_path / "cache")
    assert here.origin is not None
    sent = here.origin.source
    assert isinstance(sent, PluginFile)
    assert [name for name, _ in sent.beside] == ["rh_beside.py", "rh_parts/inner.py"]
    shutil.rmtree(folder)
    for name in ("rh_beside", "rh_parts", "rh_parts.inner"):
        monkeypatch.delitem(sys.modules, name)
    assert Scorer(here.origin, here.spec.fingerprint).open() is not None
