"""What the user can put right.

Every error that a user can cause and mend is a `HarnessError`: one line that says what is wrong,
which one, the rule, and the way out. The command line prints it and exits with its `exit_code`;
anything else that escapes is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = ["HarnessError", "MissingDependency", "UnknownSetting", "did_you_mean", "spelt"]


class HarnessError(Exception):
    """A mistake in the input or the surroundings, told in one line.

    `exit_code` is what the command line ends with: 2 usage or input, 3 something to compare is
    missing, 1 a baseline that would accept what the gate refuses (0 and 130 are no errors of this kind).
    """

    exit_code = 2

    def __init__(self, message: str, *, exit_code: int | None = None) -> None:
        super().__init__(" ".join(message.split()))
        if exit_code is not None:
            self.exit_code = exit_code


class MissingDependency(HarnessError):  # noqa: N818  (reads as what it is)
    """A package that this call needs is not installed; says the command that installs it."""

    def __init__(self, who: str, package: str, install: str) -> None:
        super().__init__(f"{who} needs the package {package}: {install}")


class UnknownSetting(HarnessError):  # noqa: N818  (reads as what it is)
    """A setting, `key`, that a family does not have."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean "SciFact"?` for the known names nearest to `name`, or nothing; never `name` itself, which has failed.

    Upper and lower case are folded before comparing, so that `scifact` finds `SciFact`.
    """
    folded: dict[str, str] = {}
    for word in known:
        if word != name:
            folded.setdefault(word.casefold(), word)
    near = difflib.get_close_matches(name.casefold(), folded, n=3, cutoff=0.6)
    if not near:
        return ""
    return " Did you mean " + " or ".join(f'"{folded[word]}"' for word in near) + "?"


def spelt(name: str, known: Iterable[str]) -> str:
    """`name` as it is known: itself, or the one known name that differs from it in upper and lower case alone."""
    words = list(dict.fromkeys(known))
    alike = [word for word in words if word.casefold() == name.casefold()]
    return alike[0] if name not in words and len(alike) == 1 else name
