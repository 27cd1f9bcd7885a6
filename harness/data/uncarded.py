"""Stage 1 without a card: a folder in BEIR's layout, or a hub data set by its id alone, as a Task.

What a card would say is read from the data: its parts (languages, domains) from the layout, whether
it brings candidate lists, whether its instructions change, its language from the README's front matter.
What is stated wins, and what is guessed is said in the task's note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import HarnessError, did_you_mean
from ..files.hub import resolve_revision
from ..types import Measure, Subset, Task
from . import irds
from .layout import Listing
from .listings import folder_listing, folder_revision, hub_listing, is_archive

__all__ = ["DEFAULT_MEASURES", "FOLDER", "HUB", "folder_task", "hub_task", "looks_like_a_data_set", "named_task"]

FOLDER, HUB = "folder", "hub"

DEFAULT_MEASURES = tuple(Measure.parse(text) for text in ("nDCG@10", "MAP@100", "RR@10", "R@100"))
"""What is reported where no card says otherwise; the first is the headline."""

_FOR_LISTS = tuple(Measure.parse(text) for text in ("nDCG@10", "MAP@1000", "RR@10"))
_FOR_CHANGES = tuple(Measure.parse(text) for text in ("p-MRR", "MAP@1000", "nDCG@5", "nDCG@10"))
_USUAL_SPLITS = ("test", "dev", "validation", "standard")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(?:@[\w./-]+)?\Z")
_WITH_SCRIPT = re.compile(r"[a-z]{2,3}[-_][A-Z][a-z]{3}\Z")
_KNOWN_LAYOUTS = {
    name: frozenset(languages.split())
    for name, languages in {
        "MIRACL": "ar bn de en es fa fi fr hi id ja ko ru sw te th yo zh",
        "XQuAD": "ar de el en es hi ro ru th tr vi zh",
        "Mr. TyDi": "ar bn en fi id ja ko ru sw te th",
        "MLDR": "ar de en es fr hi it ja ko pt ru th zh",
        "mFollowIR": "fas rus zho",
        "CIRAL": "ha so sw yo",
    }.items()
}
"""Data sets with a part for each language, whose parts are named by these codes.

A short name alone is no language: `fin` may be finance, `it` and `hr` two departments. Two or more
that are all of one of these layouts are taken for languages.
"""
_UNKNOWN: tuple[str, ...] = ()
_ENGLISH = ("eng-Latn",)


def looks_like_a_data_set(word: str) -> bool:
    """Whether `word` is written as a hub data set is, ORGANISATION/NAME or ORGANISATION/NAME@REVISION, or as `irds:ID`."""
    return word.startswith(irds.PREFIX) or _HUB_NAME.match(word) is not None


def named_task(word: str, cache: Path, split: str | None = None, language: str | None = None) -> Task:
    """What `looks_like_a_data_set` lets through, as a Task. Raises HarnessError as `hub_task` and `irds.irds_task` do."""
    if not word.startswith(irds.PREFIX):
        return hub_task(word, cache, split, language)
    found = irds.irds_task(word, split, DEFAULT_MEASURES, HUB)
    return found if language is None else replace(found, subsets=(replace(found.subsets[0], languages=(language,)),))


def folder_task(folder: Path, cache: Path, split: str | None = None, language: str | None = None) -> Task:
    """A folder, or a zip archive of one, in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/<split>.tsv) as a Task.

    Its revision is a digest of the files. The language is English unless `language` or the README's
    front matter says another. Raises HarnessError for a folder without data, or without `split`.
    """
    listing = folder_listing(folder)
    name = folder.stem if is_archive(folder) else folder.name
    return _task(listing, name, str(folder), folder_revision(folder, cache), split, language, FOLDER)


def hub_task(word: str, cache: Path, split: str | None = None, language: str | None = None) -> Task:
    """The hub data set `ORGANISATION/NAME`, at `@REVISION` or its main branch of now, as a Task.

    The language is unknown (no stemmer, no stop words) unless `language` or the README says one.
    Raises HarnessError for a data set that is not there, is laid out in no way known here, or has
    no split that can be chosen.
    """
    name, _, wanted = word.partition("@")
    try:
        resolved = resolve_revision("dataset", name, wanted or None, cache)
    except HarnessError as error:
        # A folder's name may have been meant, written with a mistake.
        raise HarnessError(f"there is no folder {word}, so it is taken for a data set of the hub: {error}") from error
    listing = hub_listing(name, resolved.commit, cache)
    return _task(listing, name, name, resolved.commit, split, language, HUB, resolved.note or "")


def _task(
    listing: Listing, name: str, path: str, revision: str, split: str | None,
    language: str | None, origin: str, note: str = "",
) -> Task:  # fmt: skip
    prefixes = _prefixes(listing, split)
    languages, said = _languages(prefixes, listing.languages, language, _ENGLISH if origin == FOLDER else _UNKNOWN)
    subsets, taken = _subsets(listing, prefixes, split, languages)
    layout = listing.layout(subsets[0].config, subsets[0].split)
    measures = _FOR_CHANGES if layout.qrel_diff else _FOR_LISTS if layout.top_ranked else DEFAULT_MEASURES
    return Task(
        name=name,
        path=path,
        revision=revision,
        subsets=subsets,
        measures=measures,
        given_lists=bool(layout.top_ranked),
        folder=origin == FOLDER,
        origin=origin,
        note="; ".join(part for part in (note, taken, said) if part),
    )


def _prefixes(listing: Listing, split: str | None) -> list[str]:
    """The parts of the data set; the plain names alone where they are there."""
    prefixes = [""] if "" in listing.prefixes() else listing.prefixes()
    if not prefixes:
        listing.layout("", split or "test")  # raises: it says what is missing
    return prefixes


def _subsets(
    listing: Listing, prefixes: Sequence[str], split: str | None, languages: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[Subset, ...], str]:
    """A subset for each part of the data set that has the split, and what is to be said of the split."""
    splits = {prefix: listing.splits(prefix) for prefix in prefixes}
    every = sorted({name for names in splits.values() for name in names})
    chosen = _split_of(every, split, listing)
    subsets = tuple(
        Subset(prefix or "default", chosen, languages[prefix], prefix)
        for prefix in prefixes
        if chosen in splits[prefix]
    )
    return subsets, "" if split is not None else _said_of(chosen, every)


def _said_of(chosen: str, splits: Sequence[str]) -> str:
    """Which split was taken, where the user could have meant another, or may think it is `test`."""
    others = [name for name in splits if name != chosen]
    if others:
        return f"its split {chosen} is taken; --split says another ({', '.join(others)})"
    return "" if chosen in (_USUAL_SPLITS[0], _USUAL_SPLITS[-1]) else f"its only split is {chosen}"


def _split_of(splits: Sequence[str], asked: str | None, listing: Listing) -> str:
    there = ", ".join(splits) or "none"
    if asked is not None:
        if asked not in splits:
            raise HarnessError(f'{listing.source} has no split "{asked}"; it has {there}.{did_you_mean(asked, splits)}')
        return asked
    usual = [name for name in _USUAL_SPLITS if name in splits]
    if usual or len(splits) == 1:
        return usual[0] if usual else splits[0]
    raise HarnessError(f"{listing.source} has the splits {there}: choose one with --split")


def _languages(
    prefixes: Sequence[str], named: Sequence[str], asked: str | None, otherwise: tuple[str, ...]
) -> tuple[dict[str, tuple[str, ...]], str]:
    """Each part's languages, and what is to be said of them.

    `asked` is that of `--language`, `named` those of the README, `otherwise` what is taken where neither
    says any and no layout is known.
    """
    if asked is not None:
        return dict.fromkeys(prefixes, (asked,)), ""
    stated = {prefix: (prefix,) for prefix in prefixes if prefix in named or _WITH_SCRIPT.match(prefix)}
    rest = [prefix for prefix in prefixes if prefix not in stated]
    if len(named) == 1 or not rest:
        return {**dict.fromkeys(rest, tuple(named)), **stated}, ""
    layout = next((name for name, codes in _KNOWN_LAYOUTS.items() if len(rest) > 1 and codes.issuperset(rest)), None)
    if layout is not None:
        said = (
            f"no language is stated, so each part's is taken from its name, as in {layout} ({', '.join(rest)}); "
            "language in its README, or --language, says another"
        )
        return {**{prefix: (prefix,) for prefix in rest}, **stated}, said
    if named:
        whose = ", ".join(rest) if rest != [""] else "the data"
        said = (
            f"its README names several languages ({', '.join(named)}), and which is that of {whose} cannot be told: "
            "--language CODE says it"
        )
        return {**dict.fromkeys(rest, _UNKNOWN), **stated}, said
    guess = "it is taken for English" if otherwise else "words are taken as they stand, in lower case"
    said = f"no language is stated, so {guess}; language in its README, or --language CODE, says another"
    return {**dict.fromkeys(rest, otherwise), **stated}, said
