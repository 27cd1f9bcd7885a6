"""The /rerank request against a real HTTP server on this machine that fails in every way we know."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Cli
from rerank_server import Call, Server, serving, worth

from harness.engine.options import Options
from harness.errors import HarnessError
from harness.rerankers.families.remote import RemotePairs, read_providers
from harness.rerankers.resolve import open_rerankers
from harness.rerankers.score import margins_of, prepare
from harness.rerankers.services.transport import LONGEST_WAIT, Patience, Poster, Service, retry_after
from harness.types import DocumentText, QueryText

KEY = "sk-very-secret-0123456789"
QUICK = Patience(tries=4, timeout=5.0, first_wait=0.01)


serve = pytest.fixture(serving)


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COHERE_API_KEY", "JINA_API_KEY", "VOYAGE_API_KEY", "MXBAI_API_KEY", "MY_KEY"):
        monkeypatch.setenv(variable, KEY)


def opened(name: str, **settings: object):
    typed = tuple((key, str(value)) for key, value in settings.items())
    (reranker,) = open_rerankers(name, Options(settings=typed), Path("unused"))
    return reranker


def scorer(server: Server, patience: Patience = QUICK, provider: str = "cohere", concurrency: int = 4) -> RemotePairs:
    """The model that `opened` loads, with waits short enough for a test."""
    found = read_providers()[provider]
    service = Service(f"remote:{provider}/m", server.url + found.path, "COHERE_API_KEY")
    return RemotePairs(found, "m", Poster(service, KEY, patience), concurrency)


PAIRS = [
    (QueryText(f"amber birch {number}"), DocumentText("", f"birch {number} " + "cedar " * (3 * number + place)))
    for number in range(6)
    for place in range(5)
]
EXPECTED = np.array([worth(query.text, document.text) for query, document in PAIRS], np.float32)


def scores(model: Any, pairs: list = PAIRS) -> np.ndarray:
    """In single precision, as they are stored."""
    return prepare(model, pairs).score(np.arange(len(pairs))).astype(np.float32)


def fail_then_answer(fail: Callable[[Call], None], times: int = 1) -> Callable[[Call], None]:
    return lambda call: fail(call) if call.number < times else call.answer()


# -- shapes


@pytest.mark.parametrize("provider", ["cohere", "jina", "voyage", "mixedbread", "tei", "vllm"])
def test_every_provider_is_asked_and_understood_in_its_own_words(serve, provider: str):
    server = serve()
    reranker = opened(f"remote:{provider}/org/model-1", url=server.url, key_variable="MY_KEY")
    np.testing.assert_array_equal(margins_of(reranker, PAIRS), EXPECTED)
    call = server.calls[0]
    assert call.headers["Authorization"] == f"Bearer {KEY}"
    assert call.path == read_providers()[provider].path
    assert ("model" in call.body) == (provider != "tei")
    assert call.body.get("model", "org/model-1") == "org/model-1"
    top = {"tei": None, "voyage": "top_k", "mixedbread": "top_k"}.get(provider, "top_n")
    assert top is None or call.body[top] == 5


def test_the_addresses_and_variables_are_the_providers():
    said = {name: (provider.url, provider.key_variable) for name, provider in read_providers().items()}
    assert said == {
        "cohere": ("https://api.cohere.com", "COHERE_API_KEY"),
        "jina": ("https://api.jina.ai", "JINA_API_KEY"),
        "voyage": ("https://api.voyageai.com", "VOYAGE_API_KEY"),
        "mixedbread": ("https://api.mixedbread.com", "MXBAI_API_KEY"),
        "zeroentropy": ("https://api.zeroentropy.dev", "ZEROENTROPY_API_KEY"),
        "contextual": ("https://api.contextual.ai", "CONTEXTUAL_API_KEY"),
        "dashscope": ("https://dashscope.aliyuncs.com", "DASHSCOPE_API_KEY"),
        "pinecone": ("https://api.pinecone.io", "PINECONE_API_KEY"),
        "bedrock": (None, "AWS_BEARER_TOKEN_BEDROCK"),
        "nim": (None, None),
        "tei": (None, None),
        "vllm": (None, None),
        "sglang": (None, None),
    }


def test_a_query_is_one_request(serve):
    server = serve()
    scores(scorer(server))
    assert sorted(call.body["query"] for call in server.calls) == sorted({query.text for query, _ in PAIRS})
    assert [len(call.documents) for call in server.calls] == [5] * 6


def test_a_list_longer_than_a_provider_takes_is_split(serve):
    server = serve()
    pairs = [(QueryText("amber"), DocumentText("", f"amber {number} " + "x" * number)) for number in range(70)]
    found = scores(scorer(server, provider="tei"), pairs)
    assert sorted(len(call.documents) for call in server.calls) == [6, 32, 32]
    np.testing.assert_array_equal(found, np.array([worth("amber", text.text) for _, text in pairs], np.float32))


def test_scores_find_their_rows_in_any_order(serve):
    rows = np.random.default_rng(3).permutation(len(PAIRS))
    found = prepare(scorer(serve()), PAIRS).score(rows).astype(np.float32)
    np.testing.assert_array_equal(found, EXPECTED[rows])


def test_answers_that_overtake_each_other_stay_in_order(serve):
    def slower_first(call: Call) -> None:
        time.sleep(0.1 / (1 + call.number))
        call.answer()

    np.testing.assert_array_equal(scores(scorer(serve(slower_first))), EXPECTED)


def test_title_text_and_instruction_are_joined_and_max_chars_cuts(serve):
    server = serve()
    pairs = [(QueryText("amber", "Name trees only."), DocumentText("Birch", "a tree " * 10))]
    reranker = opened("remote:tei/m", url=server.url, max_chars=12)
    margins_of(reranker, pairs)
    assert server.calls[0].body["query"] == "amber Name trees only."
    assert server.calls[0].documents == ["Birch a tree"]
    assert prepare(reranker.load(), pairs).lost.tolist() == [-(-(75 - 12) // 4)]
    margins_of(opened("remote:tei/m", url=server.url), pairs)
    assert server.calls[1].documents == ["Birch " + ("a tree " * 10).strip()]


# -- patience


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 529])
def test_a_busy_server_is_asked_again(serve, status: int):
    server = serve(fail_then_answer(lambda call: call.reply(status, {"message": "busy"}), times=2))
    np.testing.assert_array_equal(scores(scorer(server, concurrency=1)), EXPECTED)
    assert len(server.calls) == 6 + 2


@pytest.mark.parametrize(
    "fail",
    [Call.cut, lambda call: call.cut(b'{"results": ['), lambda call: call.reply(200, b"<html>a proxy</html>")],
    ids=["no answer", "half an answer", "not JSON"],
)
def test_a_broken_answer_is_asked_for_again(serve, fail: Callable[[Call], None]):
    server = serve(fail_then_answer(fail, times=2))
    np.testing.assert_array_equal(scores(scorer(server, concurrency=1)), EXPECTED)
    assert len(server.calls) == 6 + 2


def test_a_server_that_stalls_is_left_and_asked_again(serve):
    server = serve(fail_then_answer(lambda call: time.sleep(6)))
    started = time.monotonic()
    found = scores(scorer(server, Patience(tries=2, timeout=0.3, first_wait=0.01), concurrency=1), PAIRS[:5])
    assert time.monotonic() - started < 5
    np.testing.assert_array_equal(found, EXPECTED[:5])
    assert len(server.calls) == 2


def test_tries_are_counted_and_the_last_failure_is_told(serve):
    server = serve(lambda call: call.reply(503, {"message": f"overloaded, {KEY}"}))
    with pytest.raises(HarnessError) as caught:
        scores(scorer(server), PAIRS[:5])
    assert len(server.calls) == QUICK.tries
    said = str(caught.value)
    assert "did not answer in 4 tries; the last: HTTP 503" in said
    assert "\n" not in said
    assert KEY not in said


def test_a_server_that_is_not_there_is_told(serve):
    server = serve()
    server.shutdown()
    server.server_close()
    with pytest.raises(HarnessError, match="the last: ConnectionRefusedError"):
        scores(scorer(server), PAIRS[:1])


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_obeyed(serve, form: str):
    asked: list[float] = []

    def wait_a_second(call: Call) -> None:
        asked.append(time.time())
        if call.number:
            return call.answer()
        value = "1" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)
        return call.reply(429, {}, Retry_After=value)

    # Without the header the second try would come after a hundredth of a second.
    scores(scorer(serve(wait_a_second)), PAIRS[:1])
    assert 0.99 <= asked[1] - asked[0] < 10


def test_a_wait_that_is_too_long_ends_the_run(serve):
    server = serve(lambda call: call.reply(429, {}, Retry_After="3600"))
    with pytest.raises(HarnessError, match="asks to wait 3600 seconds"):
        scores(scorer(server), PAIRS[:1])
    assert len(server.calls) == 1


def test_waits_double_and_are_spread(serve):
    asked: list[float] = []

    def busy(call: Call) -> None:
        asked.append(time.monotonic())
        call.reply(500, {})

    with pytest.raises(HarnessError):
        scores(scorer(serve(busy), Patience(tries=4, timeout=5, first_wait=0.2)), PAIRS[:1])
    waits = np.diff(asked)
    for number, waited in enumerate(waits):
        assert 0.1 * 2**number <= waited < 0.2 * 2**number + 2


def test_the_forms_of_retry_after():
    now = datetime.now(UTC)
    assert retry_after(None) is None
    assert retry_after("soon") is None
    assert retry_after("120") == 120.0
    assert retry_after(" 0.5 ") == 0.5
    assert retry_after(format_datetime(now - timedelta(hours=1), usegmt=True)) == 0.0
    assert retry_after(format_datetime(now + timedelta(seconds=90), usegmt=True)) == pytest.approx(90, abs=2)
    assert retry_after("Wed, 21 Oct 2065 07:28:00 -0000") > LONGEST_WAIT


# -- what trying again cannot mend


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_told_at_once_and_names_the_variable(serve, status: int):
    server = serve(lambda call: call.reply(status, {"message": f"invalid key {call.headers['Authorization']}"}))
    with pytest.raises(HarnessError, match="COHERE_API_KEY") as caught:
        scores(scorer(server, concurrency=1))
    assert len(server.calls) == 1
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_refused_request_repeats_the_reason_without_the_key(serve):
    server = serve(lambda call: call.reply(400, {"message": f"unknown model; you are {call.headers['Authorization']}"}))
    with pytest.raises(HarnessError, match=r"HTTP 400.*unknown model; you are Bearer [*]{3}") as caught:
        scores(scorer(server), PAIRS[:1])
    assert KEY not in str(caught.value)
    assert len(server.calls) == 1


def test_the_first_failure_ends_the_others(serve):
    server = serve(lambda call: call.reply(401, {}))
    pairs = [(QueryText(f"q {number}"), DocumentText("", "text")) for number in range(60)]
    with pytest.raises(HarnessError):
        scores(scorer(server, concurrency=2), pairs)
    assert len(server.calls) < 10


def test_a_failure_does_not_wait_for_those_who_wait(serve):
    def behave(call: Call) -> None:
        if call.body["query"] == "q 0":
            call.reply(429, {}, Retry_After="60")
        else:
            time.sleep(0.2)
            call.reply(401, {})

    pairs = [(QueryText(f"q {number}"), DocumentText("", "text")) for number in range(2)]
    started = time.monotonic()
    with pytest.raises(HarnessError, match="refused access"):
        scores(scorer(serve(behave)), pairs)
    assert time.monotonic() - started < 10


def test_a_redirect_is_not_followed_and_the_key_stays(serve):
    other = serve()
    server = serve(lambda call: call.reply(302, {}, Location=f"{other.url}/v2/rerank"))
    with pytest.raises(HarnessError, match="redirect"):
        scores(scorer(server), PAIRS[:1])
    assert other.calls == []


def entry(index: object, score: object) -> dict[str, object]:
    return {"index": index, "relevance_score": score}


@pytest.mark.parametrize(
    ("results", "said"),
    [
        ([entry(0, 0.5), entry(1, 0.5)], "2 of 3 documents were scored"),
        ([entry(0, 0.5), entry(1, 0.5), entry(2, 0.5), entry(3, 0.5)], "the index 3"),
        ([entry(0, 0.5), entry(1, 0.5), entry(1, 0.5)], "the index 1"),
        ([entry(0, 0.5), entry(1, 0.5), entry(-1, 0.5)], "the index -1"),
        ([entry(0, 0.5), entry(1, 0.5), entry("2", 0.5)], "the index '2'"),
        ([entry(0, 0.5), entry(1, 0.5), {"relevance_score": 0.5}], "the index None"),
        ([entry(0, 0.5), entry(1, 0.5), entry(2, None)], "document 2 has the relevance_score None"),
        ([entry(0, 0.5), entry(1, 0.5), entry(2, "0.5")], "not a number"),
        ([entry(0, 0.5), entry(1, 0.5), entry(2, True)], "not a number"),
        ([entry(0, 0.5), entry(1, 0.5), 0.5], "the index None"),
    ],
)
def test_an_answer_without_one_score_a_document_is_an_error(serve, results: list, said: str):
    server = serve(lambda call: call.answer(results))
    pairs = [(QueryText("q"), DocumentText("", f"text {number}")) for number in range(3)]
    with pytest.raises(HarnessError, match=said):
        scores(scorer(server), pairs)
    assert len(server.calls) == 1


@pytest.mark.parametrize("value", [{"data": []}, [], "text", None, 3])
def test_an_answer_of_another_shape_is_an_error(serve, value: object):
    with pytest.raises(HarnessError, match=r"holds no list of results|0 of 1 documents"):
        scores(scorer(serve(lambda call: call.reply(200, value))), PAIRS[:1])


# -- concurrency


@pytest.mark.parametrize("bound", [1, 3])
def test_no_more_requests_are_open_than_allowed(serve, bound: int):
    def slowly(call: Call) -> None:
        time.sleep(0.05)
        call.answer()

    server = serve(slowly)
    pairs = [(QueryText(f"q {number}"), DocumentText("", f"text {number}")) for number in range(12)]
    margins_of(opened("remote:vllm/m", url=server.url, concurrency=bound), pairs)
    assert min(bound, 2) <= server.most_open <= bound
    assert len(server.calls) == 12


# -- through the harness


def run_words(folder: Path, url: str, *more: str) -> tuple[object, ...]:
    settings = ("--set", f"url={url}", "--set", "key_variable=MY_KEY")
    return ("run", folder, "--reranker", "remote:cohere/rerank-x", *settings, *more)


def test_a_run_asks_once_and_the_key_is_nowhere(serve, collection_folder: Path, cli: Cli, tmp_path: Path):
    server = serve()
    words = run_words(collection_folder, server.url, "--set", "revision=2026-11", "--format", "json")
    answer = cli(*words)
    assert answer.code == 0, answer.err
    asked = len(server.calls)
    assert asked == 6
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("remote" in str(path) for path in written)
    assert not [path for path in written if KEY.encode() in path.read_bytes()]
    assert KEY not in answer.out + answer.err
    again = cli(*words, "--results", "elsewhere")
    assert again.code == 0
    assert len(server.calls) == asked
    assert again.results()[0]["measures"] == answer.results()[0]["measures"]


def test_without_a_revision_scores_serve_no_other_run(serve, collection_folder: Path, cli: Cli):
    server = serve()
    assert cli(*run_words(collection_folder, server.url)).code == 0
    asked = len(server.calls)
    assert cli(*run_words(collection_folder, server.url, "--results", "elsewhere")).code == 0
    assert len(server.calls) == 2 * asked


def test_a_run_that_broke_goes_on_without_asking_again(serve, collection_folder: Path, cli: Cli):
    broken = True

    def behave(call: Call) -> None:
        if broken and call.number >= 3:
            call.reply(400, {"message": "out of credit"})
        else:
            call.answer()

    server = serve(behave)
    words = run_words(collection_folder, server.url, "--set", "concurrency=1", "--batch-tokens", "24")
    answer = cli(*words)
    assert answer.code == 2
    assert "out of credit" in answer.err
    seen = {(call.body["query"], document) for call in server.calls[:3] for document in call.documents}
    broken = False
    calls = len(server.calls)
    assert cli(*words).code == 0
    later = [(call.body["query"], document) for call in server.calls[calls:] for document in call.documents]
    assert later
    kept = seen - set(later)
    assert kept  # what was committed before is not asked for again


def test_a_score_that_is_not_finite_names_its_pair(serve, collection_folder: Path, cli: Cli):
    def behave(call: Call) -> None:
        results = call.results()
        for place in results:
            if place["index"] == 1 and call.body["query"] == "birch cedar":
                place["relevance_score"] = float("nan")
        call.answer(results)

    answer = cli(*run_words(collection_folder, serve(behave).url))
    assert answer.code == 2
    assert "scored nan for query q1, document d" in answer.err


def test_a_missing_key_is_told_before_anything_is_sent(serve, collection_folder: Path, cli: Cli, monkeypatch):
    monkeypatch.delenv("MY_KEY")
    server = serve()
    answer = cli(*run_words(collection_folder, server.url))
    assert answer.code == 2
    assert "set the environment variable MY_KEY" in answer.err
    assert server.calls == []


# -- names and settings


def test_a_listwise_model_is_keyed_by_its_list(serve):
    reranker = opened("remote:jina/jina-reranker-v3", url=serve().url)
    assert reranker.spec.context == "list"
    assert opened("remote:jina/jina-reranker-m0").spec.context == "pair"
    np.testing.assert_array_equal(margins_of(reranker, PAIRS), EXPECTED)


def test_a_list_that_does_not_fit_a_listwise_request_is_told(serve):
    reranker = opened("remote:tei/m", url=serve().url, context="list")
    with pytest.raises(HarnessError, match="--top-k 32"):
        reranker.load().score_list(QueryText("q"), [DocumentText("", "text")] * 33)


def test_the_fingerprint_holds_what_moves_scores_and_not_what_does_not():
    base = {"url": "http://127.0.0.1:9"}

    def fingerprint(name: str = "remote:vllm/m", **settings: object) -> str:
        return opened(name, **{**base, **settings}).spec.fingerprint

    moving = [
        fingerprint(),
        fingerprint("remote:vllm/m2"),
        fingerprint("remote:tei/m"),
        fingerprint(url="http://127.0.0.1:10"),
        fingerprint(revision="1"),
        fingerprint(revision="2"),
        fingerprint(max_chars=100),
        fingerprint(context="list"),
    ]
    assert len(set(moving)) == len(moving)
    assert fingerprint(concurrency=9, tries=2, timeout=3, key_variable="OTHER_KEY") == fingerprint()


def test_a_stated_revision_declares_the_model():
    assert opened("remote:cohere/m", revision="2026-11").spec.declared
    assert not opened("remote:cohere/m").spec.declared
    assert len(opened("remote:cohere/m").spec.revision) == 40


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("remote:coher/m", {}, 'Did you mean "cohere"?'),
        ("remote:cohere", {}, "remote:PROVIDER/MODEL"),
        ("remote:tei/m", {}, "--set url=http://HOST:PORT"),
        ("remote:tei/m", {"url": "localhost:8080"}, "http://HOST:PORT or https://HOST"),
        ("remote:tei/m", {"url": "file:///etc/passwd"}, "http://HOST:PORT or https://HOST"),
        ("remote:tei/m", {"url": "http://host:99999"}, "http://HOST:PORT or https://HOST"),
        ("remote:tei/m", {"url": f"http://me:{KEY}@host"}, "more than an address"),
        ("remote:tei/m", {"url": f"http://host?key={KEY}"}, "more than an address"),
        ("remote:cohere/m", {"key_variable": KEY}, "name of an environment variable"),
        ("remote:cohere/m", {"api_key": KEY}, 'no setting "api_key"'),
        ("remote:cohere/m", {"concurrency": "0"}, "a whole number above 0"),
        ("remote:cohere/m", {"context": "both"}, "pair, list"),
    ],
)
def test_wrong_names_and_settings_are_told_without_repeating_a_key(name: str, settings: dict, said: str):
    with pytest.raises(HarnessError) as caught:
        opened(name, **settings)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_a_key_with_a_line_break_in_it_is_told_and_not_shown(serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MY_KEY", f"{KEY}\nmore")
    with pytest.raises(HarnessError, match="MY_KEY holds characters") as caught:
        opened("remote:tei/m", url=serve().url, key_variable="MY_KEY").load()
    assert KEY not in str(caught.value)
