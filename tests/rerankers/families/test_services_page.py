"""Every command of docs/services.md runs as it stands there, against a server on this machine in the provider's words."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from conftest import DATA, ROOT, Cli
from rerank_server import in_words_of, serving

from harness.rerankers.services.providers import read_providers

serve = pytest.fixture(serving)
MODEL = DATA / "models" / "cross-encoder"
PAGE = (ROOT / "docs" / "services.md").read_text(encoding="utf-8")
BLOCKS = [block.strip().splitlines() for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)]
COMMANDS = [
    (re.search(r"remote:(\w+)/", line)[1], line, next((other for other in block if other.startswith("export ")), ""))
    for block in BLOCKS
    for line in block
    if line.startswith("rerank-harness run ")
]
USAGE = {"usage": {"total_tokens": 70}, "meta": {"billed_units": {"search_units": 1}}}
FIELD = {"cohere": "meta", "jina": "usage", "voyage": "usage", "vllm": "usage"}


def test_the_page_has_the_five_that_it_promises():
    assert {provider for provider, _, _ in COMMANDS} == {"cohere", "jina", "voyage", "tei", "vllm"}


@pytest.mark.parametrize(
    ("provider", "line", "export"), COMMANDS, ids=[" ".join(line.split()[2:]) for _, line, _ in COMMANDS]
)
def test_a_command_of_the_page_runs(
    provider: str, line: str, export: str, serve, collection_folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    known = read_providers()[provider]
    field = FIELD.get(provider)
    server = serve(in_words_of(provider, **({field: USAGE[field]} if field else {})))
    words = shlex.split(line)[1:]
    # The data and the address are the test's; all else is the page's.
    words[words.index("SciFact")] = str(collection_folder)
    words = [re.sub(r"\burl=http://localhost:\d+$", f"url={server.url}", word) for word in words]
    words = [str(MODEL) if word.startswith("cross-encoder/") else word for word in words]
    assert (known.url is None) == any("url=" in word for word in words)
    if known.url is not None:
        words += ["--set", f"url={server.url}"]
        assert export == f"export {known.key_variable}=..."
        monkeypatch.setenv(known.key_variable, "my-key")
    if "--dry-run" in words:
        assert cli("run", collection_folder, "--top-k", "4").code == 0  # the candidates are there
    answer = cli(*words, "--top-k", "4", "--format", "json")
    assert answer.code == 0, answer.err
    if "--dry-run" in words:
        (planned,) = json.loads(answer.out)["plan"]
        assert server.calls == []
        assert (planned["requests"], planned["cost"] > 0) == (6, True)
        return
    *local, result = answer.results()
    assert all(each["performance"]["latency_seconds"]["p50"] > 0 for each in local)
    assert len(local) == words.count(str(MODEL))
    bill = result["performance"]["billed"]
    assert bill["requests"] == len(server.calls) == 6
    assert {call.path for call in server.calls} == {known.path}
    asked = {call.headers.get("Authorization") for call in server.calls}
    assert asked == {"Bearer my-key" if known.key_variable else None}
    assert bill["estimated"] == (provider == "tei")
    assert ("cost" in bill) == any(word.startswith("price_") for word in words)
    assert (bill.get("units"), bill["tokens"]) == ((6, None) if provider == "cohere" else (None, bill["tokens"] or 0))
    assert 0 < bill["request_seconds"]["p50"] <= bill["request_seconds"]["p99"]


def test_before_the_data_is_here_the_most_that_can_be_asked_is_known(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "empty"))
    price = ("--set", "price_per_thousand_units=2")
    (planned,) = json.loads(
        cli("run", "SciFact", "--reranker", "remote:cohere/m", *price, "--dry-run", "--format", "json").out
    )["plan"]
    assert (planned["pairs"], planned["requests"], planned["tokens"], planned["cost"]) == (30000, 300, None, 0.6)
    tei = ("--reranker", "remote:tei/m", "--set", "url=http://localhost:1", "--set", "price_per_million_tokens=2")
    (planned,) = json.loads(cli("run", "SciFact", *tei, "--dry-run", "--format", "json").out)["plan"]
    assert (planned["requests"], planned["cost"]) == (1200, None)
