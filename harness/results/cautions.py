"""Warnings: what in a result says that its number may not mean what it seems to.

Every warning has a code, a rule on the stored result, and a text in `cautions.yaml` that `explain`
prints. The rules are functions of the result alone, so a result read from disk warns as the run did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import HarnessError, did_you_mean
from ..files.yaml_file import read_yaml
from .data_cautions import blank_documents, repeated, unread
from .result import Result

__all__ = [
    "CODES", "Caution", "cautions_of", "check_codes", "explained", "listed", "recall_of", "selected",
    "text_of_code", "title_of_code",
]  # fmt: skip


@dataclass(frozen=True)
class Caution:
    """One warning of one result."""

    code: str
    what: str
    """What was seen, with its figures, in one line."""


Rule = Callable[[Result], str | None]


def cautions_of(result: Result) -> list[Caution]:
    """Every warning that the result gives rise to, in the order of codes.

    What an older result does not say gives rise to none.
    """
    return [Caution(code, what) for code, rule in _RULES.items() if (what := rule(result))]


def _ties(result: Result) -> str | None:
    seen = result.diagnostics
    rate = seen.get("tie_rate")
    if not rate or rate <= 0.05:
        return None
    rounded = f"{seen['dtype']} rounds" if seen.get("dtype") in ("bfloat16", "float16") else "single precision brings"
    reasons = [
        f"{seen['tied_alike']} have the input of another one" if seen.get("tied_alike") else "",
        f"{seen['tied_apart']} have inputs of their own, whose scores {rounded} together"
        if seen.get("tied_apart")
        else "",
    ]
    why = " and ".join(reason for reason in reasons if reason)
    return f"{rate:.1%} of documents have the score of another one of their query{': ' if why else ''}{why}"


def _lost_documents(result: Result) -> str | None:
    seen, pairs = result.diagnostics, result.diagnostics.get("pairs")
    without, alike = (seen.get(key) or 0 for key in ("without_document", "made_alike"))
    parts = [
        f"{without} pairs keep no token of the document" if without else "",
        f"{alike} were cut to the very input of another document of their query" if alike else "",
    ]
    return f"of {pairs} pairs, {', '.join(part for part in parts if part)}" if without or alike else None


def _lost_questions(result: Result) -> str | None:
    count, pairs = result.diagnostics.get("without_question"), result.diagnostics.get("pairs")
    if not count:
        return None
    return (
        f"{count} of {pairs} prompts lost a part of their question, the query or the wording around it: "
        f"--set truncation=document cuts the document alone"
    )


def _truncation(result: Result) -> str | None:
    cut, pairs = result.diagnostics.get("truncated_pairs") or 0, result.diagnostics.get("pairs", 0)
    if not pairs or cut / pairs <= 0.3:
        return None
    tokens, lost = (result.diagnostics.get(key) or 0 for key in ("tokens", "lost_tokens"))
    share = f", {lost / (lost + tokens):.1%} of all tokens lost" if lost + tokens else ""
    return f"{'' if lost + tokens else 'at least '}{cut / pairs:.1%} of pairs were truncated{share}"


def _missing_queries(result: Result) -> str | None:
    missing = result.diagnostics.get("missing_queries") or []
    return f"{len(missing)} of {result.queries} judged queries have no candidate and count as 0" if missing else None


def _identical_ids(result: Result) -> str | None:
    count = result.diagnostics.get("identical_ids")
    return f"{count} queries have a document with their own id among the candidates" if count else None


def _constant(result: Result) -> str | None:
    count = result.diagnostics.get("constant_queries")
    return f"{count} of {result.queries} queries have one and the same score for every candidate" if count else None


_MOST_JUDGED = 0.8
"""Below it RH006 warns, but where the data has too few judgements a query for more: there it would say nothing."""


def _unjudged(result: Result) -> str | None:
    name, row = next(
        ((n, r) for n, r in result.measures.items() if n in ("Judged@10", "Judged@10 og")), ("", dict[str, Any]())
    )
    judged = row.get("reranked" if result.identity.reranker else "first_stage")
    if judged is None or judged >= _MOST_JUDGED or result.diagnostics.get("judged_at_most", 1.0) < _MOST_JUDGED:
        return None
    before = row.get("first_stage")
    beside = f" ({1 - before:.1%} in the first stage)" if result.identity.reranker and before is not None else ""
    return f"{1 - judged:.1%} of the top 10 have no judgement{beside}; {name} is {judged:.2f}"


def _newly_initialised(result: Result) -> str | None:
    names = result.diagnostics.get("newly_initialised") or []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"weights were filled with random numbers: {', '.join(names[:3])}{more}" if names else None


def _saturated(result: Result) -> str | None:
    scores = result.diagnostics.get("scores") or {}
    share = scores.get("saturated")
    return f"{share:.1%} of scores are 0.999 or more, or exactly 0" if share is not None and share > 0.05 else None


def recall_of(result: Result) -> tuple[str, float] | None:
    """The candidates' recall at their whole depth: the measure's name and its value; None where it is not there."""
    names = [name for name in result.measures if name.startswith("R@")]
    name = max(names, key=lambda name: int(name.split()[0].removeprefix("R@")), default=None)
    value = result.measures[name].get("oracle") if name else None
    return None if name is None or value is None else (name, value)


def _recall(result: Result) -> str | None:
    found = recall_of(result)
    if found is None or found[1] >= 0.6:
        return None
    return f"{found[0]} of the candidates is {found[1]:.2f}: no reranker can find the rest"


def _analyzer(result: Result) -> str | None:
    if result.diagnostics.get("analyzer_known", True):
        return None
    language = next(iter(result.diagnostics.get("languages") or []), None)
    why = (
        f"BM25 has no analyzer for the language {language}"
        if language
        else "the language of the data is unknown to BM25"
    )
    return f"{why}: it took the words in lower case"


_LEAST_CHARACTERS = {"Latn": 2.8, "Hans": 0.7, "Hant": 0.7, "Hani": 0.7, "Jpan": 0.7, "Kore": 0.7, "Hang": 0.7}
_ELSEWHERE = 2.0
_MOST_UNKNOWN = 0.05


def _language(result: Result) -> str | None:
    languages = result.diagnostics.get("languages") or []
    rate = result.diagnostics.get("characters_per_token")
    foreign = [language for language in languages if not language.startswith("eng")]
    if rate is None or not foreign:
        return None
    least = _LEAST_CHARACTERS.get(foreign[0].partition("-")[2], _ELSEWHERE)
    unknown = result.diagnostics.get("unknown_tokens") or 0.0
    if rate >= least and unknown <= _MOST_UNKNOWN:
        return None
    told = f", {unknown:.0%} of its tokens are unknown" if unknown > _MOST_UNKNOWN else ""
    return f"the model's tokenizer does not know {foreign[0]}: it has {rate:.1f} characters a token{told}"


def _tokenizer(result: Result) -> str | None:
    kind = str(result.diagnostics.get("tokenizer", ""))
    return (
        f"the tokenizer is {kind}, built by the library and not read from tokenizer.json"
        if "transformers" in kind
        else None
    )


def _instructions(result: Result) -> str | None:
    share = result.diagnostics.get("instruction_blind")
    return f"{share:.0%} of queries get the same scores under another instruction" if share and share > 0.5 else None


def _without_text(result: Result) -> str | None:
    count = result.diagnostics.get("skipped_without_text")
    return f"{count} candidates have no text and stand below every scored one" if count else None


def _worse(result: Result) -> str | None:
    name, row = next(iter(result.measures.items()))
    high, p = row.get("high"), row.get("p")
    if high is None or p is None or high >= 0 or p > 0.05 or not result.identity.reranker:
        return None
    return f"reranking lowers {name} by {-(row['difference'] or 0.0):.4f}, more than chance would"


def _reversed(result: Result) -> str | None:
    seen = result.diagnostics.get("reversed") or {}
    if not seen or seen["reversed"] <= seen["as_is"] or seen["p"] > 0.05:
        return None
    return (
        f"{seen['measure']} would be {seen['reversed']:.4f} with the ranking turned round, and is {seen['as_is']:.4f}"
    )


def _judged_without_text(result: Result) -> str | None:
    count = result.diagnostics.get("judged_without_text")
    none = result.diagnostics.get("judged_to_none")
    which, nothing = (result.diagnostics.get(key) or [] for key in ("relevant_absent", "judged_absent"))
    lost = f"; {none} of {result.queries} queries have no relevant document left and count as 0" if none else ""
    lost += f" ({_named(which)})" if which else ""
    gone = f"; of {len(nothing)} the corpus has nothing that was judged ({_named(nothing)})" if nothing else ""
    return f"{count} judgements are of documents that the corpus lacks{lost}{gone}" if count else None


def _without_relevant(result: Result) -> str | None:
    which, level = result.diagnostics.get("without_relevant") or [], result.identity.relevance_level
    what = "no document that is judged relevant" if level == 1 else f"no document judged {level} or above"
    return f"{len(which)} of {result.queries} queries have {what} and count as 0: {_named(which)}" if which else None


def _named(query_ids: Sequence[str]) -> str:
    more = f" and {len(query_ids) - _SHOWN:,} more" if len(query_ids) > _SHOWN else ""
    return ", ".join(query_ids[:_SHOWN]) + more


def _few(result: Result) -> str | None:
    """Where there are fewer queries than the interval's coverage was measured with."""
    seen = result.diagnostics.get("clusters") or {}
    count, unit = (seen["clusters"], "group") if seen.get("used") else (result.queries, "query")
    name, row = next(iter(result.measures.items()))
    if name == "p-MRR" and unit == "query":
        count //= 2  # a base query has two instructions
    if not 0 < count < _ENOUGH:
        return None
    units = f"{count} {unit}" if count == 1 else f"{count} {'groups' if unit == 'group' else 'queries'}"
    if not result.identity.reranker:
        return f"{units}: the value of one of them moves a mean by up to {1 / count:.2f}"
    least = 2.0 ** (1 - count)
    if least > _LEVEL:
        return f"{units}: whatever the values, p is {least:.3g} or more, so no difference can be told from chance"
    low, high = row.get("low"), row.get("high")
    width = f", and the interval of {name} is {high - low:.2f} wide" if low is not None and high is not None else ""
    return f"{units}: p is {least:.3g} or more{width}, so only large differences can be told from chance"


def _answers(result: Result) -> str | None:
    seen = result.diagnostics.get("answers") or {}
    counts = {kind: seen.get(kind) or 0 for kind in ("malformed", "partial", "empty")}
    asked, wrong = seen.get("answers") or 0, sum(counts.values())
    if not asked or wrong / asked <= 0.01:
        return None
    cut = f"; {seen['cut']} were stopped at max_new_tokens" if seen.get("cut") else ""
    kinds = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    return f"{wrong / asked:.1%} of the {asked} rankings that the model wrote are not whole: {kinds}{cut}"


def _special_tokens(result: Result) -> str | None:
    seen = result.diagnostics.get("special_tokens") or {}
    counts = {"document": seen.get("documents") or 0, "query": seen.get("queries") or 0}
    if not any(counts.values()):
        return None
    several = {"document": "documents", "query": "queries"}
    who = " and ".join(f"{count} {name if count == 1 else several[name]}" for name, count in counts.items() if count)
    return f"special tokens are written out in {who}, and the tokenizer reads them as such: {', '.join(seen.get('tokens') or [])}"


def _made_equal(result: Result) -> str | None:
    count = result.diagnostics.get("made_equal")
    return (
        f"{count} scores differ from another of their query and are equal to it in single precision" if count else None
    )


def _shared(result: Result) -> str | None:
    """Only where nobody stated it: a card that names clusters is no news."""
    seen = result.diagnostics.get("clusters") or {}
    name, row = next(iter(result.measures.items()))
    low, high, low_alone, high_alone = (row.get(key) for key in ("low", "high", "low_by_query", "high_by_query"))
    if seen.get("stated") or not seen.get("used") or low_alone is None or high_alone is None:
        return None
    shared = f"{seen['queries']:,} queries share relevant documents in {seen['clusters']:,} groups"
    if low is None or high is None:
        return f"{shared}: too few groups moved for an interval of {name}, which as if they were independent is there"
    if high_alone <= low_alone or (high - low) / (high_alone - low_alone) < _WIDER:
        return None
    wider = (high - low) / (high_alone - low_alone)
    return f"{shared}: the interval of {name} is {wider:.1f} times as wide as if they were independent"


_SHOWN, _ENOUGH, _LEVEL, _WIDER = 3, 9, 0.05, 1.1


_RULES: Mapping[str, Rule] = {
    "RH001": _ties,
    "RH002": _truncation,
    "RH003": _missing_queries,
    "RH004": _identical_ids,
    "RH005": _constant,
    "RH006": _unjudged,
    "RH007": _newly_initialised,
    "RH008": _saturated,
    "RH009": _recall,
    "RH010": _analyzer,
    "RH011": _language,
    "RH012": _tokenizer,
    "RH013": _instructions,
    "RH014": _without_text,
    "RH015": _worse,
    "RH016": _reversed,
    "RH017": _judged_without_text,
    "RH018": _answers,
    "RH019": _special_tokens,
    "RH020": _lost_documents,
    "RH021": _lost_questions,
    "RH030": _made_equal,
    "RH031": unread,
    "RH032": blank_documents,
    "RH033": _without_relevant,
    "RH034": repeated,
    "RH040": _shared,
    "RH041": _few,
}

CODES = tuple(_RULES)


def selected(cautions: Iterable[Caution], select: Sequence[str] = (), ignore: Sequence[str] = ()) -> list[Caution]:
    """The warnings that the user's lists let through: codes, or their beginnings (`RH`, `RH01`).

    An empty `select` means all; of two entries that fit, the longer one counts, as in ruff.
    """

    def nearest(code: str, entries: Sequence[str]) -> int:
        return max((len(entry) for entry in entries if code.startswith(entry)), default=-1)

    chosen = select or ("RH",)
    return [c for c in cautions if nearest(c.code, chosen) > nearest(c.code, ignore)]


def check_codes(words: Iterable[str], where: str) -> tuple[str, ...]:
    """The words as codes or beginnings of codes. Raises HarnessError, naming `where`, for one that fits none."""
    found = tuple(word.upper() for word in words)
    for word in found:
        if not any(code.startswith(word) for code in CODES) or not word:
            raise HarnessError(f'{where}: there is no warning "{word}"; explain lists them.{did_you_mean(word, CODES)}')
    return found


@cache
def _texts() -> Mapping[str, Mapping[str, str]]:
    texts: dict[str, dict[str, str]] = read_yaml(Path(__file__).with_name("cautions.yaml"))
    return texts


def title_of_code(code: str) -> str:
    """A warning's name in a few words."""
    return _texts()[code]["title"]


def text_of_code(code: str) -> Mapping[str, str]:
    """All that is said of a warning: its title, what it means, why it matters, what to do."""
    return _texts()[code]


def explained(code: str) -> str:
    """What the warning means, why it matters, what to do. Raises HarnessError for an unknown code."""
    (known,) = check_codes([code], "explain")
    if known not in _RULES:
        raise HarnessError(f'explain: "{code}" is the beginning of several codes; name one, as in explain {CODES[0]}')
    text = _texts()[known]
    parts = [f"{known}: {text['title']}"]
    parts += [f"{head}\n  {text[key].strip()}" for head, key in _HEADS.items()]
    return "\n\n".join(parts)


_HEADS = {"What it means": "means", "Why it matters": "matters", "What to do": "do"}


def listed() -> str:
    """Every code with its title, one a line."""
    return "\n".join(f"{code}  {title_of_code(code)}" for code in CODES)
