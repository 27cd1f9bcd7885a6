"""The hub, through its real client in a process of its own, against small servers on this machine."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import processes
import pytest

COMMIT = "1234abcd" + 32 * "0"
SCIFACT = "d56462d0e63a25450459c4f213e49ffdb866f7f9"

# -- a small hub of our own, which can misbehave


@dataclass
class SmallHub:
    """One repository, org/data, on loopback. What it refuses and how it fails is set by each test."""

    files: dict[str, bytes] = field(default_factory=dict)
    revisions: tuple[str, ...] = ("main", "v1.0", COMMIT[:8], COMMIT)
    refusal: tuple[int, str, str] | None = None
    """Status, X-Error-Code and body of every answer, instead of the repository."""
    token: str | None = None
    failures: int = 0
    """So many downloads end in 503 first."""
    cuts: int = 0
    """After these, so many are cut off in the middle."""
    requests: Counter[str] = field(default_factory=Counter)
    url: str = ""

    def answer(self, path: str, authorization: str) -> tuple[int, dict[str, str], bytes]:
        if self.refusal:
            status, code, body = self.refusal
            return status, {"X-Error-Code": code} if code else {}, body.encode()
        if self.token and authorization != f"Bearer {self.token}":
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        parts = path.partition("?")[0].strip("/").split("/")
        if parts[:4] == ["api", "datasets", "org", "data"]:
            return self.info(parts[5] if len(parts) > 5 else "main")
        if parts[:4] == ["datasets", "org", "data", "resolve"]:
            name = "/".join(parts[5:])
            if name not in self.files:
                return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
            return (
                200,
                {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(self.files[name]).hexdigest()}"'},
                self.files[name],
            )
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    def info(self, revision: str) -> tuple[int, dict[str, str], bytes]:
        if revision not in self.revisions:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        siblings = [{"rfilename": name} for name in self.files]
        return 200, {}, json.dumps({"id": "org/data", "sha": COMMIT, "siblings": siblings}).encode()


@contextmanager
def serving(hub: SmallHub) -> Iterator[SmallHub]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or the body, a second write, waits 40 ms for an acknowledgement

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            hub.requests[f"{self.command} {self.path.partition('?')[0]}"] += 1
            status, headers, body = hub.answer(self.path, self.headers.get("Authorization", ""))
            cut = False
            if self.command == "GET" and "/resolve/" in self.path and status == 200:
                if hub.failures:
                    hub.failures -= 1
                    status, headers, body = 503, {}, b"{}"
                elif hub.cuts:
                    hub.cuts -= 1
                    cut = True
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = cut

        do_HEAD = do_GET  # noqa: N815  (the server's own spelling)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hub() -> Iterator[SmallHub]:
    with serving(SmallHub({"README.md": b"# data", "a.txt": b"0123456789"})) as running:
        yield running


@dataclass
class Client:
    """Runs code in a fresh process that sees the hub at `url` and keeps everything in `home`."""

    home: Path
    url: str

    def run(self, code: str, *, anew: bool = False, **environment: str) -> str:
        """What the code printed, or the one line of the HarnessError it ended in; it must be quiet otherwise.

        `anew`: in a process that has imported nothing yet.
        """
        script = (
            "import sys\nfrom pathlib import Path\nfrom harness.data.collection import *\nfrom harness.errors import HarnessError\n"
            "from harness.files import hub\nfrom harness.files.hub import *\nfrom harness.types import *\n"
            "cache = Path(sys.argv[1])\nhub._FIRST_WAIT_S = 0.01\ntry:\n"
            + textwrap.indent(code, "    ")
            + "\nexcept HarnessError as error:\n    print(f'HarnessError: {error}')\n"
        )
        clean = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        clean |= {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.home / "hf"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            **environment,
        }
        words = ["-W", "error::UserWarning", "-c", script, self.home / "cache"]
        done = processes.run(words, clean, anew=anew)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.strip()


@pytest.fixture
def client(tmp_path: Path, hub: SmallHub) -> Client:
    return Client(tmp_path, hub.url)


RESOLVE = "print(*resolve_revision('dataset', 'org/data', None, cache))"
FILES = f"print(*repository_files('dataset', 'org/data', '{COMMIT}', cache))"
FETCH = f"print(fetch_file('dataset', 'org/data', '{COMMIT}', 'a.txt').read_text())"

# -- revisions


def test_main_a_tag_and_a_prefix_are_resolved_in_one_request_each(hub, client):
    assert client.run(RESOLVE) == f"{COMMIT} None"
    assert sum(hub.requests.values()) == 1
    assert client.run("print(resolve_revision('dataset', 'org/data', 'v1.0', cache).commit)") == COMMIT
    assert client.run("print(resolve_revision('dataset', 'org/data', '1234abcd', cache).commit)") == COMMIT
    assert sum(hub.requests.values()) == 3


def test_a_whole_commit_needs_no_network(hub, client):
    assert client.run(f"print(*resolve_revision('model', 'org/any', '{COMMIT}', cache))") == f"{COMMIT} None"
    assert not hub.requests


def test_the_last_known_commit_is_used_and_named_when_the_hub_is_gone(tmp_path):
    with serving(SmallHub()) as hub:
        client = Client(tmp_path, hub.url)
        client.run(RESOLVE)
    said = client.run(RESOLVE)
    assert said.startswith(f"{COMMIT} hub not reachable; using the last known commit 1234abcd of 20")


def test_the_last_known_commit_is_used_when_the_hub_fails_or_is_switched_off(hub, client):
    client.run(RESOLVE)
    assert "last known commit 1234abcd" in client.run(RESOLVE, HF_HUB_OFFLINE="1")
    hub.refusal = (502, "", "bad gateway")
    assert "last known commit 1234abcd" in client.run(RESOLVE)


def test_the_hub_clients_own_cache_knows_the_last_commit_too(hub, client):
    reference = client.home / "hf" / "hub" / "datasets--org--data" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text(COMMIT)
    assert "last known commit 1234abcd of 20" in client.run(RESOLVE, HF_HUB_OFFLINE="1")


def test_a_hub_that_refuses_is_believed_even_with_a_commit_remembered(hub, client):
    client.run(RESOLVE)
    hub.refusal = (404, "RepoNotFound", "{}")
    assert client.run(RESOLVE).startswith("HarnessError: there is no data set org/data at")


def test_an_unreachable_hub_with_nothing_remembered_is_one_line_with_its_endpoint(client):
    client.url = "http://127.0.0.1:9"
    said = client.run(RESOLVE)
    assert said.startswith("HarnessError: cannot get data set org/data from http://127.0.0.1:9: ")
    assert "refused" in said


def test_offline_with_nothing_remembered_is_one_line(client):
    said = client.run(RESOLVE, HF_HUB_OFFLINE="1")
    assert said == (
        "HarnessError: data set org/data at main is not on this machine, and nothing is asked of the network "
        "(--offline, HF_HUB_OFFLINE): fetch it first where there is network"
    )


def test_an_unknown_revision_is_named(client):
    said = client.run("resolve_revision('dataset', 'org/data', 'v9', cache)")
    assert (
        said
        == f'HarnessError: data set org/data has no revision "v9" at {client.url}: give a commit, a tag or a branch'
    )


@pytest.mark.parametrize(
    ("status", "code", "parts"),
    [
        (404, "RepoNotFound", ("there is no data set org/data at http://127.0.0.1", "check the name", "HF_TOKEN")),
        (401, "RepoNotFound", ("HTTP 401", "/datasets/org/data, and set HF_TOKEN", "licence on its page")),
        (401, "GatedRepo", ("HTTP 401", "/datasets/org/data, and set HF_TOKEN", "licence on its page")),
        (403, "GatedRepo", ("HTTP 403", "gated", "/datasets/org/data, and set HF_TOKEN", "licence on its page")),
        (401, "", ("HTTP 401", "set HF_TOKEN", "licence on its page")),
        (403, "", ("HTTP 403", "set HF_TOKEN", "licence on its page")),
        (404, "", ("does not answer as a Hugging Face hub does: check HF_ENDPOINT",)),
        (200, "", ("does not answer as a Hugging Face hub does: check HF_ENDPOINT",)),
    ],
)
def test_every_refusal_is_one_line_with_the_way_out(hub, client, status, code, parts):
    hub.refusal = (status, code, "<html>no hub</html>")
    said = client.run(RESOLVE)
    assert said.startswith("HarnessError: ")
    assert "\n" not in said
    for part in parts:
        assert part in said


@pytest.mark.parametrize(("status", "code"), [(403, "GatedRepo"), (401, "RepoNotFound"), (401, "")])
@pytest.mark.parametrize(("ask", "what"), [(FETCH, "a.txt of data set org/data"), (FILES, "data set org/data")])
def test_gated_files_are_one_line_with_the_way_out(hub, client, status, code, ask, what):
    hub.refusal = (status, code, "{}")
    said = client.run(ask)
    assert f"does not give {what} (HTTP {status})" in said
    assert f"Accept its licence on its page, {hub.url}/datasets/org/data, and set HF_TOKEN" in said


def test_the_token_of_the_environment_is_used(hub, client):
    hub.token = "hf_secret"
    assert "HTTP 403" in client.run(RESOLVE)
    assert client.run(RESOLVE + "\n" + FETCH, HF_TOKEN="hf_secret") == f"{COMMIT} None\n0123456789"


@pytest.mark.parametrize("name", ["a/b/c", "", "org/da ta", "../x"])
def test_a_name_that_cannot_be_one_is_refused_without_asking(hub, client, name):
    assert "cannot be a repository of the hub" in client.run(f"resolve_revision('model', {name!r}, None, cache)")
    assert not hub.requests


def test_resolving_loads_nothing_heavy(client):
    heavy = "('numpy', 'pyarrow', 'pandas', 'torch', 'transformers', 'datasets')"
    code = f"resolve_revision('dataset', 'org/data', None, cache)\nprint([name for name in {heavy} if name in sys.modules])"
    assert client.run(code, anew=True) == "[]"


# -- files


def test_the_files_of_a_commit_are_asked_for_once(hub, client):
    assert client.run(FILES) == "README.md a.txt"
    assert client.run(FILES, HF_HUB_OFFLINE="1") == "README.md a.txt"
    assert sum(hub.requests.values()) == 1


def test_resolving_learns_the_files_too(hub, client):
    assert client.run(RESOLVE + "\n" + FILES).split("\n")[1] == "README.md a.txt"
    assert sum(hub.requests.values()) == 1


def test_a_mirror_that_lists_no_files_is_not_remembered(hub, client):
    files, hub.files = hub.files, {}
    assert client.run(FILES) == ""
    hub.files = files
    assert client.run(FILES) == "README.md a.txt"


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"files": 3}'])
def test_a_damaged_memory_is_asked_for_again(client, damage):
    client.run(RESOLVE)
    for memory in (client.home / "cache" / "hub").rglob("*.json"):
        memory.write_text(damage)
    assert client.run(RESOLVE + "\n" + FILES) == f"{COMMIT} None\nREADME.md a.txt"


def test_a_cache_that_cannot_be_written_only_costs_the_memory(client):
    (client.home / "cache").write_text("a file, not a folder")
    assert client.run(RESOLVE + "\n" + FILES + "\n" + FETCH).split("\n")[1:] == ["README.md a.txt", "0123456789"]


def test_a_fetched_file_needs_no_hub_again(hub, client):
    assert client.run(FETCH) == "0123456789"
    asked = sum(hub.requests.values())
    assert client.run(FETCH) == "0123456789"
    assert client.run(FETCH, HF_HUB_OFFLINE="1") == "0123456789"
    assert sum(hub.requests.values()) == asked


def test_failing_and_cut_downloads_are_tried_again_without_a_word(hub, client):
    hub.failures, hub.cuts = 2, 2
    assert client.run(FETCH) == "0123456789"


def test_a_download_that_keeps_failing_is_tried_five_times_and_is_one_line(hub, client):
    hub.failures = 1000
    assert client.run(FETCH) == (
        f"HarnessError: cannot get a.txt of data set org/data from {hub.url}: HTTP 503. "
        "Check the network and HF_ENDPOINT, or try later"
    )
    assert hub.requests[f"GET /datasets/org/data/resolve/{COMMIT}/a.txt"] == 5


def test_a_missing_file_and_a_file_not_fetched_before_going_offline_are_named(client):
    missing = client.run(FETCH.replace("a.txt", "b.txt"))
    assert 'data set org/data has no file "b.txt" at revision 1234abcd' in missing
    assert "a.txt of data set org/data at 1234abcd is not on this machine" in client.run(FETCH, HF_HUB_OFFLINE="1")


def test_a_download_folder_that_cannot_be_written_is_one_line(client):
    (client.home / "hf").write_text("a file, not a folder")
    said = client.run(FETCH)
    assert "cannot write a.txt of data set org/data in" in said
    assert "set HF_HOME" in said


def test_the_clients_settings_are_put_back(client):
    code = (
        "import logging\nfrom huggingface_hub.utils import are_progress_bars_disabled\n"
        f"fetch_files('dataset', 'org/data', '{COMMIT}', ['a.txt', 'README.md'])\n"
        "print(are_progress_bars_disabled(), logging.getLogger('huggingface_hub').level == logging.CRITICAL)"
    )
    assert client.run(code) == "False False"


# -- collections

CARD = """---
configs:
- config_name: default
  data_files:
  - split: test
    path: data/test-*
  - split: train
    path: data/train-*
- config_name: corpus
  data_files:
  - split: corpus
    path: corpus/*.parquet
- config_name: queries
  data_files: [{split: queries, path: queries.jsonl.gz}]
---
"""


def parquet(**columns: Any) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = io.BytesIO()
    pq.write_table(pa.table({name.replace("__", "-"): values for name, values in columns.items()}), stream)
    return stream.getvalue()


def prepare(path: str, revision: str, split: str, config: str = "", counts: str = "None, None") -> str:
    return (
        f"subset = Subset('default', {split!r}, ('eng-Latn',), {config!r}, {counts})\n"
        f"task = Task('Task', {path!r}, {revision!r}, (subset,), (Measure('nDCG', 10),))\n"
        "collection = prepare(task, subset, cache)\n"
        "print(collection.size, len(collection.queries), sum(map(len, collection.qrels.values())))\n"
    )


def test_a_data_set_in_parquet_shards_is_read_by_its_card_and_nothing_else_is_fetched(tmp_path):
    files = {
        "README.md": CARD.encode(),
        "corpus/0.parquet": parquet(_id=["d1", "d2"], title=["T", ""], text=["x", "y"]),
        "corpus/1.parquet": parquet(_id=[3], title=[None], text=["z"]),
        "queries.jsonl.gz": gzip.compress(b'{"_id": "q1", "text": "one"}\n{"_id": "q2", "text": "two"}\n'),
        "data/test-0.parquet": parquet(query__id=["q1", "q1"], corpus__id=["d1", "3"], score=[1.0, 0.0]),
        "data/train-0.parquet": parquet(query__id=["q2"], corpus__id=["d1"], score=[1]),
        "loader.py": b"raise SystemExit('never run')",
    }
    with serving(SmallHub(files)) as hub:
        client = Client(tmp_path, hub.url)
        code = prepare("org/data", COMMIT, "test") + "print(collection.documents(['3']), collection.queries)"
        said = client.run(code)
        fetched = {name.split("/resolve/")[1][41:] for name in hub.requests if "/resolve/" in name}
        missing = client.run(prepare("org/data", COMMIT, "dev"))
    assert said == "3 1 2\n{'3': DocumentText(title='', text='z')} {'q1': QueryText(text='one', instruction='')}"
    assert fetched == set(files) - {"data/train-0.parquet", "loader.py"}
    assert 'of data set org/data at 1234abcd has no split "dev"; it has test, train' in missing
    assert client.run(code) == said


# -- the shared hub


@pytest.fixture
def shared_hub(shared: Path, tmp_path: Path) -> Iterator[Any]:
    """Starts the local hub with faults of a test's choice; gives a client of it."""
    running = []

    def start(**faults: str) -> Client:
        command = [sys.executable, str(shared / "tools" / "local_hub.py"), "serve", str(shared / "hub"), "--port", "0"]
        process = subprocess.Popen(command, env={**os.environ, **faults}, stdout=subprocess.PIPE, text=True)
        running.append(process)
        assert process.stdout is not None
        return Client(tmp_path, process.stdout.readline().strip().partition("=")[2])

    def stop() -> None:
        for process in running:
            process.terminate()
            process.wait()

    start.stop = stop  # type: ignore[attr-defined]
    yield start
    stop()
    for process in running:
        process.stdout.close()


@pytest.mark.shared
def test_scifact_has_its_published_counts(shared_hub):
    code = prepare("mteb/scifact", SCIFACT, "test", counts="300, 5183")
    assert shared_hub().run(code) == "5183 300 339"


@pytest.mark.shared
def test_a_language_of_a_data_set_is_found_by_its_config(shared_hub):
    revision = "194842d6a49baddf6cd3f4d5130ab3c7756268d2"
    assert (
        shared_hub().run(prepare("mteb/XQuADRetrieval", revision, "validation", "zh", "1190, 240")) == "240 1190 1190"
    )


@pytest.mark.shared
def test_a_data_set_in_followirs_shape_has_all_its_parts(shared_hub):
    client = shared_hub()
    commit = client.run("print(resolve_revision('dataset', 'standin/csfcube-instructions', None, cache).commit)")
    code = prepare("standin/csfcube-instructions", commit, "test") + (
        "print(len(collection.given), len(collection.qrel_diff), all(query.instruction for query in collection.queries.values()))"
    )
    assert client.run(code) == "777 32 3216\n32 16 True"


@pytest.mark.shared
def test_a_data_set_loads_through_failing_and_cut_downloads(shared_hub):
    client = shared_hub(LOCAL_HUB_FAIL_EVERY="2", LOCAL_HUB_CUT_EVERY="3")
    assert client.run(prepare("mteb/scifact", SCIFACT, "test")) == "5183 300 339"


@pytest.mark.shared
def test_a_hub_that_always_fails_is_one_line(shared_hub):
    client = shared_hub(LOCAL_HUB_FAIL_EVERY="1")
    said = client.run(prepare("mteb/scifact", SCIFACT, "test"))
    assert said.startswith(f"HarnessError: cannot get README.md of data set mteb/scifact from {client.url}: HTTP 503")


@pytest.mark.shared
@pytest.mark.slow
def test_a_hub_that_always_breaks_off_is_one_line(shared_hub):
    client = shared_hub(LOCAL_HUB_CUT_EVERY="1")
    said = client.run(prepare("mteb/scifact", SCIFACT, "test"))
    assert said.startswith(f"HarnessError: cannot get README.md of data set mteb/scifact from {client.url}: ")


@pytest.mark.shared
def test_unknown_repositories_and_revisions_are_one_line(shared_hub):
    client = shared_hub()
    assert "there is no data set mteb/scifakt at" in client.run(prepare("mteb/scifakt", SCIFACT, "test"))
    assert 'mteb/scifact has no revision "v2"' in client.run("resolve_revision('dataset', 'mteb/scifact', 'v2', cache)")
    assert "has no revision" in client.run(prepare("mteb/scifact", "0" * 40, "test"))


@pytest.mark.shared
def test_after_a_first_run_the_hub_may_be_gone(shared_hub):
    client = shared_hub()
    resolve = "found = resolve_revision('dataset', 'mteb/scifact', 'main', cache)\nprint(found.note)\n"
    load = prepare("mteb/scifact", SCIFACT, "test")
    assert client.run(resolve + load) == "None\n5183 300 339"
    shared_hub.stop()
    note, counts = client.run(resolve + load).split("\n")
    assert note.startswith(f"hub not reachable; using the last known commit {SCIFACT[:8]} of 20")
    assert counts == "5183 300 339"


@pytest.mark.shared
def test_a_repository_downloaded_whole_by_the_client_serves_offline(shared_hub):
    pytest.importorskip("huggingface_hub", minversion="2")
    client = shared_hub()
    client.run(
        "from huggingface_hub import snapshot_download\nfrom huggingface_hub.utils import disable_progress_bars\n"
        "disable_progress_bars()\nsnapshot_download('mteb/scifact', repo_type='dataset')"
    )
    shared_hub.stop()
    code = "found = resolve_revision('dataset', 'mteb/scifact', None, cache)\nprint(found.commit)\n"
    assert client.run(code + prepare("mteb/scifact", SCIFACT, "test"), HF_HUB_OFFLINE="1") == f"{SCIFACT}\n5183 300 339"
