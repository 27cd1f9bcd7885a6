"""`rerank-harness.toml`: a whole run in a file; flags go before it."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands.test_bad_input import one_line
from conftest import DATA, Cli, Counter


def write(text: str, name: str = "rerank-harness.toml") -> None:
    Path(name).write_text(text)


def test_a_run_without_words_is_read_from_the_file(cli: Cli, collection_folder: Path, counter: Counter):
    write(
        f'tasks = ["{collection_folder}"]\nreranker = "{counter.name}"\ntop-k = 4\nmeasures = ["nDCG@5", "RR@10"]\nformat = "json"\n'
    )
    (result,) = cli("run").results()
    assert result["top_k"] == 4
    assert list(result["measures"])[:2] == ["nDCG@5", "RR@10"]
    assert len(counter.pairs()) == 24


def test_flags_go_before_the_file(cli: Cli, collection_folder: Path, counter: Counter):
    write(f'tasks = ["{collection_folder}"]\nreranker = ["{counter.name}"]\ntop-k = 4\n', "mine.toml")
    (result,) = cli("run", "--config", "mine.toml", "--top-k", 2, "--format", "json").results()
    assert result["top_k"] == 2


def test_settings_of_a_family_are_a_table(cli: Cli, collection_folder: Path):
    model = DATA / "models" / "cross-encoder"
    write(f'tasks = ["{collection_folder}"]\nreranker = "{model}"\nformat = "json"\n\n[set]\nmax_length = 20\n')
    (result,) = cli("run").results()
    assert result["diagnostics"]["truncated_pairs"] > 0


def test_the_file_is_not_read_where_tasks_are_named(cli: Cli, collection_folder: Path):
    write("nonsense = 1\n")
    assert cli("run", collection_folder).code == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('tasks = ["SciFact"]\ntop_k = 5\n', ["line 2", '"top_k"', 'Did you mean "top-k"']),
        ('tasks = ["SciFact"]\n\ntop-k = "many"\n', ["line 3", '"top-k"', "above 0"]),
        ('tasks = ["SciFact"]\nfuse = "yes"\n', ["line 2", "true or false"]),
        ('tasks = ["SciFact"]\nformat = "jsn"\n', ["line 2", 'Did you mean "json"']),
        ("tasks = [\n", ["TOML"]),
        ('tasks = ["SciFact"]\nset = 5\n', ["line 2", "table"]),
        ('reranker = "x"\n', ["TASK"]),
    ],
)
def test_a_mistake_in_the_file_names_line_and_key(cli: Cli, text, said):
    write(text)
    one_line(cli("run"), *said)


def test_a_file_that_is_not_there_is_one_line(cli: Cli):
    one_line(cli("run", "--config", "none.toml"), "none.toml")
