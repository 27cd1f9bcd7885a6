"""The rerankers of a run, each with what is its own: settings, family, instruction, device, label.

    --reranker BAAI/bge-reranker-v2-m3 --reranker remote:tei/m --set remote:tei/m:url=http://localhost:8080

A setting is for every reranker that has it, or with a reranker's name before it for that one alone; what is a
reranker's own goes before what is for all. A setting with several values gives a reranker for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError, UnknownSetting, did_you_mean
from .running import Running, model_options

if TYPE_CHECKING:
    from pathlib import Path

    from ..engine.options import Options
    from ..rerankers.base import Reranker

__all__ = ["KEYS", "Wanted", "open_one_reranker", "open_wanted", "settings_of", "wanted_of"]

Say = Callable[[str], None]
Settings = tuple[tuple[str, str], ...]

KEYS = ("name", "label", "family", "set", "instruction", "device", "dtype")
"""What a table of a reranker may say, in a configuration file and in Python."""


@dataclass(frozen=True)
class Wanted:
    """One reranker as it is asked for; what is None is as for all."""

    name: str
    """As `--reranker` takes it; for one in memory what it says of itself."""
    label: str | None = None
    """What tables call it."""
    family: str | None = None
    settings: Settings = ()
    device: str | None = None
    dtype: str | None = None
    opened: Callable[[Running], Reranker] | None = None
    """For one in memory: the way to it."""

    def __str__(self) -> str:
        return self.label or self.name

    def running(self, asked: Running, settings: Settings) -> Running:
        """How it is run, with these settings."""
        return Running(
            family=self.family or asked.family,
            settings=settings,
            device=self.device or asked.device,
            dtype=self.dtype or asked.dtype,
            batch_tokens=asked.batch_tokens,
            trust_remote_code=asked.trust_remote_code,
            rehash=asked.rehash,
        )

    @property
    def is_run_its_own_way(self) -> bool:
        """Whether its device or precision is its own."""
        return self.device is not None or self.dtype is not None


def settings_of(given: Mapping[str, object], where: str = "settings") -> Settings:
    """Settings as flags would write them; a list gives its key several times. Raises HarnessError for what is no word or number."""
    found: list[tuple[str, str]] = []
    for key, value in given.items():
        values = value if isinstance(value, list | tuple) else [value]
        if not values:
            raise HarnessError(f"{where}: {key} is an empty list: give it a value, or several")
        found += [(str(key), _word(each, f"{where}: {key}")) for each in values]
    return tuple(found)


def _word(value: object, where: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping | list | tuple | set) or value is None:
        raise HarnessError(f"{where} is a word or a number, or a list of these, not {type(value).__name__}")
    return str(value)


def wanted_of(table: Mapping[str, Any], where: str, opener: Callable[[Any], Wanted] | None = None) -> Wanted:
    """A reranker out of a table with `KEYS`; `opener` takes a `name` that is an object in memory.

    Raises HarnessError, beginning with `where`, for an unknown key, no name, or a value of the wrong kind.
    """
    for key in table:
        if key not in KEYS:
            raise HarnessError(f'{where} has no key "{key}"; it has {", ".join(KEYS)}.{did_you_mean(str(key), KEYS)}')
    if "name" not in table:
        raise HarnessError(f"{where} has no name: the reranker, as --reranker takes it")
    own = table.get("set", {})
    if not isinstance(own, Mapping):
        raise HarnessError(f'{where}: set is a table of settings, as in set = {{max_length = 256}}, not "{own}"')
    settings = settings_of(own, f"{where}: set")
    if "instruction" in table:
        settings += settings_of({"instruction": table["instruction"]}, where)
    words = {key: table[key] for key in ("label", "family", "device", "dtype") if key in table}
    if bad := [key for key, value in words.items() if not (isinstance(value, str) and value)]:
        raise HarnessError(f"{where}: {bad[0]} is a word, not {words[bad[0]]!r}")
    name = table["name"]
    if opener is None and not (isinstance(name, str) and name):
        raise HarnessError(f"{where}: name is a reranker, as --reranker takes it, not {name!r}")
    return replace(Wanted(name) if opener is None else opener(name), settings=settings, **words)


def open_one_reranker(given: str | Wanted, asked: Running, say: Say) -> Reranker:
    """The reranker that is meant. Raises HarnessError where it stands for several."""
    from ..files.cache import cache_folder

    one = given if isinstance(given, Wanted) else Wanted(given)
    opened = open_wanted([one], asked, model_options(asked), cache_folder(), say)
    if len(opened) > 1:
        names = ", ".join(dict.fromkeys(reranker.spec.name for reranker in opened))
        raise HarnessError(f"{one.name} stands for several rerankers ({names}): ask for one")
    if opened[0].note:
        say(f"{opened[0].spec.name}: {opened[0].note}")
    return opened[0]


def open_wanted(wanted: Sequence[Wanted], asked: Running, options: Options, cache: Path, say: Say) -> list[Reranker]:
    """Every reranker that is wanted, with its settings and by its label; names of folders are not yet told apart.

    Raises HarnessError for settings of a reranker that is not here, and for a setting that none of them has.
    """
    wanted = list(dict.fromkeys(wanted))
    general, own = _sorted_out(asked.settings, wanted)
    found: list[Reranker] = []
    refused: dict[str, list[tuple[Wanted, UnknownSetting]]] = {}
    for each, mine in zip(wanted, own, strict=True):
        opened, without = _opened(each, general, mine, asked, options, cache)
        found += opened
        for error in without:
            refused.setdefault(error.key, []).append((each, error))
    for key, by in refused.items():
        if len(by) == len(wanted):
            raise by[0][1] if len(wanted) == 1 else HarnessError(f"--set {key}: no reranker has it; {by[0][1]}")
        names = ", ".join(str(each) for each, _ in by)
        say(f"--set {key} is no setting of {names}: run without it (NAME:{key}=… is for one reranker)")
    return _without_twins(found, say)


def _sorted_out(settings: Iterable[tuple[str, str]], wanted: Sequence[Wanted]) -> tuple[Settings, list[Settings]]:
    """The settings for all, and those of each alone. Raises HarnessError for those of a reranker that is not here."""
    general: list[tuple[str, str]] = []
    flags: list[list[tuple[str, str]]] = [[] for _ in wanted]
    for key, value in settings:
        # A folder's name may hold an equals sign, at which the flag was cut.
        whose, name, text = _whose(f"{key}={value}", wanted)
        for place in whose:
            flags[place].append((name, text))
        if not whose and ":" in key:
            names = list(dict.fromkeys(map(str, wanted)))
            asked = key.rpartition(":")[0]
            raise HarnessError(
                f'--set {key}: no reranker here is called "{asked}"; here {"is" if len(names) == 1 else "are"} '
                f"{', '.join(names) or 'none'}.{did_you_mean(asked, names)}"
            )
        if not whose:
            general.append((key, value))
    return tuple(general), [_before(each.settings, tuple(own)) for each, own in zip(wanted, flags, strict=True)]


def _whose(flag: str, wanted: Sequence[Wanted]) -> tuple[list[int], str, str]:
    """Which rerankers `NAME:KEY=VALUE` is for, its key and its value; none where it begins with no name of theirs."""
    found: dict[str, list[int]] = {}
    for place, each in enumerate(wanted):
        for name in {each.name, each.label}:
            key, equals, _ = flag[len(name or "") + 1 :].partition("=")
            if name and flag.startswith(f"{name}:") and equals and ":" not in key:
                found.setdefault(name, []).append(place)
    if not found:
        return [], "", ""
    longest = max(found, key=len)
    key, _, text = flag[len(longest) + 1 :].partition("=")
    return found[longest], key, text


def _before(those: Settings, these: Settings) -> Settings:
    """`these`, and of `those` what they do not say."""
    said = {key for key, _ in these}
    return (*(pair for pair in those if pair[0] not in said), *these)


def _opened(
    wanted: Wanted, general: Settings, own: Settings, asked: Running, options: Options, cache: Path
) -> tuple[list[Reranker], list[UnknownSetting]]:
    """One that is wanted with each combination of its settings, and what of `general` it does not have."""
    without: list[UnknownSetting] = []
    while True:
        refused = {error.key for error in without}
        settings = _before(tuple(pair for pair in general if pair[0] not in refused), own)
        try:
            return [
                one for each in _combinations(settings) for one in _open(wanted, asked, each, options, cache)
            ], without
        except UnknownSetting as error:
            if error.key in refused or error.key not in {key for key, _ in general} - {key for key, _ in own}:
                raise UnknownSetting(error.key, f"{wanted}: {error}") from None
            without.append(error)


def _combinations(settings: Settings) -> list[Settings]:
    """Each way to give every key one of its values, the first values first."""
    values: dict[str, list[str]] = {}
    for key, value in settings:
        values.setdefault(key, []).append(value)
    return [tuple(zip(values, chosen, strict=True)) for chosen in product(*(dict.fromkeys(v) for v in values.values()))]


def _open(wanted: Wanted, asked: Running, settings: Settings, options: Options, cache: Path) -> list[Reranker]:
    from ..rerankers.resolve import open_rerankers

    running = wanted.running(asked, settings)
    alone = replace(options, settings=settings)
    if wanted.is_run_its_own_way:
        if options.workers is not None:
            raise HarnessError(f"{wanted.name}: a device or dtype of its own is for one process; leave --workers out")
        alone = model_options(running)
    if wanted.opened is not None:
        opened = [wanted.opened(running)]
    else:
        opened = open_rerankers(wanted.name, alone, cache, running.family)
    if wanted.label is not None:
        names = ", ".join(reranker.spec.name for reranker in opened)
        if len(opened) > 1:
            raise HarnessError(f"--name {wanted.label} is for one reranker, and here are {len(opened)}: {names}")
        opened = [replace(opened[0], spec=replace(opened[0].spec, name=wanted.label))]
    return [replace(each, options=alone) for each in opened] if wanted.is_run_its_own_way else opened


def _without_twins(found: Sequence[Reranker], say: Say) -> list[Reranker]:
    """Each reranker once: settings that come to the same are one row. Raises HarnessError for two that would be one result."""
    kept: dict[tuple[str, str], Reranker] = {}
    for each in found:
        key = (each.spec.name, each.spec.fingerprint)
        if key not in kept:
            kept[key] = each
        elif each.spec.declared:
            say(f"{each.spec.name} is asked for twice with settings that come to the same: it is run once")
        else:
            raise HarnessError(
                f'two rerankers are called "{each.spec.name}", and nothing tells their results apart: give one a label, '
                f"or a fingerprint"
            )
    return list(kept.values())
