"""Ids are compared character by character; one that is there in another form only is a mistake, and is told.

`7` and `007`, `Doc` and `doc`, an accented letter in one character or in two: each side reads as right,
and a query or document that is looked for under the other form is silently not found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, islice

from ..errors import HarnessError

__all__ = ["difference", "other_forms", "refuse_other_forms", "shown_ids"]

_WHOLE = re.compile(r"0*([0-9]+)(?:\.0+)?")
_STEPS: Mapping[str, Callable[[str], str]] = {
    "Unicode form (NFC, NFD)": lambda name: unicodedata.normalize("NFC", name),
    "white space": str.strip,
    "case": str.casefold,
    "the style of characters (NFKC)": lambda name: unicodedata.normalize("NFKC", name),
    "leading zeros": lambda name: name.lstrip("0"),
    "a decimal part": lambda name: re.sub(r"\.0+\Z", "", name),
}
"""By what two forms of one id may differ → what takes the difference away."""


def refuse_other_forms(missing: Iterable[str], there: Iterable[str], what: str, where: str) -> None:
    """Raises HarnessError, with both forms, where one of the `missing` ids is `there` in another form.

    `what` names the missing id (`the qrels judge document`), `where` the place that has the other (`the corpus`).
    """
    found = other_forms(missing, there)
    if found:
        asked, others = map(shown_ids, zip(*found, strict=True))
        raise HarnessError(
            f"{what} {asked}, and {where} has {others}: they differ by {difference(*found[0])}, and ids are compared "
            "character by character, so that would be another one; write both alike"
        )


def other_forms(missing: Iterable[str], there: Iterable[str], most: int = 2) -> list[tuple[str, str]]:
    """Up to `most` pairs of one of `missing` and the other form of it that is `there`; empty where there is none."""
    wanted = {_form(name): name for name in missing}
    if not wanted:
        return []
    return list(islice(((wanted[form], name) for name in there if (form := _form(name)) in wanted), most))


def difference(name: str, other: str) -> str:
    """By what two forms of one id differ, in as few words as explain it: `case`, `case and leading zeros`."""
    for count in range(1, len(_STEPS) + 1):
        for steps in combinations(_STEPS, count):
            one, two = name, other
            for step in steps:
                one, two = _STEPS[step](one), _STEPS[step](two)
            if one == two:
                return " and ".join(steps)
    return "their form"


def shown_ids(names: Sequence[str]) -> str:
    """The first two ids and how many more there are: `"a", "b" and 3 more`."""
    more = f" and {len(names) - 2:,} more" if len(names) > 2 else ""
    return ", ".join(map(_shown, names[:2])) + more


def _form(name: str) -> str:
    """What the forms of one id have in common: no case, no width, no leading zeros, no white space around it."""
    plain = name if name.isascii() else unicodedata.normalize("NFKC", name)
    plain = plain.casefold().strip()
    whole = _WHOLE.fullmatch(plain)
    return whole[1] if whole else plain if plain.isascii() else unicodedata.normalize("NFKC", plain)


def _shown(name: str) -> str:
    """The id, and its code points where two forms would look alike."""
    return f'"{name}"' if name.isascii() else f'"{name}" ({name!a})'
