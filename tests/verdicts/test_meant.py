"""Which results a word means: a path by its content, a name by as much as tells it from others."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import DATA, Cli
from made_results import made, saved

from harness.errors import HarnessError
from harness.models.source import open_model
from harness.rerankers.plugin import revision_of_file
from harness.results.naming import place_of
from harness.results.result import Result
from harness.verdicts.compare import System, compare_all, open_system, open_systems
from harness.verdicts.gate import judge_against, scope_of, update
from harness.verdicts.pairing import entries_in
from harness.verdicts.text import answer_text


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RERANK_HARNESS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def model(folder: str, seed: int) -> Path:
    """A model's folder whose weights depend on the seed."""
    if not Path(folder).exists():
        shutil.copytree(DATA / "models" / "cross-encoder", folder)
    weights = Path(folder, "model.safetensors")
    data = bytearray((DATA / "models" / "cross-encoder" / "model.safetensors").read_bytes())
    data[-1] = seed
    weights.write_bytes(data)
    return Path(folder)


def result_of(folder: Path, values: list[float], name: str = "", **more: object) -> Result:
    """A result as a run of that folder would have it."""
    revision = open_model(str(folder), Path("cache")).revision
    made_one = made(
        values, [0.1] * len(values), reranker=name or folder.name, reranker_revision=revision,
        **{"reranker_fingerprint": revision[:32], **more},
    )  # fmt: skip
    return replace(made_one, place=place_of(folder))


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """Two checkpoints whose folders have one name, both with results."""
    folders = [model("exp1/checkpoint-1000", 1), model("exp2/checkpoint-1000", 2)]
    saved(Path("results"), result_of(folders[0], [0.5, 0.6, 0.7]))
    saved(Path("results"), result_of(folders[1], [0.4, 0.4, 0.9], "exp2/checkpoint-1000"))
    return folders


def means(word: object) -> float:
    (entry,) = open_system(str(word), Path("results")).entries
    return entry.result.measures["nDCG@10"]["reranked"] or 0.0


def test_a_path_means_what_lies_there_now(two: list[Path]):
    assert [means(folder) for folder in two] == pytest.approx([0.6, 0.5666667])
    assert means(two[0].resolve()) == means("./exp1/checkpoint-1000/") == means(two[0])
    shutil.move(two[1], "moved")
    assert means("moved") == pytest.approx(0.5666667)
    shutil.rmtree("exp1")
    shutil.copytree("moved", "exp1/checkpoint-1000")
    assert means("exp1/checkpoint-1000") == pytest.approx(0.5666667), "never by the last part"


def test_weights_that_were_not_measured_are_never_those_that_were(two: list[Path]):
    model("exp1/checkpoint-1000", 3)
    with pytest.raises(HarnessError, match=r"now holds .* not measured; .*checkpoint-1000@.*Run it again") as caught:
        means(two[0])
    assert caught.value.exit_code == 3
    model("exp3/checkpoint-1000", 4)
    with pytest.raises(HarnessError, match="not measured"):
        means("exp3/checkpoint-1000")


def test_two_weights_under_one_path_are_two_results(two: list[Path]):
    old = open_model(str(two[0]), Path("cache")).revision
    model("exp1/checkpoint-1000", 3)
    saved(Path("results"), result_of(two[0], [0.9, 0.9, 0.9]))
    assert means(two[0]) == pytest.approx(0.9)
    assert means(f"exp1/checkpoint-1000@{old[:8]}") == pytest.approx(0.6)
    shutil.rmtree("exp1")
    with pytest.raises(HarnessError, match=rf"could mean 2 rerankers.*exp1/checkpoint-1000@{old[:8]}") as caught:
        means("exp1/checkpoint-1000")
    assert "exp2" not in str(caught.value)


def test_a_name_that_two_have_is_refused_with_both(two: list[Path]):
    with pytest.raises(HarnessError, match=r"could mean 2 rerankers.*: exp1/checkpoint-1000, exp2/checkpoint-1000"):
        means("checkpoint-1000")
    shutil.rmtree("exp1")
    assert means("exp1/checkpoint-1000") == pytest.approx(0.6), "a folder that is gone is known by its path"


def test_comparisons_name_both_by_their_folders(two: list[Path]):
    first, *others = open_systems([str(folder) for folder in two], Path("results"))
    (found,) = compare_all(first, others)
    assert (found.first, found.second) == ("exp1/checkpoint-1000", "exp2/checkpoint-1000")
    assert found.rows[0].reranker == "exp1/checkpoint-1000 → exp2/checkpoint-1000"
    (other,) = compare_all(first, [System("bm25", others[0].entries)])
    rows = [line for line in answer_text([found, other], 120).splitlines() if line.startswith("Birds")]
    assert any("exp2/" in row for row in rows), "nor is the second shortened to the name of the first"


def test_settings_of_one_reranker_are_named_in_brackets():
    for length, value in ((256, 0.4), (512, 0.6)):
        saved(
            Path("results"),
            made([value] * 3, reranker_settings={"max_length": length}, reranker_fingerprint=f"{length}" + "0" * 29),
        )
    with pytest.raises(HarnessError, match=r"org/model \(max_length 256\), org/model \(max_length 512\)"):
        open_systems(["org/model"], Path("results"))
    assert len(open_system("org/model", Path("results")).entries) == 2, "a report takes both"
    assert means("org/model (max_length 256)") == pytest.approx(0.4)
    first, *others = open_systems(["org/model (max_length 256)", "org/model (max_length 512)"], Path("results"))
    (found,) = compare_all(first, others)
    assert found.second == "org/model (max_length 512)"


def test_settings_that_answer_other_questions_are_one_reranker():
    saved(Path("results"), made([0.5], reranker_settings={"dtype": "float32"}, reranker_fingerprint="1" * 32))
    saved(
        Path("results"),
        made([0.5], task="Trees", reranker_settings={"dtype": "bfloat16"}, reranker_fingerprint="2" * 32),
    )
    assert len(open_system("org/model", Path("results")).entries) == 2


def test_code_in_a_file_is_known_by_its_content(tmp_path: Path):
    for name, value in (("a", 0.4), ("b", 0.6)):
        file = tmp_path / name / "mine.py"
        file.parent.mkdir()
        file.write_text(f"# {name}\n")
        revision = revision_of_file(file)
        one = made([value] * 2, reranker=("mine.py:rank", "b/mine.py:rank")[name == "b"], reranker_revision=revision)
        saved(Path("results"), replace(one, place=f"{place_of(file)}:rank"))
    assert [means("a/mine.py:rank"), means("b/mine.py:rank")] == pytest.approx([0.4, 0.6])
    Path("a/mine.py").write_text("# changed\n")
    with pytest.raises(HarnessError, match="not measured"):
        means("a/mine.py:rank")


def test_the_first_stage_of_a_rerankers_result_and_the_best_order_can_be_compared(cli: Cli):
    one = made([0.5, 0.9, 0.7], [0.4, 0.1, 0.7])
    oracle = {"oracle": [1.0, 1.0, 1.0]}
    values = {"nDCG@10": {**one.values["nDCG@10"], **oracle}}
    measures = {"nDCG@10": {**one.measures["nDCG@10"], "oracle": 1.0}}
    saved(
        Path("results"),
        replace(one, values=values, measures=measures),
        made([0.3] * 3, [0.4, 0.1, 0.7], reranker="org/other"),
    )
    answer = cli("compare", "bm25", "org/model", "oracle", "--format", "json")
    first, second = (each["rows"][0] for each in json.loads(answer.out)["comparisons"])
    assert (first["first"], first["second"], first["wins"]) == (pytest.approx(0.4), pytest.approx(0.7), 2)
    assert (second["first"], second["second"], second["reranker"]) == (pytest.approx(0.4), 1.0, "bm25 alone → oracle")
    backwards = json.loads(cli("compare", "org/model", "bm25", "--format", "json").out)["comparisons"][0]["rows"][0]
    assert backwards["difference"] == pytest.approx(-first["difference"])
    (path,) = Path("results").glob("org__model/**/*@*.json")
    shutil.move("results", "elsewhere")
    there = json.loads(cli("compare", "bm25", Path("elsewhere", *path.parts[1:]), "--format", "json").out)
    assert there["comparisons"][0]["rows"][0]["difference"] == pytest.approx(first["difference"])
    shutil.move("elsewhere", "results")
    assert cli("report", "bm25").code == 3


def test_lists_without_scores_have_no_first_stage_to_compare():
    one = made([0.5, 0.9], [0.4, 0.1], retriever="given", top_k=None)
    values = {"nDCG@10": {"reranked": [0.5, 0.9]}}
    saved(Path("results"), replace(one, values=values, measures={"nDCG@10": {"reranked": 0.7, "first_stage": None}}))
    with pytest.raises(HarnessError, match='"given" is no result file'):
        open_systems(["given", "org/model"], Path("results"))


def test_a_run_file_and_a_dense_models_folder_name_their_first_stages(tmp_path: Path):
    from harness.files.cache import file_digest

    run = tmp_path / "deep.trec"
    run.write_text("q0 Q0 d0 1 1.0 x\n")
    digest = file_digest(run, tmp_path / "cache")
    folder = model("enc", 5)
    revision = open_model(str(folder), Path("cache")).revision
    saved(Path("results"), made([0.5], [0.1], retriever="deep", retriever_settings={"file": digest}))
    saved(Path("results"), made([0.5], [0.2], retriever="enc", retriever_settings={"revision": revision}))
    for word, value in ((run, 0.1), (folder, 0.2), ("deep top 100", 0.1)):
        (entry,) = open_systems([str(word)], Path("results"))[0].entries
        assert entry.result.reranker is None
        assert entry.result.measures["nDCG@10"]["first_stage"] == value


def test_a_gate_finds_a_reranker_by_its_path_and_its_baseline_by_name(two: list[Path]):
    one = result_of(two[1], [0.8, 0.8, 0.9])
    saved(Path("baseline"), replace(one, identity=replace(one.identity, reranker_revision="0" * 40)))
    before, now = entries_in(Path("baseline")), entries_in(Path("results"))
    found = judge_against(Path("baseline"), Path("results"), scope=scope_of("exp2/checkpoint-1000", None, before, now))
    assert [row.difference for row in found.rows] == pytest.approx([0.5666667 - 0.8333333])
    assert not found.mismatches
    alone = scope_of("exp1/checkpoint-1000", None, before, now)
    with pytest.raises(HarnessError, match="holds no result of exp1/checkpoint-1000"):
        judge_against(Path("baseline"), Path("results"), scope=alone)


def test_a_gate_holds_each_setting_of_a_sweep_against_itself():
    for folder, shift in (("baseline", 0.0), ("results", 0.1)):
        for length in (256, 512):
            one = made(
                [0.4 + shift, 0.5, 0.6],
                reranker_settings={"max_length": length},
                reranker_fingerprint=f"{length}" + "0" * 29,
            )
            saved(Path(folder), one)
    found = judge_against(Path("baseline"), Path("results"))
    assert len(found.rows) == 2
    assert not found.mismatches


def test_a_ranking_that_is_there_already_is_known_by_its_content(cli: Cli, collection_folder: Path):
    for place, scores in (("a", (3, 2, 1)), ("b", (1, 2, 3))):
        Path(place).mkdir()
        lines = [f"q{q} Q0 d{q + i:02d} 1 {score} x" for q in range(6) for i, score in enumerate(scores)]
        Path(place, "prod.trec").write_text("\n".join(lines) + "\n")
    first = cli(
        "run", collection_folder, "--reranker", "run:a/prod.trec", "--candidates", "a/prod.trec", "--format", "json"
    )
    second = cli(
        "run", collection_folder, "--reranker", "run:b/prod.trec", "--candidates", "a/prod.trec", "--format", "json"
    )
    names = [first.results()[0]["reranker"], second.results()[0]["reranker"]]
    assert names == ["run:prod", "run:b/prod"]
    found = json.loads(cli("compare", "run:a/prod.trec", "run:b/prod.trec", "a/prod.trec", "--format", "json").out)
    assert [each["second"] for each in found["comparisons"]] == ["run:b/prod", "prod"]
    assert found["comparisons"][0]["first"] == "run:a/prod"


def test_a_baseline_keeps_the_settings_that_an_update_says_nothing_of():
    def one(length: int, value: float) -> Result:
        return made([value] * 3, reranker_settings={"max_length": length}, reranker_fingerprint=f"{length}" + "0" * 29)

    saved(Path("baseline"), one(256, 0.4), one(512, 0.5))
    saved(Path("results"), one(512, 0.6))
    update(Path("baseline"), Path("results"))
    kept = {
        e.result.identity.reranker_settings["max_length"]: e.result.measures["nDCG@10"]["reranked"]
        for e in entries_in(Path("baseline"))
    }
    assert kept == pytest.approx({256: 0.4, 512: 0.6})


def test_a_path_means_its_own_name_before_a_label_of_the_same_weights(two: list[Path]):
    saved(Path("results"), result_of(two[0], [0.5, 0.6, 0.7], "production", reranker_fingerprint="9" * 32))
    assert means(two[0]) == means("production") == pytest.approx(0.6)
    shutil.rmtree("results/checkpoint-1000")
    assert open_system(str(two[0]), Path("results")).label == "production"
