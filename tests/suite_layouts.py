"""Small data in every on-disk shape of the suites, and `run` in real processes in front of a hub that serves it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import processes
import yaml
from conftest import ROOT, WORDS

Rows = list[dict[str, Any]]

MIRACL = ("sw", "yo")
COUNTS = {"queries": 4, "documents": 12}


# -- small data, laid out as the suites are


def corpus(language: str = "", **more: str) -> Rows:
    """Document i holds the words i, i+1, i+2 of twelve."""
    return [
        {"_id": f"d{i}", "title": f"On {WORDS[i]}", "text": f"{WORDS[i]} {WORDS[(i + 1) % 12]} {WORDS[(i + 2) % 12]} {language}".strip(), **more}
        for i in range(12)
    ]  # fmt: skip


def queries(ids: list[str]) -> Rows:
    return [{"_id": name, "text": f"{WORDS[i % 12]} {WORDS[(i + 1) % 12]}"} for i, name in enumerate(ids)]


def judgements(ids: list[str]) -> Rows:
    return [
        {"query-id": name, "corpus-id": f"d{(i + step) % 12}", "score": 2 - step}
        for i, name in enumerate(ids)
        for step in range(3)
    ]


def lists(ids: list[str], length: int = 6) -> Rows:
    return [
        {"query-id": name, "corpus-ids": [f"d{(i + step) % 12}" for step in range(length)]}
        for i, name in enumerate(ids)
    ]


class DataSet:
    """One repository of the small hub, at the revision that a card pins."""

    def __init__(self, hub: Path, path: str, revision: str) -> None:
        self.folder = hub / "datasets" / path
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ".revision").write_text(revision)
        self.configs: list[dict[str, Any]] = []

    def jsonl(self, config: str, split: str, path: str, rows: Rows) -> DataSet:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return self._named(config, split, path)

    def parquet(self, config: str, split: str, folder: str, rows: Rows, shards: int = 1) -> DataSet:
        import pyarrow as pa
        from pyarrow import parquet

        (self.folder / folder).mkdir(parents=True, exist_ok=True)
        for shard in range(shards):
            part = pa.Table.from_pylist(rows[shard::shards])
            parquet.write_table(part, self.folder / folder / f"{split}-{shard:05d}-of-{shards:05d}.parquet")
        return self._named(config, split, f"{folder}/{split}-*")

    def _named(self, config: str, split: str, path: str) -> DataSet:
        entry = next((entry for entry in self.configs if entry["config_name"] == config), None)
        if entry is None:
            entry = {"config_name": config, "data_files": []}
            self.configs.append(entry)
        entry["data_files"].append({"split": split, "path": path})
        self.card({})
        return self

    def card(self, front: dict[str, Any]) -> DataSet:
        text = yaml.safe_dump({**front, "configs": self.configs}, sort_keys=False)
        (self.folder / "README.md").write_text(f"---\n{text}---\n# Data\n")
        return self


def plain(data: DataSet, split: str, ids: list[str]) -> None:
    data.jsonl("default", split, f"qrels/{split}.jsonl", judgements(ids))
    data.jsonl("corpus", "corpus", "corpus.jsonl", corpus())
    data.jsonl("queries", "queries", "queries.jsonl", queries(ids))


def twins(bases: int = 2) -> list[str]:
    return [f"{base}-{side}" for base in range(bases) for side in ("og", "changed")]


def instructions(ids: list[str]) -> Rows:
    return [{"query-id": name, "instruction": f"those of {WORDS[len(name)]}, {name}"} for name in ids]


def of_task(hub: Path, name: str) -> DataSet:
    card = yaml.safe_load((ROOT / "tasks" / f"{name}.yaml").read_text())
    return DataSet(hub, card["path"], card["revision"])


def lay_out(hub: Path) -> None:
    """A repository for each shape."""
    ids = [f"q{i}" for i in range(4)]
    plain(of_task(hub, "NFCorpus"), "test", ids)
    plain(of_task(hub, "NanoSciFactRetrieval"), "train", ids)
    plain(of_task(hub, "ArguAna"), "test", ["d0", "d1", "d2", "d3"])

    shards = of_task(hub, "CmedqaRetrieval")
    shards.parquet("default", "dev", "data", judgements(ids))
    shards.parquet("corpus", "dev", "corpus", corpus(), shards=3)
    shards.parquet("queries", "dev", "queries", queries(ids), shards=2)

    for name in ("MIRACLRetrieval", "MIRACLRetrievalHardNegatives", "MIRACLReranking"):
        data = of_task(hub, name)
        for language in MIRACL:
            data.parquet(f"{language}-corpus", "dev", f"{language}-corpus", corpus(language))
            data.parquet(f"{language}-qrels", "dev", f"{language}-qrels", judgements(ids))
            data.parquet(f"{language}-queries", "dev", f"{language}-queries", queries(ids))
            if name == "MIRACLReranking":
                data.parquet(f"{language}-top_ranked", "dev", f"{language}-top_ranked", lists(ids))

    reranking = of_task(hub, "T2Reranking")
    reranking.parquet("corpus", "dev", "corpus", corpus())
    reranking.parquet("qrels", "dev", "qrels", judgements(ids))
    reranking.parquet("queries", "dev", "queries", queries(ids))
    reranking.parquet("top_ranked", "dev", "top_ranked", lists(ids))

    for name in ("Core17InstructionRetrieval", "News21InstructionRetrieval", "Robust04InstructionRetrieval"):
        changing(of_task(hub, name), "{}")
    for name in ("mFollowIR", "mFollowIRCrossLingual"):
        for language in ("fas", "rus", "zho"):
            changing(of_task(hub, name), f"{{}}-{language}", language)

    groups = [f"{query}_{person}" for query in ("1", "2") for person in ("a", "b")]
    robust = of_task(hub, "InstructIR")
    plain(robust, "test", groups)
    robust.jsonl("instruction", "instruction", "instruction.jsonl", instructions(groups))

    for name in ("BrightRetrieval", "BrightBiologyRetrieval"):
        bright(of_task(hub, name))

    syntec = DataSet(hub, "lyon-nlp/mteb-fr-retrieval-syntec-s2p", "19661ccdca4dfc2d15122d776b61685f48c68ca9")
    documents = [{"id": row["_id"], "title": row["title"], "content": row["text"]} for row in corpus()]
    syntec.jsonl("documents", "test", "documents/test.jsonl", documents)
    asked = [{"Question": row["text"], "Article": f"d{i}"} for i, row in enumerate(queries(ids))]
    syntec.jsonl("queries", "test", "queries/test.jsonl", asked)

    without_card = DataSet(hub, "mteb/AskUbuntuDupQuestions", "c5691e3c48741d5f83b5cc8e630653d7a8cfc048")
    without_card.parquet("corpus", "test", "corpus", corpus())
    without_card.parquet("default", "test", "data", judgements(ids))
    without_card.parquet("queries", "test", "queries", queries(ids))
    without_card.parquet("top_ranked", "test", "top_ranked", lists(ids))

    unknown = DataSet(hub, "some-org/swahili-things", "ab" * 20)
    plain(unknown, "dev", ids)
    unknown.card({"language": ["sw"]})


def changing(data: DataSet, name: str, language: str = "") -> None:
    """FollowIR's layout; `name` says how a part's config is written."""
    data.configs += [] if data.configs else _configs_of(data)
    ids = twins()
    place = f"{language}/" if language else ""
    data.jsonl(name.format("corpus"), "corpus", f"{place}corpus.jsonl", corpus(language))
    data.jsonl(name.format("queries"), "queries", f"{place}queries.jsonl", queries(ids))
    data.jsonl(name.format("instruction"), "instruction", f"{place}instruction.jsonl", instructions(ids))
    data.jsonl(name.format("default"), "test", f"{place}qrels.jsonl", judgements(ids))
    data.jsonl(name.format("top_ranked"), "top_ranked", f"{place}top_ranked.jsonl", lists(ids))
    diff = [{"query-id": str(base), "corpus-ids": [f"d{base * 2}"]} for base in range(2)]
    data.jsonl(name.format("qrel_diff"), "qrel_diff", f"{place}qrel_diff.jsonl", diff)


def _configs_of(data: DataSet) -> list[dict[str, Any]]:
    card = data.folder / "README.md"
    return yaml.safe_load(card.read_text().split("---")[1])["configs"] if card.is_file() else []


BRIGHT = (
    "biology", "earth_science", "economics", "psychology", "robotics", "stackoverflow", "sustainable_living", "pony",
    "leetcode", "aops", "theoremqa_theorems", "theoremqa_questions",
)  # fmt: skip


def bright(data: DataSet, domains: Iterable[str] = ("biology", "pony"), long: int = 6) -> None:
    """BRIGHT's layout: a split a domain; `long` documents are whole."""
    for domain in domains:
        documents = [{"id": f"{domain}/{row['_id']}", "content": row["text"]} for row in corpus()]
        data.parquet("documents", domain, "documents", documents)
        data.parquet("long_documents", domain, "long_documents", documents[:long])
        examples = [
            {
                "query": row["text"],
                "reasoning": "",
                "id": row["_id"],
                "excluded_ids": [f"{domain}/d{i}"] if i == 0 else ["N/A"],
                "gold_ids_long": [f"{domain}/d{i + 1}"],
                "gold_ids": [f"{domain}/d{i + 1}", f"{domain}/d{i + 2}"],
                "gold_answer": "",
            }
            for i, row in enumerate(queries(["0", "1", "2", "3"]))
        ]
        data.parquet("examples", domain, "examples", examples)


# -- every packed card, each laid out as the data sets of its suite are

IDS = [f"q{i}" for i in range(4)]
OF_DOCUMENTS = [f"d{i}" for i in range(4)]
GROUPS = ["1_a", "1_b", "2_a", "2_b"]


def as_jsonl(data: DataSet, card: dict[str, Any]) -> None:
    """BEIR: files in BEIR's own layout, and judgements of other splits beside those that count."""
    plain(data, card.get("split", "test"), ids_of(card))
    data.jsonl("default", "train", "qrels/train.jsonl", [{"query-id": "q0", "corpus-id": "d9", "score": 1}])


def as_parquet(data: DataSet, card: dict[str, Any], qrels: str = "default") -> None:
    """NanoBEIR and C-MTEB: one config a part, each in shards; a split of the same name in all of them."""
    split, ids = card.get("split", "test"), ids_of(card)
    data.parquet("corpus", split, "corpus", corpus(), shards=2)
    data.parquet(qrels, split, qrels if qrels == "qrels" else "data", judgements(ids))
    data.parquet("queries", split, "queries", queries(ids))
    if card.get("candidates") == "given":
        data.parquet("top_ranked", split, "top_ranked", lists(ids))


def as_languages(data: DataSet, card: dict[str, Any]) -> None:
    """MIRACL and XQuAD: each part's config begins with the language."""
    for language in card["subsets"]:
        data.parquet(f"{language}-corpus", card["split"], f"{language}-corpus", corpus(language))
        data.parquet(f"{language}-qrels", card["split"], f"{language}-qrels", judgements(IDS))
        data.parquet(f"{language}-queries", card["split"], f"{language}-queries", queries(IDS))
        if card.get("candidates") == "given":
            data.parquet(f"{language}-top_ranked", card["split"], f"{language}-top_ranked", lists(IDS))


def as_groups(data: DataSet, card: dict[str, Any]) -> None:
    """InstructIR: several instructions for one query."""
    plain(data, "test", GROUPS)
    data.jsonl("instruction", "instruction", "instruction.jsonl", instructions(GROUPS))


def as_pairs_by_language(data: DataSet, card: dict[str, Any]) -> None:
    """mFollowIR: FollowIR's parts, each one's config ending in the language."""
    for subset, stated in card["subsets"].items():
        language = stated.get("config", subset)
        changing(data, f"{{}}-{language}", language)


LAYOUTS: dict[str, Callable[[DataSet, dict[str, Any]], None]] = {
    "BEIR": as_jsonl,
    "NanoBEIR": as_parquet,
    "C-MTEB-retrieval": as_parquet,
    "C-MTEB-reranking": lambda data, card: as_parquet(data, card, "qrels"),
    "MIRACL": as_languages,
    "XQuADRetrieval": as_languages,
    "TREC-DL": as_parquet,
    "FollowIR": lambda data, card: changing(data, "{}"),
    "mFollowIR-all": as_pairs_by_language,
    "InstructIR": as_groups,
    "BRIGHT": lambda data, card: bright(data, BRIGHT, 12),
    "BRIGHT-long": lambda data, card: bright(data, BRIGHT, 12),
    "BrightRetrieval": lambda data, card: bright(data, BRIGHT, 12),
    "BrightLongRetrieval": lambda data, card: bright(data, BRIGHT, 12),
}
"""Suite, or a task that is in none → how its data sets are laid out on the hub."""


def ids_of(card: dict[str, Any]) -> list[str]:
    return OF_DOCUMENTS if card.get("identical_ids") == "drop" else IDS


def packed_cards() -> dict[str, dict[str, Any]]:
    """Every packed card of one data set on the hub, by name."""
    cards = {path.stem: yaml.safe_load(path.read_text()) for path in sorted((ROOT / "tasks").glob("*.yaml"))}
    return {name: card for name, card in cards.items() if "path" in card}


def suite_of(name: str) -> str:
    """The suite whose layout a task's data has: the one that lists it, or the task itself."""
    suites = yaml.safe_load((ROOT / "tasks" / "suites.yaml").read_text())
    forums = yaml.safe_load((ROOT / "tasks" / "CQADupstackRetrieval.yaml").read_text())
    listed = {task: suite for suite, stated in suites.items() for task in stated["tasks"]}
    return listed["CQADupstackRetrieval"] if name in forums["tasks"] else listed.get(name, name)


def lay_out_every_card(hub: Path) -> None:
    """The data set of each packed card, with few rows; a card of a suite without a layout is a KeyError."""
    done = set()
    for name, card in packed_cards().items():
        if card["path"] not in done:
            LAYOUTS[suite_of(name)](DataSet(hub, card["path"], card["revision"]), card)
            done.add(card["path"])


def cards_of_small_data(folder: Path) -> Path:
    """Every packed card as it is, but for the counts, which are those of the small data."""
    folder.mkdir()
    for name, card in packed_cards().items():
        subsets = {subset: {**(stated or {}), "counts": COUNTS} for subset, stated in card.get("subsets", {}).items()}
        stated = {**card, "subsets": subsets} if subsets else {**card, "counts": COUNTS}
        if subsets:
            stated.pop("counts", None)
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(stated, sort_keys=False))
    return folder


SUBSETS = {
    "MIRACLRetrieval": dict.fromkeys(MIRACL, COUNTS),
    "MIRACLRetrievalHardNegatives": dict.fromkeys(MIRACL, COUNTS),
    "MIRACLReranking": dict.fromkeys(MIRACL, COUNTS),
    "BrightRetrieval": dict.fromkeys(("biology", "pony"), COUNTS),
}


def small_cards(folder: Path) -> Path:
    """The packed cards of the tasks that are laid out, with the counts of the small data."""
    folder.mkdir()
    for path in (ROOT / "tasks").glob("*.yaml"):
        card = yaml.safe_load(path.read_text())
        if path.name == "suites.yaml" or "path" not in card:
            continue
        card.pop("counts", None)
        kept = SUBSETS.get(path.stem, card.get("subsets") or {})
        if kept:
            subsets = {name: card["subsets"][name] or {} for name in kept}
            card["subsets"] = {
                name: {**{key: value for key, value in entry.items() if key != "counts"}, "counts": COUNTS}
                for name, entry in subsets.items()
            }
        else:
            card["counts"] = COUNTS
        (folder / path.name).write_text(yaml.safe_dump(card))
    return folder


# -- running against it

RERANKER = '''
"""Scores a pair by the words it shares and the instruction's length: light, and moved by instructions."""
class Words:
    fingerprint = "words 1"

    def predict(self, pairs):
        return [len(set(q.split()) & set(d.split())) + (len(q) * len(d)) % 7 / 7 for q, d in pairs]

words = Words()
'''


class Runs:
    """`run` in real processes, with the small hub in front."""

    def __init__(self, home: Path, endpoint: str, cards: Path) -> None:
        self.home, self.cards = home, cards
        (home / "words.py").write_text(RERANKER)
        self.reranker = f"{home / 'words.py'}:words"
        self.env = {
            **os.environ,
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_DISABLE_XET": "1",
            "RERANK_HARNESS_CACHE": str(home / "cache"),
        }
        self.env.pop("HF_HUB_OFFLINE", None)

    def command(self, *words: object) -> subprocess.CompletedProcess[str]:
        return processes.run([ROOT / "run_eval.py", *words], self.env, self.home)

    def json(self, *words: object, cards: bool = True) -> dict[str, Any]:
        mine = ["--tasks", self.cards] if cards else []
        done = self.command("run", *words, *mine, "--format", "json", "--results", self.home / "results")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
