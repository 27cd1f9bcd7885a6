"""Which family a name means: plug-ins by their form, models by a table or by their architecture.

A name never decides by a piece of itself: `my-bert-t5` says nothing. A model id in `known.yaml` has
its family and settings there; for any other the class that config.json names decides; what cannot
be decided is an error that lists the families.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..engine.fast import joined
from ..engine.options import Options
from ..errors import HarnessError, did_you_mean, spelt
from ..files.cache import cache_folder
from ..models.copies import copy_of
from ..models.cross_encoder import is_cross_encoder, read_layout
from ..models.recipes import is_late_interaction
from ..models.source import PACKAGE, ModelSource, found_here, open_model
from ..results.naming import place_of
from .base import Reranker
from .instruction import instructed, without_instruction
from .known import known_models, refuse_unscored
from .origin import Origin, PluginFile

__all__ = ["FAMILIES", "known_models", "open_origin", "open_rerankers", "template_names"]

FAMILIES = {
    "sequence-classification": "families.sequence_classification",
    "bge": "families.bge",
    "layerwise": "families.layerwise",
    "lightweight": "families.lightweight",
    "enct5": "families.enct5",
    "causal": "families.causal",
    "seq2seq": "families.seq2seq",
    "listwise": "families.listwise",
    "pairwise": "families.sorting.pairwise",
    "setwise": "families.sorting.setwise",
    "jina-list": "families.joint.jina",
    "e2rank": "families.joint.e2rank",
    "kalm": "families.apart.kalm",
    "remote": "families.remote",
    "bi-encoder": "families.bi_encoder",
    "late-interaction": "families.late_interaction",
    "plug-in": "plugin",
}
"""family → the module below this package that scores it; each has `open_family(source, options, cache)`."""


def open_rerankers(name: str, options: Options, cache: Path, family: str | None = None) -> list[Reranker]:
    """The rerankers that `name` means: a plug-in, a model folder, a hub model (`NAME@REVISION` too), a
    provider's (`remote:PROVIDER/MODEL`), or a ranking that is there already (`run:FILE`).

    Mostly one; a layerwise model that is asked for several layers is one reranker each. Loads no
    weights. Raises HarnessError where the name, the revision or the family cannot be resolved, or
    the family does not take the settings.
    """
    from . import plugin, run_file
    from .families import remote

    if family is None and run_file.is_run_file(name):
        return [run_file.open_run_file(name, cache)]
    if family is not None and (family := spelt(family, FAMILIES)) not in FAMILIES:
        family, options = _of_template(spelt(family, template_names()), options)
    if family == remote.FAMILY or (family is None and remote.is_remote(name)):
        return [remote.open_remote(name, options)]
    if family == plugin.FAMILY or (family is None and plugin.is_plugin(name)):
        found = plugin.open_plugin(name, options)
        return _with_origin([found], plugin.FAMILY, PluginFile.read(name), options)
    name = name if Path(name).exists() else _as_known(name)
    source = open_model(name, cache, rehash=options.rehash, trust=options.trust_remote_code)
    known = known_models().get(source.name, {})
    if family is None:
        refuse_unscored(source.name)
    chosen = family or str(known.get("family") or _family_of(source))
    if chosen == known.get("family"):
        options = _with_settings(options, known.get("settings") or {})
    told = None if family else _copy_note(source, chosen, dict(options.settings))
    decided = f"--family {family}" if family else _what_decides(source, known)

    def as_opened(reranker: Reranker) -> Reranker:
        basis = replace(reranker.basis, decided_by=decided)
        note, layer = joined(reranker.note, told), reranker.spec.name.removeprefix(source.name)
        return replace(reranker, source=source, note=note, basis=basis, place=_place(source, layer))

    opened = [as_opened(reranker) for reranker in _open_family(chosen, source, options, cache)]
    # A bi-encoder's dot products stay here, beside its store of vectors: its encoder has the workers.
    return opened if chosen == "bi-encoder" else _with_origin(opened, chosen, source, options)


def _place(source: ModelSource, layer: str) -> str:
    """Where a model's folder is, with the layer that its name has; empty for one of the hub or of a package."""
    own = source.adapter or source
    named = own.folder is None or own.name.startswith(PACKAGE)
    return "" if named or own.folder is None else place_of(own.folder) + layer


def _as_known(name: str) -> str:
    """A known model's name in the case of its authors: another spelling must not lose its family and settings."""
    own, at, revision = name.partition("@")
    return spelt(own, known_models()) + at + revision


def _open_family(family: str, source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    instruction, options = without_instruction(family, options)
    module = importlib.import_module(f".{FAMILIES[family]}", __package__)
    opened: list[Reranker] = module.open_family(source, options, cache)
    return opened if instruction is None else [instructed(reranker, instruction) for reranker in opened]


def _copy_note(source: ModelSource, chosen: str, given: Mapping[str, str]) -> str | None:
    """What a copy of a known reranker is told: that the known one is scored in another way."""
    table = known_models()
    name = copy_of(source, table)
    if name is None or source.name in table:
        return None
    if "unscored" in table[name]:
        return f"its files seem to be a copy of {name}, which {table[name]['unscored']}: its scores here are not those of its authors"
    family, settings = str(table[name]["family"]), table[name].get("settings") or {}
    if family == chosen and settings.keys() <= given.keys():
        return None
    words = "".join(f" --set {key}={value}" for key, value in settings.items())
    return (
        f"its files seem to be a copy of {name}, which is scored with --family {family}{words}: say so where it is one"
    )


def _with_origin(
    opened: list[Reranker], family: str, source: ModelSource | PluginFile, options: Options
) -> list[Reranker]:
    origin = Origin(family, source, replace(options, workers=None))
    return [replace(reranker, origin=origin) for reranker in opened]


def open_origin(origin: Origin) -> list[Reranker]:
    """The rerankers that `origin` stands for, opened anew, as a worker does; a model's files are checked first."""
    from .plugin import open_plugin

    if isinstance(origin.source, PluginFile):
        return [open_plugin(origin.source.here(), origin.options)]
    opened = _open_family(origin.family, found_here(origin.source), origin.options, cache_folder())
    return [reranker.for_task(origin.task_prompt) for reranker in opened]


def template_names() -> dict[str, tuple[str, str]]:
    """Every template, recipe and variant that `--family` takes for short: name → its family and setting."""
    from ..models.recipes import known_recipes
    from .families import seq2seq
    from .prompts import list_prompt, sort_prompt, template

    names = dict.fromkeys(known_recipes(), ("bi-encoder", "recipe"))
    names |= dict.fromkeys(list_prompt.read_list_templates(), ("listwise", "template"))
    names |= dict.fromkeys(seq2seq.read_templates(), ("seq2seq", "template"))
    names |= dict.fromkeys(template.template_names(), ("causal", "template"))
    for family in ("pairwise", "setwise"):
        names |= dict.fromkeys(sort_prompt.sort_template_names(family), (family, "template"))
    return names | {"rankllama": ("sequence-classification", "template"), "tart": ("enct5", "variant")}


def _of_template(name: str, options: Options) -> tuple[str, Options]:
    """The family that a template's name stands for, and the options with that template chosen."""
    names = template_names()
    if name not in names:
        near = did_you_mean(name, [*FAMILIES, *names])
        raise HarnessError(
            f'unknown family "{name}"; families: {", ".join(FAMILIES)}; templates: {", ".join(sorted(names))}.{near}'
        )
    family, setting = names[name]
    return family, _with_settings(options, {setting: name})


def _with_settings(options: Options, settings: Mapping[str, object]) -> Options:
    """The known model's settings, before those that the user gave."""
    given = dict(options.settings)
    merged = {key: str(value) for key, value in settings.items() if key not in given} | given
    return replace(options, settings=tuple(merged.items()))


_BY_ARCHITECTURE = {
    "LayerWiseMiniCPMForCausalLM": "layerwise",
    "CostWiseGemmaForCausalLM": "lightweight",
    "EncT5ForSequenceClassification": "enct5",
    "JinaForRanking": "jina-list",
    "T5ForConditionalGeneration": "seq2seq",
    "MT5ForConditionalGeneration": "seq2seq",
}


def _what_decides(source: ModelSource, known: Mapping[str, Any]) -> str:
    """What the family of a model follows from where the user names none."""
    if known.get("family"):
        return "its name, in known.yaml"
    if is_cross_encoder(source) and source.architecture not in _BY_ARCHITECTURE:
        return "its modules.json, that of a CrossEncoder"
    if source.is_sentence_transformer and not source.architecture.endswith("ForSequenceClassification"):
        return "its modules.json"
    return f"its class {source.architecture}, in config.json"


def _family_of(source: ModelSource) -> str:
    if source.architecture in _BY_ARCHITECTURE:
        return _BY_ARCHITECTURE[source.architecture]
    if is_cross_encoder(source):
        layout = read_layout(source)
        return "causal" if layout is not None and layout.task == "text-generation" else "sequence-classification"
    if source.architecture.endswith("ForSequenceClassification"):
        return "sequence-classification"
    if is_late_interaction(source):
        return "late-interaction"
    if source.is_sentence_transformer:
        return "bi-encoder"
    if source.architecture.endswith("ForCausalLM"):
        return "causal"
    what = source.architecture or "no architecture in config.json"
    raise HarnessError(
        f"{source.name} ({what}) fits no family of rerankers by its class alone; name one with --family: "
        f"{', '.join(sorted(FAMILIES))}. A function or object of yours is written path/file.py:attribute."
    )
