"""Results travel: mteb's, huggingface_hub's, pytrec_eval's and pandas' own readers say what ours say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, Cli, Counter
from made_results import made, saved

import harness
from harness.data.judgements import read_qrels
from harness.data.trec import read_run
from harness.errors import HarnessError
from harness.interchange.card import card_with, export_card
from harness.interchange.frames import COLUMNS, frame_of, headline_of
from harness.interchange.mteb_out import export_mteb
from harness.interchange.names import mteb_key
from harness.results.rankings import keep_rankings
from harness.results.result import Result, values_path
from harness.verdicts.pairing import entries_in

ALONE = {"reranker": None, "reranker_revision": None, "reranker_fingerprint": None}
SCIFACT = {
    "task": "SciFact",
    "dataset": "mteb/scifact",
    "dataset_revision": "d56462d0e63a25450459c4f213e49ffdb866f7f9",
    "reranker": "org/model",
}


def followir() -> Result:
    """A result of one of FollowIR's tasks, over its own lists."""
    sides = {"MAP@1000 og": 0.3, "MAP@1000 changed": 0.2, "nDCG@5 og": 0.5, "nDCG@5 changed": 0.4}
    result = made(
        [0.25, -0.5], task="Core17InstructionRetrieval", dataset="mteb/Core17InstructionRetrieval", top_k=None,
        retriever="given", measure="p-MRR",
    )  # fmt: skip
    measures = {"p-MRR": {"first_stage": None, "reranked": -0.125}}
    measures |= {name: {"first_stage": None, "reranked": value} for name, value in sides.items()}
    values = {"p-MRR": {"reranked": [0.25, -0.5]}}
    return replace(result, measures=measures, values=values, asked=("p-MRR", "MAP@1000", "nDCG@5", "Judged@10"))


@pytest.mark.parametrize(
    ("measure", "key"),
    [
        ("nDCG@10", ("", "ndcg_at_10")), ("MAP@1000 og", ("og", "map_at_1000")), ("p-MRR", ("", "p-MRR")),
        ("RR@10 changed", ("changed", "mrr_at_10")), ("Success@1", ("", "hit_rate_at_1")), ("R@100", ("", "recall_at_100")),
        ("P@5", ("", "precision_at_5")), ("robustness@10", ("", "robustness_at_10")), ("Judged@10", None),
        ("nDCG@10 pooled", None), ("nDCG", None),
    ],
)  # fmt: skip
def test_measures_and_mtebs_keys_are_one_table(measure: str, key: tuple[str, str] | None):
    assert mteb_key(measure) == key


# -- mteb


def test_mtebs_own_classes_load_what_is_written_and_their_main_score_is_ours(tmp_path: Path):
    import mteb
    from mteb.models.model_meta import ModelMeta

    thirds = [1 / 3, 2 / 3, 1 / 7]
    xquad = {"task": "XQuADRetrieval", "dataset": "mteb/XQuADRetrieval", "split": "validation"}
    results = [
        made(thirds, [0.1, 0.2, 0.3], **SCIFACT),
        made(thirds, **{**SCIFACT, **ALONE}),
        *(made([value], subset=subset, **xquad) for subset, value in (("de", 0.25), ("zh", 0.75))),
        followir(),
    ]  # fmt: skip
    folder = saved(tmp_path / "results", *results)
    done = export_mteb(entries_in(folder), tmp_path / "out")
    assert [line for line in done.left_out if "mteb shows them as missing" not in line] == []
    loaded = mteb.ResultCache(tmp_path / "out").load_results(require_model_meta=True)
    found = {(m.model_name, t.task_name): (m, t) for m in loaded.model_results for t in m.task_results}
    over_bm25, given = "org/model (bm25 top 100)", "org/model (given lists)"
    assert {key: pair[1].get_score() for key, pair in found.items()} == {
        (over_bm25, "SciFact"): results[0].measures["nDCG@10"]["reranked"],
        ("rerank-harness/bm25 (first stage, top 100)", "SciFact"): results[1].measures["nDCG@10"]["first_stage"],
        (over_bm25, "XQuADRetrieval"): 0.5,
        (given, "Core17InstructionRetrieval"): -0.125,
    }
    model, task = found[over_bm25, "SciFact"]
    assert (model.model_revision, task.dataset_revision, task.mteb_version) == (
        "c" * 40,
        SCIFACT["dataset_revision"],
        None,
    )
    (german,) = (e for e in found[over_bm25, "XQuADRetrieval"][1].scores["validation"] if e["hf_subset"] == "de")
    assert german["languages"] == ["deu-Latn"]
    (sides,) = found[given, "Core17InstructionRetrieval"][1].scores["test"]
    assert (sides["og"], sides["changed"]) == (
        {"map_at_1000": 0.3, "ndcg_at_5": 0.5}, {"map_at_1000": 0.2, "ndcg_at_5": 0.4},
    )  # fmt: skip
    assert not [key for key in sides if key.startswith(("ndcg", "map"))]
    for path in (tmp_path / "out").rglob("model_meta.json"):
        meta = ModelMeta.model_validate_json(path.read_text())
        assert (meta.model_name_as_path(), meta.revision) == (path.parent.parent.name, path.parent.name)
    meta = json.loads(next((tmp_path / "out").rglob("*top_100)/*/model_meta.json")).read_text())
    assert meta["loader_kwargs"]["top_k"] == 100


def test_what_mteb_cannot_say_is_left_out_and_told(tmp_path: Path):
    folder = saved(
        tmp_path / "results",
        made([0.5], **SCIFACT),
        made([0.5], **SCIFACT, limit=1),
        made([0.5], **SCIFACT, relevance_level=2),
        made([0.5], **SCIFACT, instructions="none"),
        made([0.5], **SCIFACT, missing_text="skip"),
        made([0.5], **SCIFACT, card="9" * 32),
        made([0.5], **SCIFACT, subset="de"),
        made([0.5], measure="MAP@10", **{**SCIFACT, "reranker": "org/other"}),
    )
    done = export_mteb(entries_in(folder), tmp_path / "out")
    assert len(done.paths) == 1
    told = "\n".join(done.left_out)
    for word in ("--limit 1", "--relevance-level 2", "--instructions none", "--missing-text skip", "a card of your own",
                 "no subset de", "main score of SciFact is ndcg_at_10, which was not measured"):  # fmt: skip
        assert told.count(word) == 1, (word, told)
    text = done.paths[0].read_text()
    assert "NaN" not in text


def test_results_that_mteb_cannot_tell_apart_are_an_error(tmp_path: Path):
    folder = saved(tmp_path, made([0.5], **SCIFACT), made([0.5], **SCIFACT, retriever_fingerprint="9" * 32))
    with pytest.raises(HarnessError, match="cannot tell apart"):
        export_mteb(entries_in(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_task_that_mteb_has_not_still_loads(tmp_path: Path):
    from mteb.results import TaskResult

    folder = saved(
        tmp_path, replace(made([0.5]), diagnostics={"languages": ["eng-Latn"]}), made([1.0], subset="x y/<b>")
    )
    done = export_mteb(entries_in(folder), tmp_path / "out")
    (path,) = done.paths
    assert TaskResult.from_disk(path).get_score() == 0.75
    assert path.parent.parent.name == "org__model_(bm25_top_100)"


def test_what_is_exported_is_imported_again_to_the_digit(cli: Cli, tmp_path: Path):
    from harness.results.imported import read

    saved(tmp_path / "results", made([1 / 3, 2 / 3, 1 / 7], **SCIFACT), followir())
    assert cli("export", "org/model", "--to", "mteb", "--output", "out").code == 0
    assert cli("import", "out", "--output", "t.parquet", "--workers", "1").code == 0
    found = {(row.task, row.measure): row.value for row in read(tmp_path / "t.parquet")}
    assert found["SciFact", "nDCG@10"] == float(np.mean([1 / 3, 2 / 3, 1 / 7]))
    assert found["Core17InstructionRetrieval", "p-MRR"] == -0.125
    assert found["Core17InstructionRetrieval", "MAP@1000 changed"] == 0.2


# -- model cards


CARD = """---
# kept: a comment
license: mit          # and another
tags: [a, 'b', "ü"]
{index}language:
- en
---
# Model

A table, --- and text.\tTrailing space.
---
no front matter here
"""
OTHERS = """model-index:
# somebody else's
- name: other
  results:
  - task: {type: text-ranking, name: Reranking of bm25 top 100}
    dataset: {type: mteb/scifact, name: SciFact}
    metrics: [{type: ndcg_at_10, value: 1}]
- name: model   # ours
  results:
    - task:
        type: Retrieval
      dataset:
        type: mteb/scifact
        name: MTEB SciFact
        config: default
        split: test
        revision: d56462d0e63a25450459c4f213e49ffdb866f7f9
      metrics:
      - type: ndcg_at_10
        value: 12.5   # measured by them
# the end
"""


def write_card(folder: Path, text: str) -> Path:
    path = folder / "README.md"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("index", ["", OTHERS], ids=["no index", "others"])
def test_a_card_gets_its_block_and_every_other_byte_stays(tmp_path: Path, index: str, end: str):
    from huggingface_hub import ModelCard

    before = CARD.format(index=index).replace("\n", end)
    path = write_card(tmp_path, before)
    folder = saved(tmp_path / "results", made([0.25, 0.5], **SCIFACT), followir())
    assert export_card(entries_in(folder), path) == []
    after = path.read_bytes().decode()
    kept = iter(after.splitlines(keepends=True))
    assert all(line in kept for line in before.splitlines(keepends=True)), "a line is gone, or has moved"
    added = [line for line in after.splitlines(keepends=True) if line not in before.splitlines(keepends=True)]
    assert {line[len(line.rstrip("\r\n")) :] for line in added} == {end}
    results = ModelCard(after).data.eval_results
    ours = {(r.dataset_name, r.metric_type): r for r in results if r.task_type == "text-ranking" and r.dataset_split}
    assert {key: r.metric_value for key, r in ours.items()} == {
        ("SciFact", "ndcg_at_10"): 37.5,
        ("Core17InstructionRetrieval", "p-MRR"): -12.5,
        ("Core17InstructionRetrieval", "map_at_1000_og"): 30.0,
        ("Core17InstructionRetrieval", "map_at_1000_changed"): 20.0,
        ("Core17InstructionRetrieval", "ndcg_at_5_og"): 50.0,
        ("Core17InstructionRetrieval", "ndcg_at_5_changed"): 40.0,
    }
    scifact = ours["SciFact", "ndcg_at_10"]
    assert (scifact.dataset_type, scifact.dataset_config, scifact.dataset_split, scifact.dataset_revision) == (
        "mteb/scifact", "default", "test", SCIFACT["dataset_revision"],
    )  # fmt: skip
    assert (scifact.task_name, scifact.metric_name) == ("Reranking of bm25 top 100", "nDCG@10 (times 100)")
    assert len(results) == len(ours) + (2 if index else 0)


def test_a_second_export_replaces_what_the_first_one_wrote(tmp_path: Path):
    path = write_card(tmp_path, CARD.format(index=OTHERS))
    both = saved(tmp_path / "one", made([0.25], **SCIFACT), followir())
    export_card(entries_in(both), path)
    first = path.read_text()
    export_card(entries_in(both), path)
    assert path.read_text() == first
    export_card(entries_in(saved(tmp_path / "two", made([0.75], **SCIFACT))), path)
    assert path.read_text() == first.replace("value: 25.0\n", "value: 75.0\n")


@pytest.mark.parametrize("text", ["", "# A model\r\ntext\n", "---\n---\n# Empty front matter\n", "---\nHello\n"])
def test_a_card_without_front_matter_gets_one(tmp_path: Path, text: str):
    from huggingface_hub import ModelCard

    path = write_card(tmp_path, text)
    if not text:
        path.unlink()
    export_card(entries_in(saved(tmp_path / "results", made([0.5], **SCIFACT))), path)
    after = path.read_bytes().decode()
    assert after.endswith(text.removeprefix("---\n---\n"))
    (result,) = ModelCard(after).data.eval_results
    assert result.metric_value == 50.0
    assert ModelCard(after).data.model_name == "model"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("---\nmodel-index: [{name: x, results: []}]\n---\n", "no list of lines"),
        ("---\nmodel-index:\n- {name: model, results: []}\n---\n", "the results of model is no list"),
        ("---\nmodel-index:\n---\n", "no list of lines"), ("---\nmodel-index: no\n---\n", "no list of lines"),
        ("---\na: [\n---\n", "not YAML"), ("---\n- a\n---\n", "no mapping"), ("---\n{a: 1}\n---\n", "one {…}"),
        ("---\ra: 1\r---\r", "CR alone"), ("\ufeff---\na: 1\n---\n", "byte order mark"),
        ("---\nx: &r [1]\nmodel-index: &i\n- name: other\n  results: *r\ncopy: *i\n---\n", "cannot be edited"),
    ],
)  # fmt: skip
def test_a_card_that_cannot_be_edited_stays_as_it_is(tmp_path: Path, text: str, reason: str):
    path = write_card(tmp_path, text)
    entries = entries_in(saved(tmp_path / "results", made([0.5], **SCIFACT)))
    with pytest.raises(HarnessError, match=reason):
        export_card(entries, path)
    assert path.read_bytes().decode() == text


def test_a_card_tells_of_one_reranker_over_one_first_stage(tmp_path: Path):
    path = tmp_path / "README.md"
    two = saved(tmp_path / "two", made([0.5], **SCIFACT), made([0.5], **{**SCIFACT, "reranker": "org/other"}))
    with pytest.raises(HarnessError, match="one reranker, and these are org/model, org/other"):
        export_card(entries_in(two), path)
    deep = saved(tmp_path / "deep", made([0.5], **SCIFACT), made([0.5], **SCIFACT, top_k=10))
    with pytest.raises(HarnessError, match="has two results, over bm25 top 10"):
        export_card(entries_in(deep), path)
    partial = saved(tmp_path / "partial", made([0.5], **SCIFACT, limit=1), made([0.5], **{**SCIFACT, **ALONE}))
    with pytest.raises(HarnessError, match="the first 1 queries alone"):
        export_card(entries_in(partial), path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["a: b", "yes", "<script>", "# x", "ü\u2028x", "- a", "'", "*a", "1.0"])
def test_odd_names_are_quoted(name: str):
    import yaml

    result = {
        "task": {"type": "t", "name": name},
        "dataset": {"type": "d", "name": name},
        "metrics": [{"type": "m", "value": 1}],
    }
    text = card_with("# A model\n", name, [result])
    assert card_with(text, name, [result]) == text
    assert yaml.safe_load(text.split("---\n")[1]) == {"model-index": [{"name": name, "results": [result]}]}


# -- TREC runs


def in_single_precision(run: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    return {q: {d: float(np.float32(score)) for d, score in docs.items()} for q, docs in run.items()}


def test_runs_come_back_to_the_same_float32_and_pytrec_eval_reads_them(cli: Cli, tmp_path: Path):
    import pytrec_eval

    result = made([1.0, 0.5], **SCIFACT)
    saved(tmp_path / "results", result)
    scores = np.random.default_rng(7).standard_normal(40).astype(np.float32).astype(float)
    first = {"q0": {f"d{i}": float(s) for i, s in enumerate(scores)}, "q1": {"d1": 1e-30, "d2": -3.4e38}}
    reranked = {query_id: {d: float(np.float32(s / 3)) for d, s in docs.items()} for query_id, docs in first.items()}
    keep_rankings(result, first, reranked, tmp_path / "cache")
    answer = cli("export", "results", "--to", "trec", "--output", "runs")
    assert answer.code == 0
    paths = [tmp_path / line for line in answer.out.splitlines()]
    assert [in_single_precision(read_run(path)) for path in paths] == [in_single_precision(first), reranked]
    assert [path.parts[-3] for path in paths] == ["first-stage", "cccccccc-dddddddd"]
    with paths[1].open() as stream:
        theirs = pytrec_eval.parse_run(stream)
    assert in_single_precision(theirs) == reranked


def test_pytrec_eval_finds_the_results_figures_in_its_exported_runs(
    cli: Cli, counter: Counter, collection_folder: Path, tmp_path: Path
):
    import pytrec_eval

    (result,) = cli("run", collection_folder, "--reranker", counter.name, "--format", "json").results()
    answer = cli("export", "results", "--to", "trec", "--output", "runs")
    first, reranked = (tmp_path / line for line in answer.out.splitlines())
    judge = pytrec_eval.RelevanceEvaluator(read_qrels([collection_folder / "qrels" / "test.tsv"]), {"ndcg_cut.10"})
    for stage, path in (("first_stage", first), ("reranked", reranked)):
        with path.open() as stream:
            values = judge.evaluate(pytrec_eval.parse_run(stream))
        mean = float(np.mean([each["ndcg_cut_10"] for each in values.values()]))
        assert mean == pytest.approx(result["measures"]["nDCG@10"][stage], abs=1e-12)


def test_rankings_that_are_gone_are_told_with_the_way_back(cli: Cli, tmp_path: Path):
    saved(tmp_path / "results", made([1.0], **SCIFACT))
    answer = cli("export", "results", "--to", "trec", "--output", "runs")
    assert (answer.code, answer.out) == (3, "")
    assert "its rankings are not in" in answer.err
    assert "again with --save-runs runs" in answer.err
    kept = made([0.5], **SCIFACT, top_k=10)
    saved(tmp_path / "results", kept)
    keep_rankings(kept, {"q0": {"d": 1.0}}, {"q0": {"d": 2.0}}, tmp_path / "cache")
    answer = cli("export", "results", "--to", "trec", "--output", "runs")
    assert (answer.code, len(answer.out.splitlines())) == (0, 2)
    assert "left out: results/" in answer.err


def test_an_id_that_a_run_cannot_hold_is_told(cli: Cli, tmp_path: Path):
    result = made([1.0], **SCIFACT)
    saved(tmp_path / "results", result)
    keep_rankings(result, {"q 0": {"d": 1.0}}, {"q 0": {"d": 2.0}}, tmp_path / "cache")
    answer = cli("export", "results", "--to", "trec", "--output", "runs")
    assert (answer.code, answer.out) == (2, "")
    assert "white space" in answer.err


# -- tables


def test_the_frame_holds_every_figure_and_what_is_missing_is_na(tmp_path: Path):
    import pandas as pd

    first, lists = made([0.25, 0.75], [0.5, 0.5], **SCIFACT), followir()
    folder = saved(tmp_path / "results", first, lists, made([1.0], **{**SCIFACT, **ALONE}, limit=3))
    frame = harness.load_results(str(folder))
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == COLUMNS
    assert len(frame) == 1 + 5 + 1
    (row,) = frame[(frame.task == "SciFact") & frame.reranker.notna()].to_dict("records")
    assert (row["first_stage"], row["reranked"], row["n"], row["top_k"]) == (0.5, 0.5, 2, 100)
    assert (pd.isna(row["limit"]), pd.isna(row["oracle"])) == (True, True)
    (alone,) = frame[frame.reranker.isna()].to_dict("records")
    assert (alone["limit"], pd.isna(alone["reranked"]), alone["first_stage"]) == (3, True, 1.0)
    (p_mrr,) = frame[frame.measure == "p-MRR"].to_dict("records")
    assert (pd.isna(p_mrr["top_k"]), pd.isna(p_mrr["first_stage"])) == (True, True)
    assert (p_mrr["reranked"], p_mrr["headline"], p_mrr["n"]) == (-0.125, True, 2)
    assert sorted(frame[frame.headline].measure) == ["nDCG@10", "nDCG@10", "p-MRR"]
    (told,) = frame.attrs["missing"]
    assert "no first_stage of p-MRR, MAP@1000 og" in told


def test_the_frame_says_where_values_are_missing_and_refuses_what_is_damaged(tmp_path: Path):
    folder = saved(tmp_path / "results", made([0.25, 0.75], [0.5, 0.5], **SCIFACT))
    (entry,) = entries_in(folder)
    values_path(entry.path).unlink()
    frame = harness.load_results(folder)
    assert frame.n.isna().all()
    assert "n, since" in frame.attrs["missing"][0]
    with pytest.raises(HarnessError) as missing:
        harness.load_result(entry.path)
    assert missing.value.exit_code == 3
    with pytest.raises(HarnessError, match="holds no results"):
        harness.load_results(tmp_path / "absent")
    entry.path.write_text("{")
    with pytest.raises(HarnessError, match="is not a result"):
        harness.load_results(folder)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_are_what_pandas_reads_back(cli: Cli, tmp_path: Path, kind: str):
    import pandas as pd

    odd = 'a,"b"\n<script>'
    saved(tmp_path / "results", made([1 / 3], [0.1], **{**SCIFACT, "reranker": odd}), followir())
    assert cli("export", "results", "--to", kind, "--output", f"t.{kind}").code == 0
    frame = frame_of(entries_in(tmp_path / "results"))
    path = tmp_path / f"t.{kind}"
    back = pd.read_parquet(path) if kind == "parquet" else pd.read_csv(path, dtype=COLUMNS)
    pd.testing.assert_frame_equal(back, frame.assign(path=back.path), check_exact=True)
    assert odd in set(back.reranker)


def test_a_result_loads_with_its_values(tmp_path: Path):
    folder = saved(tmp_path, made([0.25, 0.75], [0.5, 0.5], **SCIFACT))
    result = harness.load_result(str(entries_in(folder)[0].path))
    assert (result.query_ids, vars(result)["values"]["nDCG@10"]["reranked"]) == (("q0", "q1"), [0.25, 0.75])
    assert headline_of(result) == "nDCG@10"


def test_importing_the_package_loads_nothing_and_an_unknown_name_is_no_secret():
    program = (
        "import sys, harness; heavy = {'pandas', 'numpy', 'pyarrow', 'mteb', 'torch'} & set(sys.modules); "
        "assert not heavy, heavy; assert {'load_result', 'load_results'} <= set(harness.__all__); harness.load_results"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    with pytest.raises(AttributeError, match="no attribute 'load_result_'"):
        _ = harness.load_result_


# -- the page


PAGE = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [0, 1])
def test_the_examples_of_the_page_run(number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    examples = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(examples) == 2
    monkeypatch.chdir(ROOT)
    exec(compile(examples[number], "docs/results.md", "exec"), {})
    assert number or "DemoEnglish" in capsys.readouterr().out


def test_the_page_names_every_column_with_its_dtype():
    lines = re.findall(r"^\| (`.*?`) \| (\w+) \|", PAGE.partition("## To others")[0], re.MULTILINE)
    assert {name: kind for names, kind in lines for name in re.findall(r"`(\w+)`", names)} == COLUMNS


def test_every_flag_of_the_page_exists(cli: Cli):
    helps = "".join(cli(verb, "--help").out for verb in ("run", "export", "import"))
    assert {flag for flag in re.findall(r"(?<![-|])(--[a-z][a-z-]+)", PAGE) if flag not in helps} == {
        "--depth"
    }  # git's


# -- the verb


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["absent", "--to", "csv", "--output", "t.csv"], '"absent" is no result file'),
        (["results", "--to", "xml", "--output", "t.xml"], '"xml" is none of mteb'),
        (["results", "--to", "csv"], "--output"),
        (["results", "--to", "csv", "--output", "results"], "cannot write results"),
        (["results", "--to", "model-card", "--output", "binary.md"], "not UTF-8"),
    ],
)
def test_bad_input_is_one_line(cli: Cli, tmp_path: Path, words: list[str], told: str):
    saved(tmp_path / "results", made([0.5], **SCIFACT))
    (tmp_path / "binary.md").write_bytes(b"\xff\xfe")
    answer = cli("export", *words)
    assert answer.code in (2, 3)
    assert answer.out == ""
    assert told in answer.err
    assert len(answer.err.splitlines()) == 1
