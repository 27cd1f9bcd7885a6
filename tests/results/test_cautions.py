"""Warnings: each one raised by a real run over real files, and none by a run that deserves none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import DATA, ROOT, WORDS, Cli, write_collection, write_lines

from harness.engine.progress import Pace
from harness.errors import HarnessError
from harness.results.cautions import CODES, Caution, cautions_of, check_codes, explained, listed, selected
from harness.results.result import load_result

CROSS_ENCODER = DATA / "models" / "cross-encoder"

PLUGIN = """
import numpy as np

WORDS = {words}


class Mine:
    fingerprint = "mine"

    def predict(self, pairs):
        return [score(query, document) for query, document in pairs]


def shared(query, document):
    return len(set(query.split()) & set(document.split()))


def score(query, document):
    return {score}


mine = Mine()
"""

Seen = Callable[..., dict[str, str]]


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """A collection in which every document is judged for every query."""
    folder = write_collection(tmp_path / "birds", documents=24, queries=10)
    lines = (folder / "qrels" / "test.tsv").read_text().splitlines()
    known = {tuple(line.split("\t")[:2]) for line in lines[1:]}
    more = [f"q{q}\td{d:02d}\t0" for q in range(10) for d in range(24) if (f"q{q}", f"d{d:02d}") not in known]
    write_lines(folder / "qrels" / "test.tsv", lines + more)
    return folder


@pytest.fixture
def seen(cli: Cli) -> Seen:
    """Run, and give back code → what was seen; as printed, as stored, and as derived anew from the file."""

    def run(*words: object) -> dict[str, str]:
        answer = cli("run", *words, "--format", "json")
        assert answer.code == 0, answer.err
        (entry,) = answer.results()
        result = load_result(Path(entry["path"]))
        stored = {each["code"]: each["what"] for each in entry["diagnostics"]["cautions"]}
        assert stored == {each.code: each.what for each in cautions_of(result)}
        printed = [line for line in answer.err.splitlines() if ": RH" in line]
        assert len(printed) == len(stored)
        for line, (code, what) in zip(printed, stored.items(), strict=True):
            assert f"{code} {what} (explain {code})" in line
        return stored

    return run


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], str]:
    def make(score: str) -> str:
        write_lines(tmp_path / "mine.py", [PLUGIN.format(score=score, words=WORDS)])
        return f"{tmp_path / 'mine.py'}:mine"

    return make


GOOD = "int(document.split()[-1]) / 1000 - abs(int(document.split()[-1]) - WORDS.index(query.split()[0]))"
"""The number of the document against that of the query's first word: the relevant ones come first."""


def test_a_run_that_deserves_no_warning_gets_none(seen: Seen, birds: Path, plugin):
    assert seen(birds, "--reranker", plugin(GOOD)) == {}


def test_rh001_many_ties(seen: Seen, birds: Path, plugin):
    found = seen(birds, "--reranker", plugin("shared(query, document)"))
    assert "%" in found["RH001"]


def test_rh002_many_truncated_pairs(seen: Seen, birds: Path):
    assert "of pairs were truncated" in seen(birds, "--reranker", CROSS_ENCODER, "--set", "max_length=16")["RH002"]


def test_rh003_queries_without_candidates(seen: Seen, birds: Path):
    write_lines(Path("few.trec"), [f"q{q} Q0 d{(q + d):02d} 1 {9 - d} x" for q in range(8) for d in range(3)])
    assert seen(birds, "--candidates", "few.trec")["RH003"].startswith("2 of 10 judged queries")


def test_rh004_documents_with_the_querys_own_id(seen: Seen, birds: Path):
    for file in ("queries.jsonl", "qrels/test.tsv"):
        text = (birds / file).read_text()
        (birds / file).write_text(text.replace('"q', '"d0').replace("\nq", "\nd0"))
    assert seen(birds)["RH004"] == "10 queries have a document with their own id among the candidates"


def test_rh005_constant_scores(seen: Seen, birds: Path, plugin):
    found = seen(birds, "--reranker", plugin("1.0"))
    assert found["RH005"].startswith("10 of 10 queries")
    assert "RH001" in found


def judging(folder: Path, documents: int) -> Path:
    """The folder with as many judgements of each query as `documents`, the relevant ones first."""
    lines = [f"q{i}\td{(i + step) % 24:02d}\t{max(0, 2 - step)}" for i in range(6) for step in range(documents)]
    write_lines(folder / "qrels" / "test.tsv", ["query-id\tcorpus-id\tscore", *lines])
    return folder


def test_rh006_unjudged_documents_in_the_top_10(seen: Seen, collection_folder: Path, plugin):
    backwards = plugin("int(document.split()[-1])")
    assert "have no judgement" in seen(judging(collection_folder, 9), "--reranker", backwards)["RH006"]


def test_rh006_is_not_raised_by_data_with_few_judgements_a_query(seen: Seen, collection_folder: Path, plugin):
    assert "RH006" not in seen(judging(collection_folder, 1), "--reranker", plugin(GOOD))


def test_rh032_documents_without_any_text(seen: Seen, birds: Path):
    rows = [json.loads(line) for line in (birds / "corpus.jsonl").read_text().splitlines()]
    rows += [
        {"_id": "x1", "title": "", "text": " \n"},
        {"_id": "x2", "text": ""},
        {"_id": "x3", "title": "A title", "text": ""},
    ]
    write_lines(birds / "corpus.jsonl", [json.dumps(row) for row in rows])
    assert seen(birds)["RH032"] == "2 documents of the corpus have no text at all"


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (1, "1 query: whatever the values, p is 1 or more, so no difference can be told from chance"),
        (5, "5 queries: whatever the values, p is 0.0625 or more, so no difference can be told from chance"),
        (8, "8 queries: p is 0.00781 or more, and the interval of nDCG@10 is "),
    ],
)
def test_rh041_few_queries(seen: Seen, birds: Path, plugin, limit, told):
    found = seen(birds, "--reranker", plugin("int(document.split()[-1])"), "--limit", limit)["RH041"]
    assert found.startswith(told)


def test_rh041_of_a_first_stage_says_what_one_query_moves(seen: Seen, birds: Path):
    assert seen(birds, "--limit", 4)["RH041"] == "4 queries: the value of one of them moves a mean by up to 0.25"


def test_rh041_is_not_raised_from_nine_queries_on(seen: Seen, birds: Path):
    assert "RH041" not in seen(birds, "--limit", 9)
    assert "RH041" in seen(birds, "--limit", 8)


def test_another_file_of_candidates_is_no_change_of_the_first(cli: Cli, birds: Path, plugin, tmp_path: Path):
    for name in ("first", "second"):
        write_lines(tmp_path / f"{name}.trec", [f"q{i} Q0 d{i:02d} 1 {len(name)} x" for i in range(6)])
    for reranker in ([], ["--reranker", plugin(GOOD)]):
        assert "changed" not in cli("run", birds, "--candidates", "first.trec", *reranker).err
        assert "changed" not in cli("run", birds, "--candidates", "second.trec", *reranker).err
    write_lines(tmp_path / "first.trec", [f"q{i} Q0 d{i + 1:02d} 1 1 x" for i in range(6)])
    assert "changed since the last result: retriever's file" in cli("run", birds, "--candidates", "first.trec").err


HEADLESS = """
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class Mine:
    fingerprint = "headless"

    def predict(self, pairs):
        folder = {folder!r}
        model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=1)
        tokens = AutoTokenizer.from_pretrained(folder)(
            [list(pair) for pair in pairs], padding=True, truncation=True, max_length=32, return_tensors="pt"
        )
        return model(**tokens).logits[:, 0].detach()


mine = Mine()
"""


def test_rh007_newly_initialised_weights(seen: Seen, birds: Path, tmp_path: Path):
    from safetensors.numpy import load_file, save_file

    folder = tmp_path / "base-model"
    shutil.copytree(CROSS_ENCODER, folder)
    weights = {name: w for name, w in load_file(folder / "model.safetensors").items() if "classifier" not in name}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    write_lines(tmp_path / "mine.py", [HEADLESS.format(folder=str(folder))])
    assert "classifier.weight" in seen(birds, "--reranker", f"{tmp_path / 'mine.py'}:mine")["RH007"]


def test_rh008_saturated_probabilities(seen: Seen, birds: Path, plugin):
    found = seen(birds, "--reranker", plugin("float(1 / (1 + np.exp(-np.float16(5 * shared(query, document) - 1))))"))
    assert "0.999 or more" in found["RH008"]


def test_rh009_low_recall_of_the_candidates(seen: Seen, birds: Path):
    assert seen(birds, "--top-k", 1)["RH009"].startswith("R@100 of the candidates is 0.")


def test_rh010_a_language_without_an_analyzer(seen: Seen, birds: Path):
    write_lines(birds / "task.yaml", ["languages: [ukr-Cyrl]"])
    assert "no analyzer for the language ukr-Cyrl" in seen(birds)["RH010"]


def test_rh011_a_model_that_does_not_know_the_language(seen: Seen):
    found = seen("DemoChinese", "--reranker", CROSS_ENCODER, "--limit", 2, "--top-k", 5)
    assert "does not know zho-Hans" in found["RH011"]


def test_rh011_is_not_raised_by_the_models_own_language(seen: Seen):
    assert "RH011" not in seen("DemoEnglish", "--reranker", CROSS_ENCODER, "--limit", 2, "--top-k", 5)


def test_rh012_a_tokenizer_that_the_library_builds(seen: Seen, birds: Path, tmp_path: Path):
    folder = tmp_path / "no-tokenizer-json"
    shutil.copytree(CROSS_ENCODER, folder)
    pieces = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "tokenizer.json").unlink()
    write_lines(folder / "vocab.txt", sorted(pieces, key=pieces.__getitem__))
    assert "of transformers 5" in seen(birds, "--reranker", folder)["RH012"]


DEAF = """
def rank(query, documents, instruction):
    return [len(set(query.split()) & set(text.split())) + len(text) / 1000 for text in documents]


rank.fingerprint = "deaf"
"""


def test_rh013_instructions_that_change_nothing(seen: Seen, tmp_path: Path):
    write_lines(tmp_path / "deaf.py", [DEAF])
    found = seen("DemoInstructions", "--reranker", f"{tmp_path / 'deaf.py'}:rank")
    assert found["RH013"].startswith("100% of queries get the same scores")


def test_rh013_is_not_raised_where_the_instruction_is_read(seen: Seen, tmp_path: Path):
    write_lines(tmp_path / "deaf.py", [DEAF.replace("query.split()", "(query + instruction).split()")])
    assert "RH013" not in seen("DemoInstructions", "--reranker", f"{tmp_path / 'deaf.py'}:rank")


def test_rh014_candidates_without_text(seen: Seen, birds: Path, plugin):
    write_lines(Path("odd.trec"), [f"q{q} Q0 {d} 1 {s} x" for q in range(10) for s, d in enumerate(("d00", "zz"))])
    found = seen(birds, "--candidates", "odd.trec", "--missing-text", "skip", "--reranker", plugin(GOOD))
    assert found["RH014"].startswith("10 candidates have no text")


def test_rh015_and_rh016_a_ranking_the_wrong_way_round(seen: Seen, birds: Path, plugin):
    found = seen(birds, "--reranker", plugin(f"-({GOOD})"))
    assert "reranking lowers nDCG@10" in found["RH015"]
    assert "with the ranking turned round" in found["RH016"]


def test_rh017_judged_documents_that_the_corpus_lacks(seen: Seen, birds: Path):
    with (birds / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\tgone\t2\nq2\tgone too\t1\n")
    assert seen(birds)["RH017"] == "2 judgements are of documents that the corpus lacks"


# -- lists of the user


def test_a_result_read_again_warns_again(cli: Cli, birds: Path, plugin):
    words = ["run", birds, "--reranker", plugin("1.0")]
    first, again = cli(*words), cli(*words)
    assert "RH005" in first.err
    assert first.err == again.err


@pytest.mark.parametrize(
    ("table", "printed"),
    [
        ("", {"RH001", "RH005"}),
        ('ignore = ["RH005"]', {"RH001"}),
        ('select = ["RH005"]', {"RH005"}),
        ('ignore = ["RH"]', set()),
        ('select = ["RH005"]\nignore = ["RH"]', {"RH005"}),
        ('select = ["RH"]\nignore = ["RH00"]', set()),
    ],
)
def test_the_file_selects_and_ignores_what_is_printed_but_not_what_is_stored(
    cli: Cli, birds: Path, plugin, table, printed
):
    write_lines(Path("rerank-harness.toml"), ["[warnings]", table])
    answer = cli("run", birds, "--reranker", plugin("1.0"), "--format", "json")
    assert {code for code in CODES if f": {code} " in answer.err} & {"RH001", "RH005"} == printed
    assert "RH005" in {each["code"] for each in answer.results()[0]["diagnostics"]["cautions"]}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["[warnings]", 'ignore = ["RH999"]'], 'there is no warning "RH999"'),
        (["[warnings]", 'ignored = ["RH001"]'], 'select and ignore, not "ignored"'),
        (["[warnings]", 'ignore = "RH001"'], "lists of codes"),
        (['warnings = "all"'], "is a table"),
    ],
)
def test_a_mistake_in_the_table_is_one_line_with_its_place(cli: Cli, birds: Path, lines, said):
    write_lines(Path("rerank-harness.toml"), lines)
    answer = cli("run", birds)
    assert answer.code == 2
    (line,) = answer.err.splitlines()
    assert said in line
    assert "rerank-harness.toml, line 1" in line


def test_the_table_stands_beside_a_whole_run_in_the_same_file(cli: Cli, birds: Path):
    lines = [f'tasks = ["{birds}"]', "top-k = 1", "[warnings]", 'select = ["RH009"]']
    write_lines(Path("rerank-harness.toml"), lines)
    answer = cli("run")
    assert answer.code == 0
    assert "RH009" in answer.err


def test_the_longer_entry_decides():
    cautions = [Caution("RH001", ""), Caution("RH010", ""), Caution("RH011", "")]
    kept = selected(cautions, select=["RH", "RH010"], ignore=["RH01"])
    assert [each.code for each in kept] == ["RH001", "RH010"]


# -- explain


def test_every_code_has_its_texts_and_every_text_its_code():
    texts = yaml.safe_load((ROOT / "harness" / "results" / "cautions.yaml").read_text(encoding="utf-8"))
    assert list(texts) == list(CODES)
    for text in texts.values():
        assert set(text) == {"title", "means", "matters", "do"}
        assert all(len(part) > 40 for key, part in text.items() if key != "title")


def test_explain_says_what_why_and_what_to_do(cli: Cli):
    answer = cli("explain", "rh009")
    assert answer.code == 0
    for word in ("RH009: low recall", "What it means", "Why it matters", "What to do", "--top-k 200"):
        assert word in answer.out


def test_explain_without_a_code_lists_them_all(cli: Cli):
    assert [line.split()[0] for line in cli("explain").out.splitlines()] == list(CODES)
    assert listed().count("\n") == len(CODES) - 1


@pytest.mark.parametrize("word", ["RH999", "ties", "RH00"])
def test_explain_refuses_what_is_no_code(cli: Cli, word):
    answer = cli("explain", word)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1
    with pytest.raises(HarnessError):
        explained(word)


def test_codes_are_read_in_any_case():
    assert check_codes(["rh001", "rh"], "here") == ("RH001", "RH")


# -- what the rules look at


def test_the_depth_curve_is_that_of_runs_at_each_depth(cli: Cli, plugin):
    words = [
        "run",
        "DemoEnglish",
        "--reranker",
        plugin("shared(query, document) + len(document) / 1e6"),
        "--format",
        "json",
    ]
    (deep,) = cli(*words).results()
    curve = deep["diagnostics"]["depth_curve"]
    assert curve["measure"] == "nDCG@10"
    assert curve["first_stage"] == pytest.approx(deep["measures"]["nDCG@10"]["first_stage"])
    assert [point["k"] for point in curve["points"]] == [10, 20, 50, 100]
    for point in curve["points"]:
        (alone,) = cli(*words, "--top-k", point["k"]).results()
        row = alone["measures"]["nDCG@10"]
        for name in ("reranked", "oracle", "difference", "low", "high", "p"):
            assert point[name] == pytest.approx(row[name], abs=1e-12), (point["k"], name)


def test_a_curve_of_before_intervals_gets_them_from_the_rankings_in_the_cache(cli: Cli, birds: Path, plugin):
    words = ["run", birds, "--reranker", plugin(GOOD), "--top-k", 20, "--format", "json"]
    (result,) = cli(*words).results()
    path = Path(result["path"])
    record = json.loads(path.read_text())
    new = record["diagnostics"]["depth_curve"]["points"]
    assert new[0]["p"] is not None
    record["diagnostics"]["depth_curve"]["points"] = [{k: each[k] for k in ("k", "reranked", "oracle")} for each in new]
    path.write_text(json.dumps(record))

    def points() -> list[dict[str, float]]:
        answer = cli("compare", "bm25", path, "--depth", "--format", "json")
        return json.loads(answer.out)["depths"][0]["points"]

    assert points() == new
    for kept in Path(os.environ["RERANK_HARNESS_CACHE"]).glob("rankings/*"):
        kept.unlink()
    assert [each["p"] for each in points()] == [*[None] * (len(new) - 1), new[-1]["p"]]


def test_the_depth_curve_is_of_the_tasks_own_measure(cli: Cli, birds: Path, plugin):
    words = ["run", birds, "--reranker", plugin(GOOD), "--measures", "MAP@100,nDCG@10", "--format", "json"]
    (result,) = cli(*words).results()
    curve, row = result["diagnostics"]["depth_curve"], result["measures"]["MAP@100"]
    assert curve["measure"] == "MAP@100"
    assert (curve["first_stage"], curve["points"][-1]["reranked"]) == pytest.approx(
        (row["first_stage"], row["reranked"])
    )


def test_the_score_distribution_is_that_of_the_scores(cli: Cli, birds: Path, plugin):
    (result,) = cli("run", birds, "--reranker", plugin("len(document)"), "--format", "json").results()
    scores = result["diagnostics"]["scores"]
    assert scores["min"] <= scores["q1"] <= scores["median"] <= scores["q3"] <= scores["max"]
    assert 1 < scores["distinct"] < result["diagnostics"]["pairs"]
    assert scores["saturated"] is None


def test_speed_latency_memory_and_environment_are_stored(cli: Cli, birds: Path):
    words = ["--reranker", CROSS_ENCODER, "--batch-tokens", 400]
    (result,) = cli("run", birds, *words, "--format", "json").results()
    stored = load_result(Path(result["path"]))
    speed = stored.performance
    assert speed["pairs_scored"] == result["diagnostics"]["pairs"]
    assert speed["pairs_per_second"] > 0
    assert speed["tokens_per_second"] > speed["pairs_per_second"]
    latency = speed.get("latency_seconds") or speed["latency_from_rate_seconds"]
    assert 0 < latency["p50"] <= latency["p95"]
    assert 0.01 < speed["peak_memory_gib"] < 100
    assert {"packages", "processor", "cores", "device", "dtype", "python"} <= set(stored.environment)
    if (ROOT / ".git").exists() and shutil.which("git"):
        assert len(stored.environment["commit"].removesuffix("+changes")) == 40


def test_a_rate_begins_after_the_step_that_loads_the_model_unless_that_step_does_all_the_work():
    pace = Pace(done=30, tokens=300, steps=(4.0, 1.0, 1.0), first_done=10, first_tokens=100)
    assert pace.rated(whole=False) == (20, 200, 2.0)
    assert pace.rated(whole=True) == (30, 300, 6.0)
    assert Pace(5, 50, (4.0,), 5, 50).rated(whole=False) == (0, 0, 0)


def test_a_result_made_again_from_the_store_keeps_what_was_measured(cli: Cli, birds: Path):
    words = ["run", birds, "--reranker", CROSS_ENCODER, "--batch-tokens", 400, "--format", "json"]
    (first,) = cli(*words).results()
    before = load_result(Path(first["path"])).performance
    (second,) = cli(*words, "--measures", "P@3").results()
    assert not second["reused"]
    assert load_result(Path(second["path"])).performance == before


def test_every_run_says_and_stores_what_its_number_hides(cli: Cli, birds: Path):
    answer = cli("run", birds, "--reranker", CROSS_ENCODER, "--batch-tokens", 400)
    for words in ("Judged@10", "R@100", "oracle", "nDCG@10 of the first k reranked: ", "(min, quartiles, max)",
                  "of documents tied", "of pairs truncated", "of tokens lost", "pairs/s", "tokens/s", "(p50)", "(p95)",
                  "memory", "GiB", "cores", "made by rerank-harness", "Python", "torch", "transformers", "cpu, float32"):  # fmt: skip
        assert words in " ".join(answer.out.split()), answer.out
    (path,) = Path("results").rglob("*@*.json")
    stored = load_result(path, with_values=True)
    assert len(stored.values["Judged@10"]["reranked"]) == 10
    assert stored.measures["R@100"]["oracle"] is not None
    assert {
        "tie_rate", "truncated_pairs", "truncated_share", "lost_tokens", "lost_token_share", "depth_curve", "scores",
        "missing_queries", "candidate_documents",
    } <= set(stored.diagnostics)  # fmt: skip
    assert {"pairs_per_second", "tokens_per_second", "peak_memory_gib"} <= set(stored.performance)
    assert {"harness", "python", "packages", "platform", "processor", "cores", "device", "dtype"} <= set(
        stored.environment
    )
    (entry,) = cli("run", birds, "--reranker", CROSS_ENCODER, "--batch-tokens", 400, "--format", "json").results()
    assert entry["reused"]
    assert (entry["performance"], entry["environment"]) == (stored.performance, stored.environment)


def test_a_first_stage_alone_says_memory_and_environment_too(cli: Cli, birds: Path):
    answer = cli("run", birds)
    for words in ("memory", "GiB", "made by rerank-harness", "of documents tied"):
        assert words in answer.out, answer.out
    assert "pairs/s" not in answer.out


def test_a_run_that_scores_nothing_says_so(cli: Cli, birds: Path):
    words = ["run", birds, "--reranker", CROSS_ENCODER, "--batch-tokens", 400]
    cli(*words)
    assert "every score was in the store" in cli(*words, "--results", "elsewhere").out


def test_a_list_reranker_is_timed_call_by_call(cli: Cli, birds: Path, tmp_path: Path):
    write_lines(tmp_path / "deaf.py", [DEAF])
    (result,) = cli("run", birds, "--reranker", f"{tmp_path / 'deaf.py'}:rank", "--format", "json").results()
    latency = load_result(Path(result["path"])).performance["latency_seconds"]
    assert latency["queries"] == 9
    assert "depth_curve" not in result["diagnostics"]


def test_a_result_of_before_these_diagnostics_stays_valid(cli: Cli, birds: Path, plugin):
    words = ["run", birds, "--reranker", plugin(GOOD), "--format", "json"]
    (first,) = cli(*words).results()
    path = Path(first["path"])
    record = json.loads(path.read_text())
    record["diagnostics"] = {key: record["diagnostics"][key] for key in ("missing_queries", "tie_rate", "candidates")}
    record["performance"] = {}
    path.write_text(json.dumps(record))
    answer = cli(*words)
    assert answer.results()[0]["reused"]
    assert "RH" not in answer.err
    assert cli("run", birds, "--reranker", plugin(GOOD)).code == 0
