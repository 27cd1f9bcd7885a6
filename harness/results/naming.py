"""What a reranker is called among others: as much of its path, its version and its settings as tells it from them.

A folder (or a file of code) has the last part of its path for a name, with as many parents as make it unique:
`exp2/checkpoint-1000`. Other weights under one name are told apart by their revision (`@1a2b3c4d`), and settings
by those that differ (`(max_length 256)`). A `--name`, and a name of the hub, are never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..errors import HarnessError
from .result import Result, load_result, slug

__all__ = [
    "RANKING", "Known", "akin", "aligned", "known_of", "labelled", "labels_of", "name_among", "names_of", "place_of", "settings_apart",
    "settings_as_text", "tails",
]  # fmt: skip

RANKING = "run:"
"""What the name and the place of a ranking that is there already begin with."""
_SETTINGS_SHOWN = 4
"""More that differ are told by the fingerprint alone."""
_VALUE_SHOWN = 40
"""Letters of a setting's value."""


@dataclass(frozen=True)
class Known:
    """All that tells one reranker from another."""

    name: str
    place: str = ""
    """The folder or file that it came from; empty where its name says it all."""
    revision: str = ""
    fingerprint: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    """Each setting, as text."""


def known_of(result: Result) -> Known:
    """The reranker of a result that has one."""
    identity = result.identity
    budget: dict[str, object] = {} if identity.batch_tokens is None else {"batch_tokens": identity.batch_tokens}
    return Known(
        identity.reranker or "",
        result.place,
        identity.reranker_revision or "",
        identity.reranker_fingerprint or "",
        settings_as_text({**identity.reranker_settings, **budget}),
    )


def settings_as_text(settings: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Each setting's value as labels show it, sorted by key."""
    return tuple(sorted((key, str(value)) for key, value in settings.items()))


def place_of(path: Path) -> str:
    """Where a folder or file is, as results keep it: whole, with `~` for the user's own folder."""
    whole = path.expanduser().resolve()
    home = Path.home()
    return f"~/{whole.relative_to(home).as_posix()}" if whole.is_relative_to(home) else whole.as_posix()


def tails(place: str) -> list[str]:
    """The names that a path can have, the shortest first: `checkpoint-1000`, `exp2/checkpoint-1000`, …"""
    kind = RANKING if place.startswith(RANKING) else ""
    parts = [part for part in place.removeprefix(kind).split("/") if part]
    return [kind + "/".join(parts[start:]) for start in range(len(parts) - 1, -1, -1)]


def akin(one: Known, other: Known) -> bool:
    """Whether two names can be of one reranker in two folders of results: equal, or of one path with more or fewer parents."""
    if one.name == other.name:
        return True
    longer, shorter = sorted((one, other), key=lambda known: -len(known.name))
    return longer.name in tails(longer.place) and longer.name.endswith(f"/{shorter.name}")


def labels_of(known: Iterable[Known]) -> dict[Known, str]:
    """What each is called among all of them; different ones have different labels."""
    labels = names_of(known)
    for tell in (_versions, _settings):
        for label, alike in _groups(labels).items():
            if len(alike) > 1:
                labels |= {one: label + more for one, more in tell(alike).items()}
    return labels


def names_of(known: Iterable[Known]) -> dict[Known, str]:
    """What each is called among them by its path alone: other weights of one path, and other settings, share a name."""
    every = list(dict.fromkeys(known))
    return {one: _by_place(one, every) for one in every}


def aligned(before: Iterable[Known], now: Iterable[Known]) -> tuple[dict[Known, str], dict[Known, str]]:
    """What each is called in two folders of results, so that one reranker has one name in both.

    Each folder names a path by as many parents as it needs there: `checkpoint-1000` of the one may be
    `exp2/checkpoint-1000` of the other.
    """
    old, new = names_of(before), names_of(now)
    strangers = {one: name for one, name in new.items() if name not in old.values()}
    left = set(old.values()) - set(new.values())
    of_path = {name: {old[each] for each in old if name in tails(each.place)} & left for name in strangers.values()}
    found = _only(of_path)
    left -= set(found.values())
    like = {
        name: {old[each] for each in old if akin(replace(each, name=old[each]), replace(one, name=name))} & left
        for one, name in strangers.items()
        if name not in found
    }
    found |= _only(like)
    return old, {one: found.get(name, name) for one, name in new.items()}


def _only(candidates: Mapping[str, set[str]]) -> dict[str, str]:
    """Those with one candidate that is no other's."""
    chosen = {name: next(iter(names)) for name, names in candidates.items() if len(names) == 1}
    return {name: one for name, one in chosen.items() if list(chosen.values()).count(one) == 1}


def labelled(results: Sequence[Result]) -> list[Result]:
    """The same results, each with what its reranker is called among them."""
    labels = labels_of(known_of(result) for result in results if result.identity.reranker)
    return [
        replace(result, label=labels[known_of(result)]) if result.identity.reranker else result for result in results
    ]


def settings_apart(names: Mapping[Known, str]) -> dict[Known, str]:
    """The same names, with the settings that differ where one name has several; of its versions nothing is said."""
    found = dict(names)
    for name, alike in _groups(names).items():
        if len({one.settings for one in alike}) > 1:
            found |= {one: name + note for one, note in _settings(alike).items()}
    return found


def _groups(labels: Mapping[Known, str]) -> dict[str, list[Known]]:
    groups: dict[str, list[Known]] = {}
    for one, label in labels.items():
        groups.setdefault(label, []).append(one)
    return groups


def _by_place(one: Known, every: Sequence[Known]) -> str:
    names = tails(one.place)
    if one.name not in names:
        return one.name
    others = [other for other in every if other.place != one.place]
    free = (name for name in names[names.index(one.name) :] if not any(_may_be(other, name) for other in others))
    return next(free, one.place)


def _may_be(other: Known, name: str) -> bool:
    return other.name == name or (other.name in tails(other.place) and name in tails(other.place))


def _versions(alike: Sequence[Known]) -> dict[Known, str]:
    several = len({one.revision for one in alike}) > 1
    return {one: f"@{one.revision[:8]}" if several and one.revision else "" for one in alike}


def _settings(alike: Sequence[Known]) -> dict[Known, str]:
    """The settings that differ, in brackets; the fingerprint where these are many, or too few to tell."""
    settings = {one: dict(one.settings) for one in alike}
    keys = sorted({key for each in settings.values() for key in each})
    differing = [key for key in keys if len({each.get(key) for each in settings.values()}) > 1]
    notes = {
        one: [f"{key} {_shortened(each.get(key, 'none'))}" for key in differing[:_SETTINGS_SHOWN]]
        for one, each in settings.items()
    }
    if len(differing) > _SETTINGS_SHOWN or len({tuple(note) for note in notes.values()}) < len(alike):
        notes = {one: [*note, f"fingerprint {one.fingerprint[:8]}"] for one, note in notes.items()}
    return {one: f" ({', '.join(note)})" for one, note in notes.items()}


def _shortened(value: str) -> str:
    line = " ".join(value.split())
    return line if len(line) <= _VALUE_SHOWN else line[: _VALUE_SHOWN - 1] + "…"


def name_among(one: Known, others: Collection[Known], results: Path, reserved: Callable[[str], bool]) -> str:
    """What a reranker from a folder or file is to be called: the shortest of its names that is nobody else's.

    `others` run beside it, and `results` holds earlier ones; what it was called there it is called again.
    `reserved` says which names mean something else.
    """
    names = tails(one.place)
    holders = {name: _holders(results, name) for name in names}
    own = (name for name in names if any(_same(one, held) for held in holders[name]))
    free = (
        name
        for name in names
        if not holders[name] and not reserved(name) and not any(_may_be(each, name) for each in _apart(one, others))
    )
    return next(own, None) or next(free, one.place)


def _apart(one: Known, others: Iterable[Known]) -> list[Known]:
    return [other for other in others if other.place != one.place and other.revision != one.revision]


def _same(one: Known, held: Known) -> bool:
    return one.place == held.place or (one.revision == held.revision and held.name in tails(one.place))


def _holders(results: Path, name: str) -> list[Known]:
    """Who has this name in a folder of results: one for each version and its settings."""
    found = []
    for folder in sorted((results / slug(name)).glob("*")):
        path = next(iter(sorted(folder.glob("*/*@*.json"))), None)
        if path is not None:
            try:
                found.append(known_of(load_result(path)))
            except HarnessError:
                continue
    return found
