"""Stage 1 without a card: a folder in BEIR's layout, or a hub data set by its id alone, as a Task.

What a card would say is read from the data: its parts (languages, domains) from the layout, whether
it brings candidate lists, whether its instructions change, its language from the README's front matter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ..errors import HarnessError, did_you_mean
from ..files.hub import resolve_revision
from ..types import Measure, Subset, Task
from .collection import folder_listing, folder_revision, hub_listing
from .layout import Listing

__all__ = ["DEFAULT_MEASURES", "FOLDER", "HUB", "folder_task", "hub_task", "looks_like_a_data_set"]

FOLDER, HUB = "folder", "hub"

DEFAULT_MEASURES = tuple(Measure.parse(text) for text in ("nDCG@10", "MAP@100", "RR@10", "R@100"))
"""What is reported where no card says otherwise; the first is the headline."""

_FOR_LISTS = tuple(Measure.parse(text) for text in ("nDCG@10", "MAP@1000", "RR@10"))
_FOR_CHANGES = tuple(Measure.parse(text) for text in ("p-MRR", "MAP@1000", "nDCG@5", "nDCG@10"))
_USUAL_SPLITS = ("test", "dev", "validation", "standard")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(?:@[\w./-]+)?\Z")
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?\Z")


def looks_like_a_data_set(word: str) -> bool:
    """Whether `word` is written as a hub data set is: ORGANISATION/NAME, or ORGANISATION/NAME@REVISION."""
    return _HUB_NAME.match(word) is not None


def folder_task(folder: Path, cache: Path, split: str | None = None, language: str | None = None) -> Task:
    """A folder in BEIR's layout (corpus.jsonl, queries.jsonl, qrels/<split>.tsv, plain or .gz) as a Task.

    Its revision is a digest of the files. The language is English unless `language` or the README's
    front matter says another. Raises HarnessError for a folder without data, or without `split`.
    """
    listing = folder_listing(folder)
    languages = (language,) if language else (listing.languages if len(listing.languages) == 1 else ("eng-Latn",))
    return _task(listing, folder.name, str(folder), folder_revision(folder, cache), split, languages, FOLDER)


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
    known = (language,) if language else (listing.languages if len(listing.languages) == 1 else ())
    return _task(listing, name, name, resolved.commit, split, known, HUB, resolved.note or "")


def _task(
    listing: Listing, name: str, path: str, revision: str, split: str | None,
    languages: tuple[str, ...], origin: str, note: str = "",
) -> Task:  # fmt: skip
    subsets = _subsets(listing, split, languages)
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
        note=note,
    )


def _subsets(listing: Listing, split: str | None, languages: tuple[str, ...]) -> tuple[Subset, ...]:
    """A subset for each part of the data set that has the split; one where the plain names are there."""
    prefixes = [""] if "" in listing.prefixes() else listing.prefixes()
    if not prefixes:
        listing.layout("", split or "test")  # raises: it says what is missing
    splits = {prefix: listing.splits(prefix) for prefix in prefixes}
    chosen = _split_of(sorted({name for names in splits.values() for name in names}), split, listing)
    return tuple(
        Subset(prefix or "default", chosen, _languages_of(prefix, languages, listing.languages), prefix)
        for prefix in prefixes
        if chosen in splits[prefix]
    )


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


def _languages_of(prefix: str, known: tuple[str, ...], named: Sequence[str]) -> tuple[str, ...]:
    """A part that is named after its language has that one; the README may list those of all parts."""
    return (prefix,) if prefix in named or _LANGUAGE.match(prefix) else known
