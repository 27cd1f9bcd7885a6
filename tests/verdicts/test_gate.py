"""The verb `gate`: what fails, what passes, what cannot be compared, and how a forge reads it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import yaml
from conftest import ROOT, Cli, write_lines
from made_results import made, saved
from scipy import stats

from harness.errors import HarnessError
from harness.verdicts.compare import Row
from harness.verdicts.gate import Gate, judge_against, update
from harness.verdicts.gate_text import gate_github, gate_junit, gate_text
from harness.verdicts.rows import Answer

GENERATOR = np.random.default_rng(11)
BEFORE = GENERATOR.random(60)
WORSE = np.clip(BEFORE - 0.1 + GENERATOR.normal(0, 0.02, 60), 0, 1)
NOISY = BEFORE - 0.03 + stats.zscore(GENERATOR.random(60)) * 0.4
SLIGHTLY = BEFORE - 0.004


@pytest.fixture
def baseline(tmp_path: Path) -> Path:
    return saved(tmp_path / "baseline", made(BEFORE))


def run_gate(cli: Cli, baseline: Path, current: Path, *words: object) -> tuple[int, dict]:
    answer = cli("gate", "--baseline", baseline, "--current", current, "--format", "json", *words)
    return answer.code, json.loads(answer.out) if answer.out else {"error": answer.err}


def test_equal_results_pass(cli: Cli, baseline: Path, tmp_path: Path):
    code, found = run_gate(cli, baseline, saved(tmp_path / "now", made(BEFORE)))
    assert code == 0
    assert found["verdict"] == "passed"
    assert found["rows"][0]["ties"] == 60
    assert "unknown" in found["power"]


def test_a_real_drop_fails(cli: Cli, baseline: Path, tmp_path: Path):
    code, found = run_gate(cli, baseline, saved(tmp_path / "now", made(WORSE)))
    assert code == 1
    assert found["verdict"] == "failed"
    (row,) = found["rows"]
    assert row["failed"]
    assert (row["answer"]["verdict"], row["answer"]["can_fail"]) == ("failed", True)
    assert row["answer"]["p_drop"] < 0.001
    assert row["p_holm"] == row["p_corrected"] < 0.001


def test_a_drop_within_the_tolerance_passes_however_significant(cli: Cli, baseline: Path, tmp_path: Path):
    now = saved(tmp_path / "now", made(SLIGHTLY))
    code, found = run_gate(cli, baseline, now)
    assert code == 0
    assert found["rows"][0]["p_holm"] < 0.001
    assert run_gate(cli, baseline, now, "--max-drop", 0.003)[0] == 1


def test_a_large_drop_that_chance_explains_is_not_decided(cli: Cli, baseline: Path, tmp_path: Path):
    now = saved(tmp_path / "now", made(NOISY))
    code, found = run_gate(cli, baseline, now)
    (row,) = found["rows"]
    assert row["difference"] < -0.01
    assert row["p_holm"] > 0.05
    assert (code, found["verdict"], row["answer"]["verdict"]) == (0, "not decided", "not decided")
    assert run_gate(cli, baseline, now, "--undecided", "pass")[0] == 0
    assert run_gate(cli, baseline, now, "--undecided", "fail")[0] == 1


def test_more_queries_of_the_number_that_is_said_decide(baseline: Path, tmp_path: Path):
    (row,) = judge_against(baseline, saved(tmp_path / "now", made(NOISY))).rows
    times = -(-(row.answer.more_queries + 60) // 60)
    before, after = np.tile(BEFORE, times), np.tile(NOISY, times)
    many = judge_against(saved(tmp_path / "a", made(before)), saved(tmp_path / "b", made(after)))
    assert many.rows[0].answer.verdict == "failed"
    assert many.rows[0].answer.more_queries is None


def test_a_row_too_coarse_to_fail_says_how_many_queries_would_decide(tmp_path: Path):
    """Two of nine queries dropped: among many rows no pattern is rare enough now, and with more queries some are."""
    rng = np.random.default_rng(0)
    others = [(f"Trees{number}", rng.random(40), rng.normal(0, 0.1, 40)) for number in range(11)]
    old = [made([0.5] * 9), *(made(values, task=name) for name, values, _ in others)]
    now = [made([0.1, 0.1, *[0.5] * 7]), *(made(values + change, task=name) for name, values, change in others)]
    rows = judge_against(saved(tmp_path / "old", *old), saved(tmp_path / "now", *now)).rows
    answer = rows[0].answer
    assert answer is not None
    assert answer.verdict == "not decided"
    assert 20 < answer.more_queries < 2000


def test_no_worse_than_the_tolerance_is_shown_and_not_assumed(tmp_path: Path):
    """The same small loss on the mean: few noisy queries leave it open, many settle it."""
    generator = np.random.default_rng(5)
    for queries, said in ((40, "not decided"), (4000, "passed")):
        before = generator.random(queries)
        after = before - 0.002 + stats.zscore(generator.normal(0, 1, queries)) * 0.1
        folders = [saved(tmp_path / f"{side}{queries}", made(v)) for side, v in (("a", before), ("b", after))]
        (row,) = judge_against(*folders).rows
        assert row.answer.verdict == said
        assert (row.answer.p_within <= 0.05) == (said == "passed")


def test_a_true_drop_within_the_tolerance_rarely_fails(tmp_path: Path):
    from harness.verdicts.answers import answered
    from harness.verdicts.samples import samples_of

    generator = np.random.default_rng(3)
    failed = 0
    for _ in range(100):
        before = generator.random(300)
        pair = made(before), made(before - 0.008 + generator.normal(0, 0.1, 300))
        failed += answered(samples_of([pair], None), 0.01, 0.05)[0].answer.verdict == "failed"
    assert failed <= 8


def test_a_gain_passes(cli: Cli, tmp_path: Path):
    worse = saved(tmp_path / "worse", made(WORSE))
    assert run_gate(cli, worse, saved(tmp_path / "now", made(BEFORE)))[0] == 0


def test_alpha_and_tolerance_move_the_verdict(cli: Cli, baseline: Path, tmp_path: Path):
    now = saved(tmp_path / "now", made(WORSE))
    assert run_gate(cli, baseline, now, "--max-drop", 0.5)[0] == 0
    assert run_gate(cli, baseline, now, "--alpha", 0.00001)[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--max-drop", "-1"],
        ["--alpha", "5"],
        ["--alpha", "0"],
        ["--alpha", "0.5"],
        ["--alpha", "nan"],
        ["--max-drop", "a little"],
        ["--format", "xml"],
        ["--undecided", "maybe"],
    ],
)
def test_numbers_out_of_range_are_one_line(cli: Cli, baseline: Path, words):
    answer = cli("gate", "--baseline", baseline, "--current", baseline, *words)
    assert answer.code == 2
    assert len(answer.err.splitlines()) == 1


def test_many_small_drops_fail_as_a_mean_where_no_task_does(cli: Cli, tmp_path: Path):
    generator = np.random.default_rng(3)
    tasks = [f"Task{i}" for i in range(8)]
    before = {task: generator.random(12) for task in tasks}
    baseline = saved(tmp_path / "baseline", *(made(values, task=task) for task, values in before.items()))
    after = {task: values - 0.05 + stats.zscore(generator.random(12)) * 0.1 for task, values in before.items()}
    now = saved(tmp_path / "now", *(made(values, task=task) for task, values in after.items()))
    code, found = run_gate(cli, baseline, now)
    assert code == 1
    assert [row["name"] for row in found["rows"] if row["failed"]] == ["mean of 8 tasks"]
    assert found["rows"][-1]["difference"] == pytest.approx(-0.05)


def test_a_drop_counts_once_however_many_rows_show_it(tmp_path: Path):
    """One task, its mean with copies of itself: rows that say the same are one."""
    values = {"baseline": BEFORE, "now": BEFORE - 0.03 + stats.zscore(NOISY) * 0.05}
    found = {}
    for count in (1, 5):
        folders = [
            saved(tmp_path / f"{side}{count}", *(made(v, task="Birds", subset=f"s{i}") for i in range(count)))
            for side, v in values.items()
        ]
        found[count] = judge_against(*folders).rows
    assert len(found[5]) == 6
    assert {row.answer.p_drop for row in found[5]} == {found[1][0].answer.p_drop}


def test_drops_of_tasks_without_a_common_query_are_corrected(tmp_path: Path):
    tasks = [f"Task{i}" for i in range(5)]
    generator = np.random.default_rng(8)
    for side, drop in (("baseline", 0.0), ("now", 0.04)):
        saved(tmp_path / side, *(made(BEFORE - drop * generator.normal(0.5, 3, 60), task=task) for task in tasks))
    rows = judge_against(tmp_path / "baseline", tmp_path / "now", max_drop=0.0).rows
    assert len(rows) == 6
    alone = min(row.p for row in rows)
    assert 1.5 * alone < min(row.p_corrected for row in rows) <= 6 * alone + 0.02


def test_rows_that_could_not_have_failed_are_named(tmp_path: Path):
    few, many = [0.5, 0.6, 0.7, 0.8], BEFORE
    folders = [saved(tmp_path / side, made(few, task="Few"), made(many, task="Many")) for side in ("baseline", "now")]
    found = judge_against(*folders)
    assert {row.name: row.answer.can_fail for row in found.rows} == {
        "Few": False,
        "Many": True,
        "mean of 2 tasks": True,
    }
    assert "cannot fail: Few (4 queries), tested among 3 rows" in gate_text(found)
    assert found.record()["cannot_fail"].startswith("cannot fail: Few")


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, -0.1, float("nan")])
def test_an_alpha_that_says_nothing_is_refused(baseline: Path, alpha):
    with pytest.raises(HarnessError, match="alpha is"):
        judge_against(baseline, baseline, alpha=alpha)


# -- what cannot be compared


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataset_revision": "9" * 40}, "dataset revision"),
        ({"top_k": 50}, "depth 100 → 50"),
        ({"retriever": "dense"}, "first stage bm25 → dense"),
        ({"limit": 10}, "--limit none → 10"),
        ({"collection": "0" * 32}, "the data's content"),
    ],
)
def test_what_does_not_match_the_baseline_ends_with_3(cli: Cli, baseline: Path, tmp_path: Path, change, said):
    code, found = run_gate(cli, baseline, saved(tmp_path / "now", made(BEFORE, **change)))
    assert code == 3
    assert said in found["mismatches"][0]


def test_other_candidates_end_with_3(cli: Cli, baseline: Path, tmp_path: Path):
    code, found = run_gate(cli, baseline, saved(tmp_path / "now", replace(made(BEFORE), candidates="0" * 32)))
    assert code == 3
    assert "candidates" in found["mismatches"][0]


def test_a_task_that_is_missing_ends_with_3_on_either_side(cli: Cli, baseline: Path, tmp_path: Path):
    both = saved(tmp_path / "both", made(BEFORE), made(BEFORE, task="Fish"))
    code, found = run_gate(cli, both, baseline)
    assert (code, len(found["mismatches"])) == (3, 1)
    assert "Fish over bm25 top 100, org/model: not among the current results" in found["mismatches"]
    code, found = run_gate(cli, baseline, both)
    assert code == 3
    assert "not in the baseline" in found["mismatches"][0]


def test_a_drop_goes_before_what_is_missing(cli: Cli, tmp_path: Path):
    both = saved(tmp_path / "both", made(BEFORE), made(BEFORE, task="Fish"))
    assert run_gate(cli, both, saved(tmp_path / "now", made(WORSE)))[0] == 1


def test_a_reranker_that_the_baseline_never_saw_is_a_note(cli: Cli, baseline: Path, tmp_path: Path):
    now = saved(tmp_path / "now", made(BEFORE), made(WORSE, reranker="new/one"))
    code, found = run_gate(cli, baseline, now)
    assert code == 0
    assert "new/one is not in the baseline" in found["notes"][0]


def test_one_reranker_of_several_can_be_looked_at_alone(cli: Cli, tmp_path: Path):
    both = saved(tmp_path / "both", made(BEFORE), made(BEFORE, reranker="other"))
    now = saved(tmp_path / "now", made(BEFORE))
    assert run_gate(cli, both, now)[0] == 3
    code, found = run_gate(cli, both, now, "--reranker", "org/model")
    assert (code, found["mismatches"]) == (0, [])
    assert run_gate(cli, both, now, "--reranker", "other")[0] == 3
    assert run_gate(cli, both, now, "--reranker", "other", "--any-reranker")[0] == 2


def test_some_tasks_of_a_larger_baseline_can_be_looked_at_alone(cli: Cli, tmp_path: Path):
    both = saved(tmp_path / "both", made(BEFORE, task="Birds"), made(BEFORE, task="Fish"), made(BEFORE, task="SciFact"))
    now = saved(tmp_path / "now", made(WORSE, task="Birds"), made(BEFORE, task="Fish"))
    assert run_gate(cli, both, now, "Fish")[0] == 0
    code, found = run_gate(cli, both, now, "Birds", "Fish")
    assert (code, [row["name"] for row in found["rows"]], found["mismatches"]) == (
        1,
        ["Birds", "Fish", "mean of 2 tasks"],
        [],
    )
    assert run_gate(cli, both, now)[0] == 1  # the drop; SciFact is missing as well
    assert run_gate(cli, both, now, "SciFact")[0] == 3
    assert cli("gate", "Brids", "--baseline", both, "--current", now).code == 2
    update = cli("gate", "Birds", "--baseline", both, "--current", now, "--update", "--accept-drop")
    assert len(update.out.splitlines()) == 1


def test_folders_without_results_are_one_line(cli: Cli, baseline: Path, tmp_path: Path):
    for words in (
        ("--baseline", tmp_path / "none", "--current", baseline),
        ("--baseline", baseline, "--current", tmp_path / "none"),
    ):
        answer = cli("gate", *words)
        assert answer.code == 3
        assert len(answer.err.splitlines()) == 1


def test_two_revisions_in_one_folder_are_refused(cli: Cli, baseline: Path, tmp_path: Path):
    now = saved(tmp_path / "now", made(BEFORE), made(WORSE, reranker_revision="1" * 40))
    answer = cli("gate", "--baseline", baseline, "--current", now)
    assert answer.code == 2
    assert "more than one result that could be meant" in answer.err


def test_a_measure_that_was_not_measured_is_named(cli: Cli, baseline: Path, tmp_path: Path):
    answer = cli("gate", "--baseline", baseline, "--current", baseline, "--measure", "P@5")
    assert answer.code == 3
    assert "P@5 was not measured" in answer.err


# -- pairing


def test_a_new_model_is_held_against_an_old_one_by_task_alone(cli: Cli, baseline: Path, tmp_path: Path):
    now = saved(tmp_path / "now", made(WORSE, reranker="new/one"))
    code, found = run_gate(cli, baseline, now)
    assert code == 3
    assert "not among the current results" in found["mismatches"][0]
    code, found = run_gate(cli, baseline, now, "--any-reranker")
    assert code == 1
    assert found["rows"][0]["reranker"] == "org/model → new/one"


def test_a_first_stage_alone_pairs_with_itself_only(cli: Cli, tmp_path: Path):
    alone = {"reranker": None, "reranker_revision": None, "reranker_fingerprint": None}
    both = saved(tmp_path / "both", made(BEFORE), made(BEFORE, **alone))
    now = saved(tmp_path / "now", made(BEFORE, reranker="new/one"), made(WORSE, **alone))
    code, found = run_gate(cli, both, now, "--any-reranker")
    assert code == 1
    assert {row["reranker"]: row["failed"] for row in found["rows"]} == {
        "bm25 alone": True,
        "org/model → new/one": False,
    }


def test_changed_weights_and_settings_of_one_reranker_are_what_the_gate_is_for(
    cli: Cli, baseline: Path, tmp_path: Path
):
    changed = made(
        WORSE, reranker_revision="1" * 40, reranker_fingerprint="2" * 32, reranker_settings={"max_length": 256}
    )
    assert run_gate(cli, baseline, saved(tmp_path / "now", changed))[0] == 1


def test_a_task_that_the_baseline_lacks_is_a_note_where_that_is_allowed(cli: Cli, baseline: Path, tmp_path: Path):
    now = saved(tmp_path / "now", made(BEFORE), made(BEFORE, task="Fish"))
    assert run_gate(cli, baseline, now)[0] == 3
    code, found = run_gate(cli, baseline, now, "--allow-new")
    assert (code, found["mismatches"]) == (0, [])
    assert any("Fish" in note and "gate --update adds it" in note for note in found["notes"])


def test_one_call_writes_every_form_and_the_forges_summary(cli: Cli, baseline: Path, tmp_path: Path, monkeypatch):
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    now, names = (
        saved(tmp_path / "now", made(WORSE)),
        [tmp_path / f"out/gate.{end}" for end in ("txt", "json", "xml", "md")],
    )
    words = [word for name in names for word in ("--output", name)]
    answer = cli("gate", "--baseline", baseline, "--current", now, "--format", "github", *words)
    assert answer.code == 1
    assert answer.out.startswith("::error")
    text, record, xml, page = (name.read_text() for name in names)
    assert text.rstrip().endswith("alpha 0.05)")
    assert json.loads(record)["verdict"] == "failed"
    assert ET.fromstring(xml).get("failures") == "1"
    assert page.startswith("**gate FAILED: 1 of 1 row dropped")
    assert "| **failed** |" in page
    assert summary.read_text() == f"before\n{page}"


@pytest.mark.parametrize(("wrong", "code"), [("nothing there", 3), ("damaged", 2), ("another measure", 3)])
def test_files_say_why_nothing_could_be_compared(
    cli: Cli, baseline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, code: int
):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    out, now = tmp_path / "gate.xml", tmp_path / "now"
    if wrong != "nothing there":
        (path,) = saved(now, made(BEFORE)).rglob("*@*.json")
        path.write_text("{" if wrong == "damaged" else path.read_text())
    measure = ["--measure", "MAP@100"] if wrong == "another measure" else []
    answer = cli("gate", "--baseline", baseline, "--current", now, "--output", out, "--output", "gate.json", *measure)
    assert answer.code == code
    root = ET.fromstring(out.read_text())
    assert root.get("errors") == "1"
    told = answer.err.strip().removeprefix("error: ")
    assert root.find(".//error").text == told
    record = json.loads(Path("gate.json").read_text())
    assert (record["mismatches"], record["max_drop"], record["alpha"]) == ([told], 0.01, 0.05)
    assert "cannot be compared" in (tmp_path / "summary.md").read_text()


def test_an_answer_of_an_unknown_ending_is_refused(cli: Cli, baseline: Path):
    answer = cli("gate", "--baseline", baseline, "--current", baseline, "--output", "gate.pdf")
    assert answer.code == 2
    assert "gate.pdf ends in none of .txt, .json, .xml, .md" in answer.err


# -- update


def test_update_makes_the_current_results_the_baseline(cli: Cli, baseline: Path, tmp_path: Path):
    now = saved(tmp_path / "now", made(WORSE, reranker_revision="1" * 40), made(BEFORE, task="Fish"))
    refused = cli("gate", "--baseline", baseline, "--current", now, "--update", "--output", "gate.xml")
    assert (refused.code, refused.out) == (1, "")
    assert "FAILED: Birds" in refused.err
    assert "<failure" in Path("gate.xml").read_text()
    assert "nothing is written" in cli("gate", "--baseline", baseline, "--current", now, "--update", "-q").err
    assert "--accept-drop writes it" in refused.err
    assert run_gate(cli, baseline, now, "--allow-new")[0] == 1, "nothing was written"
    answer = cli("gate", "--baseline", baseline, "--current", now, "--update", "--accept-drop")
    assert answer.code == 0
    assert "review and commit" in answer.err
    assert "Fish over bm25 top 100, org/model is not in the baseline (nDCG@10 " in answer.err
    written = {path.relative_to(baseline) for path in baseline.rglob("*") if path.is_file()}
    copied = {path.relative_to(now) for path in now.rglob("*") if path.is_file()}
    lines = {path.with_name(path.name.replace(".json.gz", ".txt")) for path in copied if path.name.endswith(".gz")}
    assert written == copied | lines
    assert run_gate(cli, baseline, now)[0] == 0


def test_update_keeps_what_the_current_results_say_nothing_of(tmp_path: Path):
    baseline = saved(tmp_path / "baseline", made(BEFORE), made(BEFORE, task="Fish"))
    update(baseline, saved(tmp_path / "now", made(WORSE, top_k=200)))
    kept = [path.parent.name + "/" + path.name for path in baseline.rglob("*@*.json")]
    assert sorted(kept) == ["bm25-bbbbbbbb-top100/Fish@aaaaaaaa.json", "bm25-bbbbbbbb-top200/Birds@aaaaaaaa.json"]


def test_update_with_any_reranker_replaces_the_old_model(tmp_path: Path):
    baseline = saved(tmp_path / "baseline", made(BEFORE))
    update(baseline, saved(tmp_path / "now", made(WORSE, reranker="new/one")), any_reranker=True)
    assert [path.name for path in baseline.iterdir()] == ["new__one"]


def test_update_of_one_reranker_leaves_the_others(cli: Cli, tmp_path: Path):
    baseline = saved(tmp_path / "baseline", made(BEFORE), made(BEFORE, reranker="other"))
    now = saved(tmp_path / "now", made(WORSE), made(WORSE, reranker="other"))
    answer = cli("gate", "--baseline", baseline, "--current", now, "--update", "--accept-drop", "--reranker", "other")
    assert (answer.code, len(answer.out.splitlines())) == (0, 1)
    code, found = run_gate(cli, baseline, now)
    assert code == 1
    assert {row["reranker"]: row["difference"] == 0 for row in found["rows"]} == {"org/model": False, "other": True}


def test_update_with_a_damaged_result_changes_nothing(tmp_path: Path):
    baseline = saved(tmp_path / "baseline", made(BEFORE))
    now = saved(tmp_path / "now", made(WORSE))
    next(now.rglob("*.values.json.gz")).unlink()
    before = {path: path.read_bytes() for path in baseline.rglob("*") if path.is_file()}
    with pytest.raises(HarnessError, match="is missing"):
        update(baseline, now)
    assert {path: path.read_bytes() for path in baseline.rglob("*") if path.is_file()} == before


def test_update_of_a_baseline_that_cannot_be_written_loses_nothing(cli: Cli, tmp_path: Path):
    baseline = saved(tmp_path / "baseline", made(BEFORE))
    (folder,) = (path.parent for path in baseline.rglob("*@*.json"))
    now = saved(tmp_path / "now", made(WORSE, top_k=200))
    (folder.parent / "bm25-bbbbbbbb-top200").write_text("a file where a folder is needed")
    before = {path: path.read_bytes() for path in baseline.rglob("*") if path.is_file()}
    answer = cli("gate", "--baseline", baseline, "--current", now, "--update")
    assert answer.code == 2
    assert f"error: cannot write the baseline {baseline}" in answer.err
    assert {path: path.read_bytes() for path in baseline.rglob("*") if path.is_file()} == before


def test_update_leaves_empty_folders_of_others_alone(tmp_path: Path):
    baseline = saved(tmp_path / "repository", made(BEFORE))
    (baseline / ".git" / "refs" / "tags").mkdir(parents=True)
    update(baseline, saved(tmp_path / "now", made(WORSE, reranker="new/one")), any_reranker=True)
    assert sorted(path.name for path in baseline.iterdir()) == [".git", "new__one"]
    assert (baseline / ".git" / "refs" / "tags").is_dir()


@pytest.mark.parametrize(("damage", "code"), [("values gone", 3), ("figure raised", 2)])
def test_a_baseline_that_was_changed_by_hand_is_not_believed(cli: Cli, tmp_path: Path, damage, code):
    baseline = saved(tmp_path / "baseline", made(WORSE))
    (path,) = baseline.rglob("*@*.json")
    if damage == "values gone":
        next(baseline.rglob("*.values.json.gz")).unlink()
    else:
        record = json.loads(path.read_text())
        record["measures"]["nDCG@10"]["reranked"] = 0.1
        path.write_text(json.dumps(record))
    answer = cli("gate", "--baseline", baseline, "--current", saved(tmp_path / "now", made(BEFORE)))
    assert answer.code == code
    assert len(answer.err.splitlines()) == 1
    assert str(path.parent) in answer.err


def test_update_begins_a_baseline_and_refuses_to_overwrite_itself(tmp_path: Path):
    now = saved(tmp_path / "now", made(BEFORE))
    assert len(update(tmp_path / "fresh", now)) == 1
    with pytest.raises(HarnessError, match="the same folder"):
        update(now, now)
    saved(now, made(BEFORE, reranker_revision="9" * 40))
    with pytest.raises(HarnessError, match="could be meant"):
        update(tmp_path / "fresh", now)


# -- power


def test_the_power_line_says_what_could_have_been_seen(baseline: Path, tmp_path: Path):
    found = judge_against(baseline, saved(tmp_path / "now", made(NOISY)))
    (row,) = found.rows
    differences = NOISY - BEFORE
    far = np.abs(differences - differences.mean()).max()
    error = np.sqrt(differences.var(ddof=1) / 60 + 2 * (far / 60) ** 2)
    t = stats.t(59).ppf
    unsure = np.sqrt(1 + t(0.95) ** 2 / 118)
    # The level is counted over patterns, so it is 0.05 within their error.
    assert row.detectable == pytest.approx(0.01 + (t(0.95) + t(0.8) * unsure) * error, rel=0.01)
    assert f"{row.detectable:.4f}" in found.power
    tolerant = judge_against(baseline, tmp_path / "now", max_drop=0.2)
    assert tolerant.rows[0].detectable == pytest.approx(0.19 + row.detectable, rel=0.01)


def test_too_few_queries_for_any_p_have_no_power_and_it_is_said(tmp_path: Path):
    """Four queries have 16 patterns of signs: p can be 1/8 at the least."""
    few = saved(tmp_path / "few", made([0.5, 0.6, 0.7, 0.8]))
    found = judge_against(few, saved(tmp_path / "now", made([0.1, 0.1, 0.3, 0.2])))
    assert found.rows[0].detectable is None
    assert "unknown" in found.power
    assert found.exit_code == 0


def test_the_power_line_prints_p_mrr_as_the_table_does(tmp_path: Path):
    baseline = saved(tmp_path / "baseline", made(BEFORE, measure="p-MRR"))
    found = judge_against(baseline, saved(tmp_path / "now", made(NOISY, measure="p-MRR")))
    size = f"{100 * found.rows[0].detectable:.2f}"
    assert f"a true drop of {size} in Birds (p-MRR)" in found.power
    assert size in gate_text(found).splitlines()[3]


def test_equal_results_have_the_power_of_a_change_like_reranking(tmp_path: Path):
    """The first gate in a new repository holds a baseline against itself."""
    first_stage = np.clip(BEFORE - 0.1 + NOISY - BEFORE, 0, 1)
    baseline = saved(tmp_path / "baseline", made(BEFORE, first_stage))
    found = judge_against(baseline, saved(tmp_path / "now", made(BEFORE, first_stage)))
    (row,) = found.rows
    moved = BEFORE - first_stage
    error = np.sqrt(moved.var(ddof=1) / 60 + 2 * (np.abs(moved - moved.mean()).max() / 60) ** 2)
    t = stats.t(59).ppf
    unsure = np.sqrt(1 + t(0.95) ** 2 / 118)
    assert row.detectable == pytest.approx(0.01 + (t(0.95) + t(0.8) * unsure) * error, rel=0.02)
    assert row.assumed
    assert "as reranking moved them" in found.power
    assert f"~{row.detectable:.4f}" in gate_text(found)


def test_a_mean_of_equal_results_has_a_power_too(tmp_path: Path):
    tasks = [made(BEFORE, NOISY, task=task) for task in ("A", "B")]
    found = judge_against(saved(tmp_path / "baseline", *tasks), saved(tmp_path / "now", *tasks))
    one, _, mean = found.rows
    assert 0.01 < mean.detectable < one.detectable


def test_a_large_drop_by_chance_is_open_and_said(tmp_path: Path):
    generator = np.random.default_rng(12)
    before = generator.random(8)
    after = before - 0.1 + stats.zscore(generator.random(8)) * 0.3
    found = judge_against(saved(tmp_path / "a", made(before)), saved(tmp_path / "b", made(after)))
    assert found.exit_code == 0
    assert "gate not decided: none of 1 row failed, 1 could not be shown" in found.verdict
    assert re.search(r"not decided: Birds [^;]*;\s+about\s+[\d,]+\s+more queries would\s+decide", gate_text(found))
    assert gate_github(found).startswith("::warning title=Birds is not decided::")
    assert gate_github(found).splitlines()[-1].startswith("::warning title=gate::gate not decided")
    suite = ET.fromstring(gate_junit(found)).find("testsuite")
    assert (suite.get("skipped"), suite.get("failures")) == ("1", "0")
    assert suite.find("testcase/skipped").get("message").startswith("not decided: Birds")
    strict = replace(found, undecided_fails=True)
    assert strict.exit_code == 1
    assert gate_github(strict).startswith("::error title=Birds is not decided::")
    assert ET.fromstring(gate_junit(strict)).find("testsuite").get("failures") == "1"


def test_a_single_query_has_no_power(tmp_path: Path):
    one = saved(tmp_path / "one", made([0.9]))
    assert "unknown" in judge_against(one, saved(tmp_path / "now", made([0.0]))).power


# -- formats


def test_text_shows_table_drop_power_and_verdict(cli: Cli, baseline: Path, tmp_path: Path):
    answer = cli("gate", "--baseline", baseline, "--current", saved(tmp_path / "now", made(WORSE)))
    assert answer.code == 1
    for word in (
        "baseline",
        "current",
        "answer",
        "FAILED: Birds (org/model): nDCG@10",
        "power: ",
        "gate FAILED: 1 of 1",
    ):
        assert word in answer.out, answer.out


def nasty(name: str) -> Gate:
    row = Row(
        name=name, reranker="a,b::c%", first_stage="bm25 top 100", measure="nDCG@10", mean_of=0, queries=2, first=0.5,
        second=0.1, difference=-0.4, low=-0.5, high=-0.3, p=0.01, p_corrected=0.02, wins=0, ties=0, losses=2, detectable=None,
        answer=Answer("failed", 0.01, 1.0, None, can_fail=True),
    )  # fmt: skip
    return Gate([row], ["line\nbreak %0A"], [], 0.01, 0.05)


def test_annotations_cannot_be_broken_out_of():
    lines = gate_github(nasty("x\n::set-env name=PATH::/evil, 100%")).splitlines()
    assert all(re.match(r"::(error|warning|notice) title=[^:,\n]*::", line) for line in lines)
    assert len(lines) == 3
    assert "%0A::set-env" in lines[0]
    assert "100%25" in lines[0]
    assert "line%0Abreak %250A" in lines[1]


def test_junit_is_xml_with_a_case_for_each_row_whatever_its_name():
    suite = ET.fromstring(gate_junit(nasty("<a> & \x00\x1b[31m \ud800 \"'"))).find("testsuite")
    assert suite is not None
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "2",
        "failures": "1",
        "errors": "1",
    }
    row, missing = suite.findall("testcase")
    failure = row.find("failure")
    assert failure is not None
    assert "0.5000 → 0.1000" in failure.get("message")
    assert failure.text == failure.get("message"), "GitLab shows the text, Jenkins the message"
    assert failure.get("type") == "drop"
    assert missing.find("error").get("type") == "mismatch"


def test_junit_has_only_what_the_readers_schema_has():
    """The elements and attributes of Jenkins' junit-10.xsd, as far as a gate needs them."""
    root = ET.fromstring(gate_junit(nasty("x")))
    counts = {"name", "time", "tests", "failures", "errors"}
    known = {
        "testsuites": ({"testsuite"}, counts),
        "testsuite": ({"testcase", "system-out"}, counts | {"skipped"}),
        "testcase": ({"failure", "error", "skipped"}, {"name", "classname", "time"}),
        "failure": (set(), {"message", "type"}),
        "error": (set(), {"message", "type"}),
        "system-out": (set(), set()),
    }
    for element in root.iter():
        children, attributes = known[element.tag]
        assert {child.tag for child in element} <= children
        assert set(element.attrib) <= attributes
    assert root.tag == "testsuites"
    assert {"name", "tests", "failures", "errors"} <= set(root[0].attrib)


@pytest.mark.parametrize("form", ["github", "junit"])
def test_every_format_keeps_the_exit_code(cli: Cli, baseline: Path, tmp_path: Path, form):
    now = saved(tmp_path / "now", made(WORSE))
    assert cli("gate", "--baseline", baseline, "--current", now, "--format", form).code == 1
    assert cli("gate", "--baseline", baseline, "--current", baseline, "--format", form).code == 0


# -- real runs


STEADY = '''
def rank(query, documents):
    """Shared words."""
    asked = set(query.split())
    return [{sign} * (len(asked & set(text.split())) + len(text) / 1000) for text in documents]


rank.fingerprint = "{sign}"
rank.context = "pair"
'''


def test_real_runs_pass_when_repeated_and_fail_when_turned_round(cli: Cli, tmp_path: Path):
    for name, sign in (("before", 1), ("again", 1), ("after", -1)):
        write_lines(tmp_path / name / "mine.py", [STEADY.format(sign=sign)])
        cli("run", "DemoEnglish", "--reranker", tmp_path / name / "mine.py:rank", "--results", tmp_path / f"r-{name}")
    assert run_gate(cli, tmp_path / "r-before", tmp_path / "r-again")[0] == 0
    code, found = run_gate(cli, tmp_path / "r-before", tmp_path / "r-after")
    assert code == 1
    assert found["rows"][0]["queries"] == 55


# -- the documented workflow


def test_the_documented_workflow_is_yaml_whose_commands_exist():
    from harness.commands.cli import build_parser

    text = (ROOT / "docs" / "gate.md").read_text(encoding="utf-8")
    (workflow,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    steps = next(iter(yaml.safe_load(workflow)["jobs"].values()))["steps"]
    commands = [
        line for step in steps for line in step.get("run", "").splitlines() if line.startswith("rerank-harness")
    ]
    shown = re.findall(r"^rerank-harness .*$", text, re.MULTILINE)
    assert len(commands) >= 2
    assert len(shown) >= 3
    for command in (*commands, *shown):
        words = command.partition("rerank-harness ")[2].split("#")[0].split()
        build_parser().parse_args(words)
