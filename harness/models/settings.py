"""Reading `--set key=value`: each family states its keys and how their values are read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..errors import HarnessError, UnknownSetting, did_you_mean

__all__ = ["Reader", "at_least", "one_of", "read_settings", "whole_number", "yes_or_no"]

Reader = Callable[[str], object]


def whole_number(text: str) -> int:
    """A whole number above 0. Raises ValueError that says so."""
    number = int(text) if text.strip().isdigit() else 0
    if number < 1:
        raise ValueError("a whole number above 0")
    return number


def at_least(minimum: int) -> Reader:
    """A reader of a whole number that is `minimum` or more. It raises ValueError that says so."""

    def read(text: str) -> int:
        if not text.strip().isdecimal() or int(text) < minimum:
            raise ValueError(f"a whole number, {minimum} at least")
        return int(text)

    return read


def yes_or_no(text: str) -> bool:
    """True or false, as YAML and people write them. Raises ValueError that says so."""
    word = text.strip().lower()
    if word not in ("true", "yes", "false", "no"):
        raise ValueError("true or false")
    return word in ("true", "yes")


def one_of(*choices: str) -> Reader:
    """A reader of one of the choices. It raises ValueError that lists them."""

    def read(text: str) -> str:
        if text.strip() not in choices:
            raise ValueError(f"one of: {', '.join(choices)}")
        return text.strip()

    return read


def read_settings(family: str, given: Sequence[tuple[str, str]], readers: Mapping[str, Reader]) -> dict[str, object]:
    """The settings by name, read. Raises UnknownSetting for an unknown key, HarnessError for a value that cannot be read."""
    found: dict[str, object] = {}
    for key, text in given:
        if key not in readers:
            known = ", ".join(sorted(readers)) or "none"
            raise UnknownSetting(
                key, f'the family {family} has no setting "{key}"; it has: {known}.{did_you_mean(key, readers)}'
            )
        try:
            found[key] = readers[key](text)
        except ValueError as error:
            raise HarnessError(f"--set {key}={text}: {key} is {error}") from None
    return found
