"""The verb `run`, end to end, on a small real collection with real BM25 and a counting plug-in."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import DATA, Cli, Counter, make_counter, write_collection, write_lines

CROSS_ENCODER = DATA / "models" / "cross-encoder"


def test_a_run_prints_the_table_and_writes_one_result(cli: Cli, collection_folder: Path, counter: Counter):
    answer = cli("run", collection_folder, "--reranker", counter.name)
    assert answer.code == 0
    for word in ("first stage", "reranked", "oracle", "difference", "95 % interval", "R@100", "nDCG@10", "birds"):
        assert word in answer.out
    written = list(Path("results").rglob("*.json"))
    assert len(written) == 1
    assert str(written[0]) in answer.out


def test_json_is_one_object_with_the_agreed_fields(cli: Cli, collection_folder: Path, counter: Counter):
    answer = cli("run", collection_folder, "--reranker", counter.name, "--format", "json", "--top-k", 7)
    (result,) = answer.results()
    assert {k: result[k] for k in ("task", "subset", "retriever", "top_k", "queries")} == {
        "task": "birds",
        "subset": "default",
        "retriever": "bm25",
        "top_k": 7,
        "queries": 6,
    }
    row = result["measures"]["nDCG@10"]
    assert set(row) == {"first_stage", "reranked", "oracle", "difference", "low", "high", "p"}
    assert row["difference"] == pytest.approx(row["reranked"] - row["first_stage"], abs=1e-12)
    assert row["low"] <= row["difference"] <= row["high"]
    assert 0 < row["p"] <= 1
    assert row["oracle"] >= max(row["first_stage"], row["reranked"])
    assert next(iter(result["measures"])) == "nDCG@10"


def test_the_same_command_again_computes_nothing(cli: Cli, collection_folder: Path, counter: Counter):
    first = cli("run", collection_folder, "--reranker", counter.name, "--format", "json")
    counter.reset()
    again = cli("run", collection_folder, "--reranker", counter.name, "--format", "json")
    assert counter.pairs() == []
    assert again.results()[0]["reused"]
    assert again.results()[0]["measures"] == first.results()[0]["measures"]


def test_a_deeper_run_scores_only_what_is_new(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name, "--top-k", 3)
    first = set(counter.pairs())
    counter.reset()
    answer = cli("run", collection_folder, "--reranker", counter.name, "--top-k", 6)
    second = counter.pairs()
    assert len(first) == 18
    assert second
    assert not first & set(second)
    assert len(second) == len(set(second))
    assert "depth 3 → 6" in answer.err


def test_a_run_computed_in_two_depths_equals_one_computed_at_once(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name, "--top-k", 3)
    grown = cli("run", collection_folder, "--reranker", counter.name, "--top-k", 6, "--format", "json")
    import shutil

    shutil.rmtree("cache")
    shutil.rmtree("results")
    fresh = cli("run", collection_folder, "--reranker", counter.name, "--top-k", 6, "--format", "json")
    assert fresh.results()[0]["measures"] == grown.results()[0]["measures"]


def test_a_lost_results_folder_is_made_again_from_the_store(cli: Cli, collection_folder: Path, counter: Counter):
    first = cli("run", collection_folder, "--reranker", counter.name, "--format", "json")
    counter.reset()
    again = cli("run", collection_folder, "--reranker", counter.name, "--format", "json", "--results", "elsewhere")
    assert counter.pairs() == []
    assert not again.results()[0]["reused"]
    assert again.results()[0]["measures"] == first.results()[0]["measures"]


def test_changed_data_is_noticed_and_only_new_texts_are_scored(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    counter.reset()
    corpus = collection_folder / "corpus.jsonl"
    lines = corpus.read_text().splitlines()
    changed = {**json.loads(lines[3]), "text": "delta ember fjord and a new ending"}
    write_lines(corpus, [*lines[:3], json.dumps(changed), *lines[4:]])
    answer = cli("run", collection_folder, "--reranker", counter.name)
    assert "dataset revision" in answer.err
    assert counter.pairs()
    assert all("a new ending" in pair for pair in counter.pairs())


def test_changed_model_files_are_noticed_and_scored_again(cli: Cli, collection_folder: Path, tmp_path: Path):
    import shutil

    model = tmp_path / "model"
    shutil.copytree(CROSS_ENCODER, model)
    first = cli("run", collection_folder, "--reranker", model, "--format", "json").results()[0]
    from safetensors.numpy import load_file, save_file

    weights = load_file(model / "model.safetensors")
    weights["classifier.weight"] = -weights["classifier.weight"]
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    answer = cli("run", collection_folder, "--reranker", model, "--format", "json")
    assert "model files" in answer.err
    assert answer.results()[0]["path"] != first["path"]
    assert answer.results()[0]["measures"]["nDCG@10"]["reranked"] != first["measures"]["nDCG@10"]["reranked"]


def test_a_changed_setting_is_noticed_and_has_its_own_path(cli: Cli, collection_folder: Path):
    first = cli("run", collection_folder, "--reranker", CROSS_ENCODER, "--format", "json").results()[0]
    answer = cli("run", collection_folder, "--reranker", CROSS_ENCODER, "--set", "max_length=16", "--format", "json")
    assert "max_length 512 → 16" in answer.err
    (second,) = answer.results()
    assert second["path"] != first["path"]
    assert second["diagnostics"]["truncated_pairs"] > 0


def test_a_measure_that_was_not_stored_is_added_from_stored_scores(cli: Cli, collection_folder: Path, counter: Counter):
    cli("run", collection_folder, "--reranker", counter.name)
    counter.reset()
    answer = cli("run", collection_folder, "--reranker", counter.name, "--measures", "Success@3", "--format", "json")
    assert counter.pairs() == []
    assert "Success@3 was not measured" in answer.err
    assert {"Success@3", "nDCG@10"} <= set(answer.results()[0]["measures"])


def test_several_rerankers_share_the_candidates(cli: Cli, collection_folder: Path, counter: Counter):
    answer = cli("run", collection_folder, "--reranker", counter.name, "--reranker", CROSS_ENCODER, "--format", "json")
    first, second = answer.results()
    assert first["reranker"] != second["reranker"]
    assert first["measures"]["nDCG@10"]["first_stage"] == second["measures"]["nDCG@10"]["first_stage"]
    assert len(list(Path("cache/candidates").iterdir())) == 1


def test_limit_takes_the_first_queries_and_says_so_in_the_name(cli: Cli, collection_folder: Path, counter: Counter):
    (result,) = cli("run", collection_folder, "--reranker", counter.name, "--limit", 2, "--format", "json").results()
    assert result["queries"] == 2
    assert ".first2.json" in result["path"]
    assert {pair.split("\t")[0] for pair in counter.pairs()} == {"amber birch", "birch cedar"}


def test_without_a_reranker_the_first_stage_has_its_own_result(cli: Cli, collection_folder: Path):
    (result,) = cli("run", collection_folder, "--format", "json").results()
    assert result["reranker"] is None
    assert result["measures"]["nDCG@10"]["reranked"] is None
    assert "first-stage" in result["path"]


def test_a_run_file_is_taken_as_first_stage_and_cut(cli: Cli, collection_folder: Path, counter: Counter):
    write_lines(Path("mine.trec"), [f"q{q} Q0 d{d:02d} {d + 1} {10 - d} x" for q in range(6) for d in range(8)])
    (result,) = cli(
        "run", collection_folder, "--candidates", "mine.trec", "--top-k", 4, "--reranker", counter.name,
        "--format", "json",
    ).results()  # fmt: skip
    assert result["retriever"] == "mine"
    assert len(counter.pairs()) == 24


def test_saved_runs_are_trec_runs_of_candidates_and_ranking(cli: Cli, collection_folder: Path, counter: Counter):
    from harness.data.trec import read_run

    cli("run", collection_folder, "--reranker", counter.name, "--top-k", 5, "--save-runs", "runs")
    saved = sorted(Path("runs").rglob("*.trec"))
    assert len(saved) == 2
    first, reranked = (
        read_run(next(path for path in saved if ("first-stage" in str(path)) is stage)) for stage in (True, False)
    )
    assert {q: set(docs) for q, docs in first.items()} == {q: set(docs) for q, docs in reranked.items()}
    scores = list(reranked["q0"].values())
    assert all(before >= after for before, after in pairwise(scores))


def test_fusion_is_the_sum_of_reciprocal_ranks(cli: Cli, collection_folder: Path):
    from harness.data.trec import read_run

    write_lines(Path("a.trec"), [f"q{q} Q0 d00 1 2 a\nq{q} Q0 d01 2 1 a" for q in range(6)])
    write_lines(Path("b.trec"), [f"q{q} Q0 d01 1 2 b\nq{q} Q0 d02 2 1 b" for q in range(6)])
    answer = cli(
        "run", collection_folder, "--candidates", "a.trec", "--candidates", "b.trec", "--fuse", "--save-runs", "runs"
    )
    assert answer.code == 0
    (path,) = Path("runs").rglob("*.trec")
    assert read_run(path)["q3"] == pytest.approx({"d00": 1 / 61, "d01": 1 / 62 + 1 / 61, "d02": 1 / 62})


def test_a_query_without_candidates_counts_as_zero_and_is_reported(cli: Cli, collection_folder: Path):
    write_lines(Path("few.trec"), [f"q{q} Q0 d{q:02d} 1 1 x" for q in range(5)])
    answer = cli("run", collection_folder, "--candidates", "few.trec", "--measures", "RR@10", "--format", "json")
    (result,) = answer.results()
    assert result["measures"]["RR@10"]["first_stage"] == pytest.approx(5 / 6)
    assert result["diagnostics"]["missing_queries"] == ["q5"]


def test_documents_without_text_are_an_error_that_counts_them(cli: Cli, collection_folder: Path, counter: Counter):
    write_lines(
        Path("odd.trec"), [f"q{q} Q0 {d} {r} {9 - r} x" for q in range(6) for r, d in enumerate(("d00", "zz", "d01"))]
    )
    answer = cli("run", collection_folder, "--candidates", "odd.trec", "--reranker", counter.name)
    assert answer.code == 2
    assert "1 candidates of odd have no text" in answer.err
    assert "--missing-text skip" in answer.err


def test_skipped_documents_stay_below_every_scored_one_in_their_order(
    cli: Cli, collection_folder: Path, counter: Counter
):
    from harness.data.trec import read_run

    order = ("no2", "d00", "no1", "d01")
    write_lines(Path("odd.trec"), [f"q{q} Q0 {d} {r} {9 - r} x" for q in range(6) for r, d in enumerate(order)])
    answer = cli(
        "run", collection_folder, "--candidates", "odd.trec", "--reranker", counter.name, "--missing-text", "skip",
        "--save-runs", "runs", "--format", "json",
    )  # fmt: skip
    (result,) = answer.results()
    assert result["diagnostics"]["skipped_without_text"] == 12
    assert "skip-missing-text" in result["path"]
    (path,) = (path for path in Path("runs").rglob("*.trec") if "first-stage" not in str(path))
    assert list(read_run(path)["q0"])[2:] == ["no2", "no1"]


def test_an_undeclared_plugin_is_scored_again_and_says_why(cli: Cli, collection_folder: Path, tmp_path, monkeypatch):
    counter = make_counter(tmp_path, monkeypatch, "")
    cli("run", collection_folder, "--reranker", counter.name)
    pairs = sorted(counter.pairs())
    counter.reset()
    answer = cli("run", collection_folder, "--reranker", counter.name)
    assert sorted(counter.pairs()) == pairs
    assert "declares neither fingerprint nor revision" in answer.err


def test_relevance_level_changes_binary_measures_alone(cli: Cli, collection_folder: Path):
    plain = cli("run", collection_folder, "--format", "json").results()[0]
    strict = cli("run", collection_folder, "--format", "json", "--relevance-level", 2).results()[0]
    assert strict["measures"]["nDCG@10"] == plain["measures"]["nDCG@10"]
    assert strict["measures"]["MAP@100"] != plain["measures"]["MAP@100"]
    assert strict["path"] != plain["path"]


def test_identical_ids_leave_before_the_cut(cli: Cli, tmp_path: Path):
    folder = write_collection(tmp_path / "twins", queries=4)
    rows = [json.loads(line) for line in (folder / "queries.jsonl").read_text().splitlines()]
    write_lines(folder / "queries.jsonl", [json.dumps({**row, "_id": f"d0{i}"}) for i, row in enumerate(rows)])
    judged = (folder / "qrels" / "test.tsv").read_text().replace("q", "d0").replace("d0uery-id", "query-id")
    (folder / "qrels" / "test.tsv").write_text(judged)
    (folder / "task.yaml").write_text("identical_ids: drop\nlanguages: [eng-Latn]\n")
    cli("run", folder, "--top-k", 3, "--save-runs", "runs")
    from harness.data.trec import read_run

    (path,) = Path("runs").rglob("*.trec")
    run = read_run(path)
    assert all(query_id not in scores and len(scores) == 3 for query_id, scores in run.items())


def test_two_folders_of_one_name_never_share_a_result(cli: Cli, tmp_path: Path):
    one = write_collection(tmp_path / "a" / "birds")
    two = write_collection(tmp_path / "b" / "birds", documents=20)
    first, second = cli("run", one, two, "--format", "json").results()
    assert first["path"] != second["path"]


def test_without_instructions_the_model_sees_none_and_the_result_has_its_own_path(cli: Cli, counter: Counter):
    words = ["run", "DemoInstructions", "--reranker", counter.name, "--limit", 2, "--format", "json"]
    (given,) = cli(*words).results()
    texts = {pair.split("\t")[0] for pair in counter.pairs()}
    counter.reset()
    (bare,) = cli(*words, "--instructions", "none").results()
    bare_texts = {pair.split("\t")[0] for pair in counter.pairs()}
    assert len(texts) == 4
    assert len(bare_texts) == 2
    assert all(any(text.startswith(bare) and text != bare for text in texts) for bare in bare_texts)
    assert bare["path"] != given["path"]
    assert bare["measures"]["p-MRR"]["reranked"] == 0.0
    assert cli(*words, "--instructions", "none").results()[0]["reused"]


def test_rehash_reaches_run_files_and_data_folders(cli: Cli, collection_folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("harness.files.cache._SETTLED_NS", -1)
    monkeypatch.setattr("harness.files.cache._distrusted", -1)
    Path("own.trec").write_text("q0 Q0 d00 1 2 x\nq0 Q0 d01 2 1 x\n")
    words = ("run", collection_folder, "--candidates", "own.trec", "--format", "json")
    right = cli(*words).results()
    memories = list(Path("cache/digests").glob("*.json"))
    assert len(memories) >= 4  # the run file, corpus, queries, qrels
    for memory in memories:
        known = json.loads(memory.read_text())
        memory.write_text(json.dumps({**known, "digest": "0" * 32}))
    assert cli(*words, "--results", "misled").results()[0]["path"] != right[0]["path"]
    again = cli(*words, "--rehash", "--results", "again").results()
    assert Path(again[0]["path"]).name == Path(right[0]["path"]).name
    assert all("0" * 32 not in memory.read_text() for memory in memories)
