"""Ids are compared character by character; one that is there in another form only is a mistake, and is told.

`7` and `007`, `Doc` and `doc`, an accented letter in one character or in two: each side reads as right,
and a query or document that is looked for under the other form is silently not found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ..errors import HarnessError

__all__ = ["other_form", "refuse_other_forms"]

_WHOLE = re.compile(r"0*([0-9]+)(?:\.0+)?")


def refuse_other_forms(missing: Iterable[str], there: Iterable[str], what: str, where: str) -> None:
    """Raises HarnessError, with both forms, where one of the `missing` ids is `there` in another form.

    `what` names the missing id (`the qrels judge document`), `where` the place that has the other (`the corpus`).
    """
    found = other_form(missing, there)
    if found is not None:
        asked, other = map(_shown, found)
        raise HarnessError(
            f"{what} {asked}, and {where} has {other}: ids are compared character by character, so that would be "
            "another one; write both alike"
        )


def other_form(missing: Iterable[str], there: Iterable[str]) -> tuple[str, str] | None:
    """The first of `missing` whose other form is `there`, and that form; None where there is none."""
    wanted = {_form(name): name for name in missing}
    if not wanted:
        return None
    return next(((wanted[form], name) for name in there if (form := _form(name)) in wanted), None)


def _form(name: str) -> str:
    """What the forms of one id have in common: no case, no width, no leading zeros, no white space around it."""
    plain = name if name.isascii() else unicodedata.normalize("NFKC", name)
    plain = plain.casefold().strip()
    whole = _WHOLE.fullmatch(plain)
    return whole[1] if whole else plain if plain.isascii() else unicodedata.normalize("NFKC", plain)


def _shown(name: str) -> str:
    """The id, and its code points where two forms would look alike."""
    return f'"{name}"' if name.isascii() else f'"{name}" ({name!a})'
