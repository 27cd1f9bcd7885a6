"""Providers as data, the limits of a request, what is never sent, and what it costs; against a server on this machine."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli, write_lines
from rerank_server import Call, Server, at, in_words_of, serving, texts_of

from harness.engine.options import Options
from harness.errors import HarnessError
from harness.rerankers.resolve import open_rerankers
from harness.rerankers.score import margins_of
from harness.rerankers.services.providers import read_providers, tokens_of
from harness.types import DocumentText, QueryText

serve = pytest.fixture(serving)
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)


def opened(name: str, **settings: object):
    typed = tuple((key, str(value)) for key, value in settings.items())
    (reranker,) = open_rerankers(name, Options(settings=typed), Path("unused"))
    return reranker


PAIRS = [(QueryText("amber", "Name trees only."), DocumentText("", "cedar " * (place + 1))) for place in range(4)]
EXPECTED = np.array([len(document.text) / 100 for _, document in PAIRS], np.float32)
NAMES = sorted(read_providers())

# -- every provider's words


@pytest.mark.parametrize("name", NAMES)
def test_every_provider_is_asked_and_understood_in_its_own_words(serve, name: str):
    server, provider = serve(in_words_of(name)), read_providers()[name]
    reranker = opened(f"remote:{name}/org/model:1", url=server.url, key_variable="MY_KEY")
    np.testing.assert_array_equal(margins_of(reranker, PAIRS), EXPECTED)
    (call,) = server.calls
    assert call.path == provider.path.replace("{model}", "org%2Fmodel%3A1")
    assert texts_of(call.body, name) == [document.text for _, document in PAIRS]
    if provider.model is not None:
        assert at(call.body, provider.model) == "org/model:1"
    if provider.top is not None:
        assert at(call.body, provider.top) == 4
    for path, value in provider.more.items():
        assert at(call.body, path) == value


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("vllm", "instruction"),
        ("contextual", "instruction"),
        ("sglang", "instruct"),
        ("dashscope", "parameters.instruct"),
        ("cohere", None),
        ("voyage", None),
        ("tei", None),
        ("nim", None),
    ],
)
def test_an_instruction_lands_in_the_providers_own_field_or_after_the_query(serve, name: str, place: str | None):
    server, provider = serve(in_words_of(name)), read_providers()[name]
    margins_of(opened(f"remote:{name}/m", url=server.url, key_variable="MY_KEY"), PAIRS[:1])
    bare = [(QueryText("amber"), PAIRS[0][1])]
    margins_of(opened(f"remote:{name}/m", url=server.url, key_variable="MY_KEY"), bare)
    given = opened(f"remote:{name}/m", url=server.url, key_variable="MY_KEY", instruction="Old trees.")
    margins_of(given, bare)
    margins_of(given, PAIRS[:1])
    queries = [at(call.body, provider.query) for call in server.calls]
    if place is None:
        assert queries == ["amber Name trees only.", "amber", "amber Old trees.", "amber Name trees only."]
        assert not any("instruct" in json.dumps(call.body) for call in server.calls)
    else:
        assert queries == ["amber"] * 4
        said = [call.body for call in server.calls]
        assert [at(body, place) for body in (said[0], said[2], said[3])] == [
            "Name trees only.", "Old trees.", "Name trees only."
        ]  # fmt: skip
        with pytest.raises(KeyError):
            at(said[1], place)


def test_the_place_of_the_instruction_can_be_said_and_moves_the_key(serve):
    server = serve(in_words_of("vllm"))
    joined = opened("remote:vllm/m", url=server.url, instruction_field="none")
    nested = opened("remote:vllm/m", url=server.url, instruction_field="chat_template_kwargs.instruction")
    margins_of(joined, PAIRS[:1])
    margins_of(nested, PAIRS[:1])
    first, second = (call.body for call in server.calls)
    assert (first["query"], "instruction" in first) == ("amber Name trees only.", False)
    assert second["chat_template_kwargs"] == {"instruction": "Name trees only."}
    usual = opened("remote:vllm/m", url=server.url)
    with_sentence = opened("remote:vllm/m", url=server.url, instruction="Old trees.")
    prints = [each.spec.fingerprint for each in (usual, joined, nested, with_sentence)]
    assert len(set(prints)) == 4


def test_the_cards_sentence_is_the_instruction_where_it_is_asked_for(serve):
    server = serve(in_words_of("contextual"))
    reranker = opened("remote:contextual/m", url=server.url, key_variable="MY_KEY", instruction="card")
    bound = reranker.for_task("Find the tree.")
    margins_of(bound, [(QueryText("amber"), DocumentText("", "cedar"))])
    assert server.calls[0].body["instruction"] == "Find the tree."
    assert bound.spec.fingerprint != reranker.for_task("Find the bird.").spec.fingerprint


def test_a_key_travels_in_the_providers_own_header_alone(serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PINECONE_API_KEY", KEY)
    server = serve(in_words_of("pinecone"))
    margins_of(opened("remote:pinecone/bge-reranker-v2-m3", url=server.url), PAIRS)
    headers = {name.lower(): value for name, value in server.calls[0].headers.items()}
    assert headers["api-key"] == KEY
    assert headers["x-pinecone-api-version"] == "2025-10"
    assert "authorization" not in headers


# -- providers of the user's

MINE = """
mine:
  url: null
  path: /deep/{model}/rank
  key_variable: MY_KEY
  headers: {X-Key: "{key}"}
  model: null
  query: ask.what
  documents: ask.about
  document: body
  instruction: ask.how
  results: found.list
  index: place
  score: points
  at_most: 3
  more: {ask.mode: fast}
  list_context: [lists-]
"""


def test_a_provider_of_the_users_own_yaml_is_asked_as_it_says(serve, tmp_path: Path):
    def behave(call: Call) -> None:
        about = call.body["ask"]["about"]
        entries = [{"place": place, "points": len(entry["body"]) / 100} for place, entry in enumerate(about)]
        call.reply(200, {"found": {"list": entries}})

    server = serve(behave)
    write_lines(tmp_path / "mine.yaml", [MINE])
    reranker = opened("remote:mine/a b", url=server.url, providers=tmp_path / "mine.yaml")
    np.testing.assert_array_equal(margins_of(reranker, PAIRS), EXPECTED)
    assert sorted(len(call.body["ask"]["about"]) for call in server.calls) == [1, 3]
    call = server.calls[0]
    assert call.path == "/deep/a%20b/rank"
    assert call.headers["X-Key"] == KEY
    assert "Authorization" not in call.headers
    assert {**call.body["ask"], "about": None} == {
        "what": "amber",
        "how": "Name trees only.",
        "mode": "fast",
        "about": None,
    }
    assert opened("remote:mine/lists-1", url=server.url, providers=tmp_path / "mine.yaml").spec.context == "list"
    write_lines(tmp_path / "mine.yaml", [MINE.replace("fast", "slow")])
    changed = opened("remote:mine/a b", url=server.url, providers=tmp_path / "mine.yaml")
    assert changed.spec.fingerprint != reranker.spec.fingerprint


def test_a_users_yaml_leaves_the_packed_providers_and_their_keys_as_they_are(tmp_path: Path):
    write_lines(tmp_path / "mine.yaml", [MINE])
    plain, beside = opened("remote:cohere/m"), opened("remote:cohere/m", providers=tmp_path / "mine.yaml")
    assert plain.spec.fingerprint == beside.spec.fingerprint


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("at_most: 3", "at_most: many"), "at_most is a whole number above 0"),
        (("at_most: 3", "at_mots: 3"), 'Did you mean "at_most"?'),
        (("  score: points\n", ""), "lacks score"),
        (("query: ask.what", "query: 3"), "query is a text"),
        (("list_context: [lists-]", "list_context: lists-"), "list_context is a list of names"),
        (("more: {ask.mode: fast}", "more: fast"), "more is a mapping"),
        ((MINE, "- mine"), "providers are written NAME:"),
        ((MINE, "mine: [1"), "not valid YAML"),
    ],
)
def test_a_provider_that_is_written_wrongly_is_told_in_one_line(tmp_path: Path, changed: tuple[str, str], said: str):
    write_lines(tmp_path / "mine.yaml", [MINE.replace(*changed)])
    with pytest.raises(HarnessError) as caught:
        opened("remote:mine/m", url="http://127.0.0.1:9", providers=tmp_path / "mine.yaml")
    assert said in str(caught.value)
    assert "mine.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("remote:jina/jina-reranker-v3", "list"),
        ("remote:jina/jina-reranker-v3.5", "list"),
        ("remote:jina/jina-reranker-v3-turbo", "list"),
        ("remote:jina/jina-reranker-v2-base-multilingual", "pair"),
        ("remote:jina/jina-reranker-m0", "pair"),
    ],
)
def test_models_that_see_whole_lists_are_known_by_the_beginning_of_their_names(name: str, context: str):
    assert opened(name).spec.context == context


# -- limits


LONG = [(QueryText("what is it"), DocumentText("", f"{'word ' * 699}{place}")) for place in range(1000)]


@pytest.mark.parametrize("limit", ["tokens", "documents"])
def test_a_thousand_long_documents_are_split_until_each_request_is_taken(serve, limit: str):
    def behave(call: Call) -> None:
        tokens = sum(len(text.split()) + len(call.body["query"].split()) for text in call.documents)
        if limit == "tokens" and tokens > 600_000:
            call.reply(400, {"detail": f"Total number of tokens {tokens} exceeds 600000."})
        elif limit == "documents" and len(call.documents) > 100:
            call.reply(400, {"message": "too many documents: at most 100 a request"})
        else:
            call.reply(
                200,
                {
                    "results": [
                        {"index": i, "relevance_score": int(text.split()[-1])} for i, text in enumerate(call.documents)
                    ]
                },
            )

    server = serve(behave)
    reranker = opened("remote:vllm/m", url=server.url, concurrency=1)
    found = margins_of(reranker, LONG)
    np.testing.assert_array_equal(found, np.arange(1000, dtype=np.float32))
    before = len(server.calls)
    margins_of(reranker, LONG)
    if limit == "documents":
        # What it has learnt it keeps: nothing is refused again.
        assert all(len(call.documents) <= 100 for call in server.calls[before:])


def test_a_providers_documented_limits_are_kept_before_anything_is_refused(serve):
    server = serve()
    found = margins_of(opened("remote:voyage/rerank-2.5", url=server.url, key_variable="MY_KEY"), LONG)
    assert len(found) == 1000
    assert len(server.calls) > 1
    for call in server.calls:
        assert sum(tokens_of(text) + tokens_of("what is it") for text in call.documents) <= 600_000


def test_the_user_may_say_how_much_goes_into_a_request(serve):
    server = serve()
    pairs = [(QueryText("q"), DocumentText("", f"{number:03d}" + "x" * 37)) for number in range(10)]
    margins_of(opened("remote:cohere/m", url=server.url, key_variable="MY_KEY", documents_per_request=4), pairs)
    assert sorted(len(call.documents) for call in server.calls) == [2, 4, 4]
    server.calls.clear()
    margins_of(opened("remote:cohere/m", url=server.url, key_variable="MY_KEY", tokens_per_request=33), pairs)
    assert sorted(len(call.documents) for call in server.calls) == [1, 3, 3, 3]


def test_a_document_that_is_too_large_alone_and_other_refusals_are_errors(serve):
    def behave(call: Call) -> None:
        call.reply(400, {"message": "the maximum context length is 512 tokens"})

    server = serve(behave)
    with pytest.raises(HarnessError, match="maximum context length"):
        margins_of(opened("remote:vllm/m", url=server.url, concurrency=1), PAIRS[:2])
    assert [len(call.documents) for call in server.calls] == [2, 1]
    other = serve(lambda call: call.reply(400, {"message": "unknown model m"}))
    with pytest.raises(HarnessError, match="unknown model m"):
        margins_of(opened("remote:vllm/m", url=other.url), PAIRS)
    assert len(other.calls) == 1


# -- fields left out


def test_a_field_that_a_server_refuses_is_named_with_the_way_out_and_left_out(serve):
    def behave(call: Call) -> None:
        if "truncate_prompt_tokens" in call.body:
            call.reply(400, {"message": "extra fields not permitted: truncate_prompt_tokens"})
        else:
            in_words_of("vllm")(call)

    server = serve(behave)
    with pytest.raises(HarnessError, match="--set leave_out=truncate_prompt_tokens leaves that field out"):
        margins_of(opened("remote:vllm/m", url=server.url, concurrency=1), PAIRS)
    without = opened("remote:vllm/m", url=server.url, leave_out="truncate_prompt_tokens")
    np.testing.assert_array_equal(margins_of(without, PAIRS), EXPECTED)
    assert without.spec.fingerprint != opened("remote:vllm/m", url=server.url).spec.fingerprint
    with pytest.raises(HarnessError, match="sends no field truncate that could be left out"):
        opened("remote:vllm/m", url=server.url, leave_out="truncate")


def test_a_server_that_keeps_the_last_tokens_for_any_value_but_minus_1_keeps_all(serve):
    def behave(call: Call) -> None:
        assert call.body["truncate_prompt_tokens"] == -1
        in_words_of("vllm")(call)

    np.testing.assert_array_equal(margins_of(opened("remote:vllm/m", url=serve(behave).url), PAIRS), EXPECTED)


# -- blank documents


def refuse_blanks(call: Call) -> None:
    if not all(text.strip() for text in call.documents):
        call.reply(400, {"message": "documents must not be blank"})
    else:
        call.answer()


def with_blanks(folder: Path) -> Path:
    corpus = folder / "corpus.jsonl"
    rows = [json.loads(line) for line in corpus.read_text().splitlines()]
    rows[0] |= {"title": "", "text": " \n"}
    rows[1] |= {"title": " ", "text": "\u3000\t"}
    write_lines(corpus, [json.dumps(row) for row in rows])
    lines = [f"q{query} Q0 d{number:02d} 1 {9 - number} x" for query in range(6) for number in range(5)]
    write_lines(folder / "given.trec", lines)
    return folder


def test_blank_documents_never_leave_the_machine_and_rank_as_those_without_text(
    serve, collection_folder: Path, cli: Cli
):
    server = serve(refuse_blanks)
    folder = with_blanks(collection_folder)
    words = ("run", folder, "--candidates", folder / "given.trec", "--reranker", "remote:vllm/m", "--set",
             f"url={server.url}", "--format", "json")  # fmt: skip
    refused = cli(*words)
    assert refused.code == 2
    assert "--missing-text skip" in refused.err
    assert server.calls == []
    answer = cli(*words, "--missing-text", "skip")
    assert answer.code == 0, answer.err
    assert all(text.strip() for call in server.calls for text in call.documents)
    assert answer.results()[0]["diagnostics"]["skipped_without_text"] == 12


def test_a_cut_never_makes_a_document_blank_and_a_blank_pair_is_refused(serve):
    server = serve(refuse_blanks)
    margins_of(
        opened("remote:vllm/m", url=server.url, max_chars=3), [(QueryText("q"), DocumentText("", " " * 9 + "amber"))]
    )
    assert server.calls[0].documents == ["amb"]
    with pytest.raises(HarnessError, match="a blank document is not sent"):
        margins_of(opened("remote:vllm/m", url=server.url), [(QueryText("q"), DocumentText(" ", "\n"))])
    assert len(server.calls) == 1


# -- answers without end or measure


def dripping(sent_head: bool) -> Callable[[Call], None]:
    def behave(call: Call) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n"
        if sent_head:
            call.handler.wfile.write(head)
        for sign in b"[" * 4000 if sent_head else head * 10:
            call.handler.wfile.write(bytes([sign]))
            call.handler.wfile.flush()
            time.sleep(0.1)

    return behave


@pytest.mark.parametrize("sent_head", [True, False], ids=["its body", "its head"])
def test_an_answer_that_drips_is_given_up_in_time(serve, sent_head: bool):
    server = serve(dripping(sent_head))
    started = time.monotonic()
    with pytest.raises(HarnessError, match="did not answer in 1 tries") as caught:
        margins_of(opened("remote:vllm/m", url=server.url, timeout=1, tries=1), PAIRS)
    assert time.monotonic() - started < 4
    assert "\n" not in str(caught.value)


def test_an_answer_without_end_is_not_read_to_its_end(serve, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.rerankers.services.transport._MOST_BYTES", 2**20)
    server = serve(lambda call: call.reply(200, b" " * 2**22))
    with pytest.raises(HarnessError, match="the answer has more than 1 MiB"):
        margins_of(opened("remote:vllm/m", url=server.url), PAIRS)
    assert len(server.calls) == 1


DEEP = b'{"results": ' + b"[" * 10_000 + b"]" * 10_000 + b"}"
DIGITS = b'{"results": [{"index": 0, "relevance_score": ' + b"9" * 400 + b"}]}"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (DEEP, "nested too deep"),
        (DIGITS, "scored inf for query q0, document d"),
        (DIGITS.replace(b"9" * 400, b"-" + b"9" * 400), "scored -inf for query q0, document d"),
        (DIGITS.replace(b"9" * 400, b"1e999"), "scored inf for query q0, document d"),
        (DIGITS.replace(b"9" * 400, b"9" * 5000), "scored inf for query q0, document d"),
        (DIGITS.replace(b'"index": 0', b'"index": ' + b"9" * 400), "a result has the index inf"),
        (DIGITS.replace(b"9" * 400, b'"' + b"9" * 400 + b'"'), "which is not a number"),
    ],
    ids=["deep", "400 digits", "minus 400 digits", "1e999", "5000 digits", "an index", "a text"],
)
def test_an_answer_beyond_measure_is_one_line(serve, collection_folder: Path, cli: Cli, answer: bytes, said: str):
    server = serve(lambda call: call.reply(200, answer))
    found = cli(
        "run",
        collection_folder,
        "--top-k",
        "1",
        "--limit",
        "1",
        "--reranker",
        "remote:vllm/m",
        "--set",
        f"url={server.url}",
        "--set",
        "tries=1",
    )
    assert found.code == 2
    assert said in found.err
    assert "Traceback" not in found.err
    assert max(map(len, found.err.splitlines())) < 500


# -- cost


def priced(folder: Path, server: Server, *more: str) -> tuple[object, ...]:
    return ("run", folder, "--reranker", "remote:vllm/m", "--set", f"url={server.url}", "--set", "revision=1", "--top-k",
            "4", "--set", "price_per_million_tokens=1000", "--format", "json", *more)  # fmt: skip


def test_a_run_says_what_was_billed_and_what_it_cost(serve, collection_folder: Path, cli: Cli):
    server = serve(in_words_of("vllm", usage={"total_tokens": 50}))
    answer = cli(*priced(collection_folder, server))
    assert answer.code == 0, answer.err
    bill = answer.results()[0]["performance"]["billed"]
    assert len(server.calls) == 6
    seconds = bill.pop("request_seconds")
    assert 0 < seconds["p50"] <= seconds["p95"] <= seconds["p99"] < 5
    assert bill == {
        "requests": 6, "retries": 0, "documents": 24, "tokens": 300, "estimated": False, "cost": pytest.approx(0.3),
        "cost_per_1000_queries": pytest.approx(50), "cost_of_all_pairs": pytest.approx(0.3),
    }  # fmt: skip
    assert (
        "6 requests, 24 documents, 300 tokens; cost 0.3000, 0.3000 for all pairs, 50.0000 a 1,000 queries" in answer.err
    )
    deeper = cli(*priced(collection_folder, server, "--top-k", "8"))
    bill = deeper.results()[0]["performance"]["billed"]
    assert bill["documents"] == 24
    assert bill["cost_of_all_pairs"] == pytest.approx(2 * bill["cost"])


def test_a_service_is_measured_by_its_requests_and_never_says_what_it_cannot_know(
    serve, collection_folder: Path, cli: Cli, tmp_path: Path
):
    answered = in_words_of("vllm", usage={"total_tokens": 50})

    def behave(call: Call) -> None:
        if call.number == 2:
            call.reply(503, "busy", Retry_After="0")
            return
        time.sleep(0.05)
        answered(call)

    words = priced(collection_folder, serve(behave))[:-2]
    first = cli(*words)
    assert first.code == 0, first.err
    assert "service: 6 requests, 1 retry, 24 documents, 300 tokens; cost 0.3000" in first.out
    seen = re.search(r"a request takes (\S+) s \(p50\), (\S+) s \(p95\), (\S+) s \(p99\)", " ".join(first.out.split()))
    assert 0.05 <= float(seen[1]) <= float(seen[2]) <= float(seen[3]) < 1
    assert "a query takes" in " ".join(first.out.split())
    assert "truncated" not in first.out
    # A result that is read says the same, and so do the report and the board.
    assert seen[0] in " ".join(cli(*words).out.split())
    report = tmp_path / "report.html"
    assert cli("report", "remote:vllm/m", "--output", report).code == 0
    assert "6 requests, 1 retry, 24 documents, 300 tokens" in report.read_text()
    board = ["title: Mine", f"tasks: [{collection_folder}]", "results: [results]", "rerankers: ['remote:*']"]
    write_lines(tmp_path / "boards" / "mine.yaml", board)
    assert cli("leaderboard", "--folder", "boards").code == 0
    table = (tmp_path / "boards" / "mine.md").read_text()
    assert "| request p50 / p95 / p99, s | cost a 1,000 queries |" in table
    assert " | 50 |" in table
    assert "AMD" not in table
    assert "the service at 127.0.0.1" in table


def test_what_was_cut_before_it_was_sent_is_the_least_that_was_cut(serve, collection_folder: Path, cli: Cli):
    server = serve(in_words_of("vllm"))
    answer = cli(*priced(collection_folder, server)[:-2], "--set", "max_chars=5")
    assert re.search(r"at least \d+\.\d% of pairs truncated", answer.out)


def test_as_many_requests_are_sent_as_the_dry_run_said(serve, collection_folder: Path, cli: Cli):
    server = serve(in_words_of("vllm"))
    words = priced(collection_folder, server, "--set", "documents_per_request=3")
    assert cli("run", collection_folder, "--top-k", "4").code == 0
    # A batch that ended inside a query would send the query's rest as a request more.
    words = (*words, "--batch-tokens", "6")
    plan = json.loads(cli(*words, "--dry-run").out)["plan"][0]
    assert plan["requests"] == 12
    assert cli(*words).results()[0]["performance"]["billed"]["requests"] == len(server.calls) == 12
    table = cli(*words[:-4], "--set", "revision=2", "--dry-run", "--format", "text").out
    assert re.search(r"requests +cost +per 1,000\n", table)


def test_without_a_price_there_is_no_money_and_without_a_count_an_estimate(serve, collection_folder: Path, cli: Cli):
    server = serve(in_words_of("sglang"))
    answer = cli(
        "run",
        collection_folder,
        "--top-k",
        "4",
        "--reranker",
        "remote:sglang/m",
        "--set",
        f"url={server.url}",
        "--format",
        "json",
    )
    bill = answer.results()[0]["performance"]["billed"]
    assert bill["estimated"]
    assert bill["tokens"] > 0
    assert "cost" not in bill


def test_search_units_are_counted_as_they_are_billed(serve, collection_folder: Path, cli: Cli):
    server = serve(in_words_of("cohere", meta={"billed_units": {"search_units": 1}}))
    answer = cli(
        "run",
        collection_folder,
        "--top-k",
        "4",
        "--reranker",
        "remote:cohere/m",
        "--set",
        f"url={server.url}",
        "--set",
        "key_variable=MY_KEY",
        "--set",
        "price_per_thousand_units=2",
        "--format",
        "json",
    )
    bill = answer.results()[0]["performance"]["billed"]
    assert (bill["units"], bill["cost"], bill["estimated"]) == (6, pytest.approx(0.012), False)


def test_a_dry_run_says_what_it_will_cost_and_sends_nothing(
    serve, collection_folder: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
):
    server = serve(in_words_of("vllm"))
    words = priced(collection_folder, server)
    assert cli("run", collection_folder, "--top-k", "2").code == 0
    sampled = json.loads(cli(*words, "--dry-run").out)["plan"][0]
    assert sampled["pairs"] == 24
    assert sampled["cost"] == pytest.approx(sampled["tokens"] / 1000)
    assert sampled["cost_per_1000_queries"] == pytest.approx(sampled["cost"] / 6 * 1000)
    assert server.calls == []
    assert cli("run", collection_folder, "--top-k", "4").code == 0
    counted = json.loads(cli(*words, "--dry-run").out)["plan"][0]
    assert counted["pairs"] == 24
    assert counted["from_store"] == 0
    assert counted["cost"] == pytest.approx(counted["tokens"] / 1000)
    assert server.calls == []
    answer = cli(*words)
    assert answer.results()[0]["performance"]["billed"]["tokens"] == counted["tokens"]
    monkeypatch.delenv("MY_KEY")
    table = cli(*priced(collection_folder, server, "--top-k", "8", "--set", "key_variable=MY_KEY")[:-2], "--dry-run")
    assert table.code == 0, table.err


@pytest.mark.parametrize("price", ["free", "-1", "nan", "inf"])
def test_a_price_that_is_none_is_told(price: str):
    with pytest.raises(HarnessError, match="an amount of money"):
        opened("remote:cohere/m", price_per_million_tokens=price)


def test_prices_and_limits_move_no_key():
    plain = opened("remote:cohere/m").spec.fingerprint
    for name in ("price_per_million_tokens", "price_per_thousand_units", "documents_per_request", "tokens_per_request"):
        assert opened("remote:cohere/m", **{name: 7}).spec.fingerprint == plain


def test_tokens_are_about_four_letters_or_one_sign_of_other_scripts():
    assert tokens_of("abcd" * 10) == 10
    assert 10 <= tokens_of("春" * 10) <= 13
    assert tokens_of("") == 0
