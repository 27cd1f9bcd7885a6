"""Which files hold what: by a card's configs, and by names."""

from __future__ import annotations

import pytest

from harness.data.layout import Layout, Listing
from harness.errors import HarnessError


def card(*configs: str) -> str:
    return "---\nlicense: mit\nconfigs:\n" + "\n".join(configs) + "\n---\n# A data set\n---\nconfigs: not here\n"


def config(name: str, **splits: str) -> str:
    return f"- config_name: {name}\n  data_files:\n" + "\n".join(
        f"  - split: {split}\n    path: '{path}'" for split, path in splits.items()
    )


def refusal(names: list[str], text: str = "", subset: str = "", split: str = "test") -> str:
    with pytest.raises(HarnessError) as caught:
        Listing(names, text, "data set a/b at 1234abcd").layout(subset, split)
    return str(caught.value)


NAMES = ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"]
PLAIN = card(
    config("default", test="qrels/test.jsonl", dev="qrels/dev.jsonl"),
    config("corpus", corpus="corpus.jsonl"),
    config("queries", queries="queries.jsonl"),
)
PLAIN_NAMES = ["README.md", "corpus.jsonl", "queries.jsonl", "qrels/test.jsonl", "qrels/dev.jsonl"]


def test_a_cards_configs_say_which_files_there_are():
    assert Listing(PLAIN_NAMES, PLAIN, "x").layout("", "dev") == Layout(
        corpus=("corpus.jsonl",), queries=("queries.jsonl",), qrels=("qrels/dev.jsonl",)
    )


def test_optional_parts_are_found_by_their_configs():
    text = PLAIN.replace(
        "\n---\n# A",
        "\n"
        + "\n".join(
            config(name, **{name: f"{name}.jsonl"}) for name in ("instruction", "top_ranked", "qrel_diff", "excluded")
        )
        + "\n---\n# A",
    )
    names = [*PLAIN_NAMES, "instruction.jsonl", "top_ranked.jsonl", "qrel_diff.jsonl", "excluded.jsonl"]
    layout = Listing(names, text, "x").layout("", "test")
    assert layout.top_ranked == ("top_ranked.jsonl",)
    assert layout.files() == [
        "corpus.jsonl", "queries.jsonl", "qrels/test.jsonl", "instruction.jsonl", "top_ranked.jsonl", "qrel_diff.jsonl",
        "excluded.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize("pattern", ["{}-{}", "{1}-{0}"])
def test_a_subset_is_a_prefix_or_a_suffix_of_the_configs(pattern):
    text = card(
        *(config(pattern.format("zh", part), dev=f"zh/{part}.jsonl") for part in ("corpus", "queries", "qrels"))
    )
    names = ["zh/corpus.jsonl", "zh/queries.jsonl", "zh/qrels.jsonl"]
    assert Listing(names, text, "x").layout("zh", "dev").files() == names
    assert 'has no config "de-corpus" or "corpus-de" for its corpus; it has' in refusal(names, text, "de", "dev")


def test_globs_stay_in_their_folder_and_shards_are_in_order():
    text = card(
        config("corpus", corpus="data/corpus-*"),
        config("queries", queries="**/queries.jsonl"),
        config("default", test="q?.tsv"),
    )
    names = [
        "data/corpus-1.parquet",
        "data/corpus-0.parquet",
        "data/corpus-x/y.parquet",
        "a/b/queries.jsonl",
        "q1.tsv",
        "q10.tsv",
    ]
    assert Listing(names, text, "x").layout("", "test") == Layout(
        corpus=("data/corpus-0.parquet", "data/corpus-1.parquet"), queries=("a/b/queries.jsonl",), qrels=("q1.tsv",)
    )


@pytest.mark.parametrize(
    "files",
    [
        "  data_files: qrels/test.jsonl",
        "  data_files:\n  - qrels/test.jsonl",
        "  data_files:\n    train: qrels/test.jsonl",
        "  data_files:\n  - split: train\n    path:\n    - ./qrels/test.jsonl",
        "  data_dir: qrels\n  data_files: test.jsonl",
    ],
)
def test_every_form_of_data_files_is_understood(files):
    text = card(
        f"- config_name: default\n{files}",
        config("corpus", corpus="corpus.jsonl"),
        config("queries", queries="queries.jsonl"),
    )
    assert Listing(PLAIN_NAMES, text, "x").layout("", "train").qrels == ("qrels/test.jsonl",)


def test_a_missing_split_is_refused_with_those_there_are():
    message = refusal(PLAIN_NAMES, PLAIN, split="tset")
    assert 'has no split "tset"; it has test, dev' in message
    assert 'Did you mean "test"' in message
    assert 'has no split "train"; it has test' in refusal(NAMES, split="train")


def test_qrels_never_stand_in_for_another_split():
    text = card(config("default", train="q.tsv"), config("corpus", corpus="c"), config("queries", queries="d"))
    assert 'has no split "test"; it has train' in refusal(["q.tsv", "c", "d"], text)


def test_other_parts_give_their_only_split():
    text = card(config("default", test="q"), config("corpus", a="c", b="d"), config("queries", x="e"))
    assert 'config "corpus" of data set a/b at 1234abcd has no split "test"; it has a, b' in refusal(
        ["q", "c", "d", "e"], text
    )


def test_a_file_that_is_not_there_is_refused():
    assert 'config "corpus" of data set a/b at 1234abcd names "corpus.jsonl", and there is no such file' in refusal(
        ["queries.jsonl", "qrels/test.jsonl"], PLAIN
    )


def test_yaml_that_cannot_be_read_is_one_line():
    message = refusal(NAMES, "---\nconfigs: [\n---\n")
    assert "the card of data set a/b at 1234abcd is not readable YAML" in message
    assert "\n" not in message


def test_data_files_without_a_path_are_one_line():
    text = "---\nconfigs:\n- config_name: corpus\n  data_files:\n  - split: corpus\n---\n"
    assert "lists data_files without 'path': each has a split and a path" in refusal(["corpus.jsonl"], text)


@pytest.mark.parametrize("text", ["", "# No front matter", "---\nlicense: mit\n---\n", "---\n- a list\n---\n"])
def test_without_configs_the_names_decide(text):
    layout = Listing([*NAMES, "README.md"], text, "x").layout("", "test")
    assert layout == Layout(corpus=("corpus.jsonl",), queries=("queries.jsonl",), qrels=("qrels/test.tsv",))


@pytest.mark.parametrize(
    "names",
    [
        ["corpus.jsonl.gz", "queries.jsonl.gz", "qrels/test.tsv.gz", "top_ranked.jsonl.gz"],
        ["corpus.parquet", "queries.parquet", "qrels/test.parquet"],
        ["corpus-00000-of-00002.parquet", "corpus-00001-of-00002.parquet", "queries.jsonl", "qrels/test.jsonl"],
        ["corpus/a.parquet", "corpus/b.parquet", "queries.jsonl", "qrels/test-00000-of-00001.parquet"],
        ["corpus.jsonl", "queries.jsonl", "qrels.jsonl"],
        ["corpus.jsonl", "queries.jsonl", "qrels/test.txt"],
    ],
)
def test_beirs_names_may_be_packed_or_parquet(names):
    listing = Listing([*names, "notes.txt", "runs/bm25.trec", "qrels/dev.md"], "", "x")
    assert sorted(listing.layout("", "test").files()) == sorted(names)
    assert listing.splits("") == ["test"]
    assert listing.data_files() == sorted(names)


def test_a_subset_may_be_a_folder():
    names = ["de/corpus.jsonl", "de/queries.jsonl", "de/qrels/dev.tsv", "fr/corpus.jsonl"]
    listing = Listing(names, "", "x")
    assert listing.layout("de", "dev").files() == ["de/corpus.jsonl", "de/queries.jsonl", "de/qrels/dev.tsv"]
    assert listing.splits("de") == ["dev"]
    assert "has no queries.jsonl in fr/" in refusal([*names, "fr/qrels.tsv"], "", "fr")


def test_two_files_for_one_part_are_refused():
    message = refusal([*NAMES, "corpus.jsonl.gz"])
    assert "has both corpus.jsonl and corpus.jsonl.gz: keep one" in message


def test_missing_files_are_named():
    assert "has no corpus.jsonl" in refusal(["queries.jsonl", "qrels/test.tsv"])
    assert "has no qrels/test.tsv" in refusal(["corpus.jsonl", "queries.jsonl"])


def test_the_rules_are_those_of_the_card_and_not_its_prose():
    assert Listing(NAMES, "prose", "x").rules() == ""
    assert Listing(NAMES, PLAIN, "x").rules() == Listing(NAMES, PLAIN + "more prose", "x").rules() != ""
