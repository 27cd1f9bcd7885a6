"""Two machines, each in a network of its own: what one lacks arrives, and the other may join, be lost and come back.

The second sees nothing of the folder that the first one works in, has its own cache, and stands elsewhere.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from conftest import DATA, ROOT, write_collection

from harness.data.trec import read_run
from harness.results.result import load_result

pytest.importorskip("ray", reason="needs Ray: pip install 'rerank-harness[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.getuid() != 0 or shutil.which("ip") is None, reason="needs root and iproute2, for networks of its own"
    ),
]
NETWORK = "10.213.7"
PATIENCE = 120.0
RAY = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats", "--num-cpus=1"]


class Machines:
    """`here` is the head of the cluster and the driver's, `there` the other; `home` is what `there` cannot see."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir()
        # Sockets have short paths.
        self.sockets = Path("/tmp") / f"rh{os.getpid()}"
        self.spaces = {"here": f"rh{os.getpid()}a", "there": f"rh{os.getpid()}b"}
        self.started: list[subprocess.Popen[bytes]] = []

    def connect(self) -> None:
        for space in self.spaces.values():
            _ip("netns", "add", space)
            _ip("-n", space, "link", "set", "lo", "up")
        here, there = self.spaces.values()
        _ip("link", "add", here, "netns", here, "type", "veth", "peer", "name", there, "netns", there)
        for number, space in enumerate((here, there), 1):
            _ip("-n", space, "addr", "add", f"{NETWORK}.{number}/24", "dev", space)
            _ip("-n", space, "link", "set", space, "up")

    def wire(self, state: str) -> None:
        """The network of `there`, `up` or `down`."""
        _ip("-n", self.spaces["there"], "link", "set", self.spaces["there"], state)

    def join(self, name: str) -> None:
        """The machine becomes a node of the cluster."""
        head = name == "here"
        how = ["--head", "--port=6379", "--include-dashboard=false", f"--temp-dir={self.sockets}"]
        words = [*RAY, f"--node-ip-address={NETWORK}.{1 if head else 2}", "--object-store-memory=100000000"]
        words += how if head else [f"--address={NETWORK}.1:6379"]
        if not head:
            words = [
                "unshare",
                "-m",
                "sh",
                "-c",
                'mount -t tmpfs none "$0" && cd / && exec "$@"',
                str(self.home),
                *words,
            ]
        self.run(name, words, cache=self.folder / f"cache-{name}")

    def run(self, name: str, words: list[str], cache: Path) -> subprocess.Popen[bytes]:
        # A proxy leads out of this network, which nothing here leaves.
        outside = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        environment = {
            **outside, "RERANK_HARNESS_CACHE": str(cache), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
            "RAY_AUTH_MODE": "disabled", "RAY_health_check_period_ms": "500", "RAY_health_check_failure_threshold": "4", "RAY_health_check_timeout_ms": "1000",
        }  # fmt: skip
        log = (self.folder / f"{name}-{len(self.started)}.log").open("wb")
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.spaces[name], *words], env=environment, cwd=self.home, stdout=log, stderr=log
        )
        self.started.append(process)
        return process

    def kill(self, name: str) -> None:
        """Every process of the machine, at once."""
        listed = subprocess.run(["ip", "netns", "pids", self.spaces[name]], capture_output=True, text=True, check=False)
        for process in listed.stdout.split():
            with suppress(ProcessLookupError):
                os.kill(int(process), 9)

    def close(self) -> None:
        for name, space in self.spaces.items():
            self.kill(name)
            subprocess.run(["ip", "netns", "delete", space], check=False, capture_output=True)
        for process in self.started:
            process.wait(timeout=60)
        shutil.rmtree(self.sockets, ignore_errors=True)

    def network_of(self, name: str) -> str:
        """What a process of the machine reads in /proc/self/ns/net."""
        words = ["ip", "netns", "exec", self.spaces[name], "readlink", "/proc/self/ns/net"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    made = Machines(tmp_path)
    try:
        made.connect()
        yield made
    finally:
        made.close()


def wait_for(ready: Callable[[], object], process: subprocess.Popen[bytes], told: Callable[[], str]) -> None:
    until = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None, told()
        assert time.monotonic() < until, told()
        time.sleep(0.1)


class Plugin:
    """Scores with the help of a file beside it, says who scored what, and waits at a number of pairs till it is told to go on."""

    def __init__(self, machines: Machines) -> None:
        self.log, self.limit = machines.folder / "log.tsv", machines.folder / "limit"
        file = machines.home / "slow.py"
        (machines.home / "rh_overlap.py").write_text(
            "def overlap(query, text):\n    return len(set(query.split()) & set(text.split())) + len(text) / 1000\n"
        )
        file.write_text(f"""
import os, pathlib, time
import rh_overlap
log, limit = pathlib.Path({str(self.log)!r}), pathlib.Path({str(self.limit)!r})

class Slow:
    fingerprint = "slow 1"

    def predict(self, pairs):
        me = f"{{os.readlink('/proc/self/ns/net')}}\\t{{os.getpid()}}"
        with log.open("a") as stream:
            stream.write(f"{{me}}\\tbegins\\n")
        while len([line for line in log.read_text().splitlines() if not line.endswith("begins")]) >= int(limit.read_text()):
            time.sleep(0.05)
        with log.open("a") as stream:
            stream.write("".join(f"{{me}}\\t{{query}} {{text}}\\n" for query, text in pairs))
        return [rh_overlap.overlap(query, text) for query, text in pairs]

reranker = Slow()
""")
        self.name = f"{file}:reranker"
        self.go_on_to(10**9)
        self.log.write_text("")

    def go_on_to(self, pairs: int) -> None:
        half = self.limit.with_suffix(".half")
        half.write_text(str(pairs))
        half.rename(self.limit)

    def lines(self) -> list[list[str]]:
        """network, process, pair, or `begins`."""
        return [line.split("\t", 2) for line in self.log.read_text().rpartition("\n")[0].splitlines()]

    def scored(self) -> int:
        return sum(pair != "begins" for _, _, pair in self.lines())

    def at_work(self, network: str) -> set[str]:
        """The processes of a machine that have begun a batch."""
        return {process for where, process, _ in self.lines() if where == network}


def command(machines: Machines, home: str, *words: object) -> list[str]:
    return [
        sys.executable, str(ROOT / "run_eval.py"), "run", str(machines.home / "birds"), "--batch-tokens", "64",
        "--results", str(machines.home / home / "results"), "--save-runs", str(machines.home / home / "runs"),
        *map(str, words),
    ]  # fmt: skip


def answer_of(home: Path) -> tuple[list[object], list[object]]:
    results = [load_result(path, with_values=True) for path in sorted((home / "results").rglob("*@*.json"))]
    runs = [read_run(path) for path in sorted((home / "runs").rglob("*.trec"))]
    assert results
    return [(result.measures, result.values) for result in results], runs


def said(machines: Machines, process: subprocess.Popen[bytes]) -> str:
    number = machines.started.index(process)
    return "".join(path.read_text() for path in machines.folder.glob(f"*-{number}.log"))


def started(machines: Machines, home: str, *words: object) -> subprocess.Popen[bytes]:
    """A run on the first machine."""
    return machines.run("here", command(machines, home, *words), machines.home / home / "cache")


def done(machines: Machines, process: subprocess.Popen[bytes]) -> str:
    """What a run said that went to its end."""
    process.wait(timeout=PATIENCE)
    assert process.returncode == 0, said(machines, process)
    return said(machines, process)


def test_a_plugin_its_helper_and_local_weights_arrive_on_a_machine_that_has_none_of_them(machines: Machines):
    write_collection(machines.home / "birds", documents=60, queries=12)
    shutil.copytree(DATA / "models" / "cross-encoder", machines.home / "model")
    plugin = Plugin(machines)
    words = ["--reranker", plugin.name, "--reranker", machines.home / "model"]
    done(machines, started(machines, "alone", *words))
    plugin.log.write_text("")
    for name in ("here", "there"):
        machines.join(name)
    wait_for(lambda: _nodes(machines) == 2, machines.started[-1], lambda: said(machines, machines.started[-1]))
    plugin.go_on_to(0)
    run = started(machines, "together", *words, "--ray-address", f"{NETWORK}.1:6379", "--workers", 2)
    for name in ("here", "there"):
        wait_for(partial(plugin.at_work, machines.network_of(name)), run, lambda: said(machines, run))
    plugin.go_on_to(10**9)
    told = done(machines, run)
    assert told.count("MB are sent there") == 1, told
    (sent,) = (machines.folder / "cache-there" / "sent").iterdir()
    for file in (machines.home / "model").iterdir():
        assert not (sent / file.name).exists() or (sent / file.name).read_bytes() == file.read_bytes()
    assert (sent / "model.safetensors").exists()
    assert not (machines.folder / "cache-here" / "sent").exists(), "what is there is not sent"
    assert answer_of(machines.home / "together") == answer_of(machines.home / "alone")
    shutil.rmtree(machines.home / "together")
    words = [*words[2:], "--ray-address", f"{NETWORK}.1:6379", "--workers", 2]
    assert "are sent" not in done(machines, started(machines, "together", *words)), "it is kept there"


@pytest.mark.parametrize("how", ["its processes are killed", "its network is cut"])
def test_a_machine_that_joins_is_lost_and_comes_back_leaves_the_result_as_it_is(machines: Machines, how: str):
    write_collection(machines.home / "birds", documents=60, queries=12)
    plugin = Plugin(machines)
    done(machines, started(machines, "alone", "--reranker", plugin.name))
    pairs = plugin.scored()
    plugin.log.write_text("")
    plugin.go_on_to(pairs // 4)

    machines.join("here")
    wait_for(lambda: _nodes(machines) == 1, machines.started[-1], lambda: said(machines, machines.started[-1]))
    there = machines.network_of("there")
    words = ["--reranker", plugin.name, "--ray-address", f"{NETWORK}.1:6379"]
    run = started(machines, "cut", *words)

    def until(ready: Callable[[], object]) -> None:
        wait_for(ready, run, lambda: said(machines, run))

    until(lambda: plugin.scored() >= pairs // 4)
    assert not plugin.at_work(there)
    machines.join("there")
    until(lambda: plugin.at_work(there))
    before = plugin.at_work(there)
    plugin.go_on_to(pairs // 2)
    until(lambda: plugin.scored() >= pairs // 2)
    if how == "its network is cut":
        machines.wire("down")
    else:
        machines.kill("there")
    until(lambda: "a worker was lost" in said(machines, run))
    plugin.go_on_to(3 * pairs // 4)
    until(lambda: plugin.scored() >= 3 * pairs // 4)
    if how == "its network is cut":
        machines.kill("there")
        machines.wire("up")
    machines.join("there")
    until(lambda: plugin.at_work(there) - before)
    plugin.go_on_to(10**9)
    assert done(machines, run).count("a worker was lost") == 1
    assert answer_of(machines.home / "cut") == answer_of(machines.home / "alone")
    pairs_scored = [line for line in plugin.lines() if line[2] != "begins"]
    # At most two batches of the lost worker are computed again.
    assert pairs <= len(pairs_scored) <= pairs + 32


def _nodes(machines: Machines) -> int:
    """How many nodes the cluster has; 0 before there is one."""
    script = (
        f"import ray; ray.init(address='{NETWORK}.1:6379', log_to_driver=False, logging_level='ERROR'); "
        "print(sum(node['Alive'] for node in ray.nodes()))"
    )
    words = ["ip", "netns", "exec", machines.spaces["here"], sys.executable, "-c", script]
    found = subprocess.run(words, capture_output=True, text=True, check=False, timeout=PATIENCE)
    return int(found.stdout or 0) if found.returncode == 0 else 0
