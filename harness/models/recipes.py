"""Recipes: how a model turns a text into a vector, known without loading it.

A `Recipe` says prompts, length, pooling, normalisation. It comes from `known_encoders.yaml`, by the
model's id or by a name that the user gives, or is read from the files of a sentence-transformers
model; a bare transformer says nothing of its pooling and is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ..engine.options import Options
from ..errors import HarnessError, did_you_mean
from ..files.digest import digest_of_settings
from ..files.yaml_file import read_yaml
from .copies import copy_of
from .ids.company import padding_setting
from .own_code import foreign_classes
from .running import numeric_settings
from .source import ModelSource
from .tokenization import token_limit

__all__ = ["EncoderSpec", "Recipe", "Side", "is_late_interaction", "known_recipes", "read_encoder"]

VERSION = 1

Side = Literal["query", "document"]

_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
_OUR_POOLINGS = frozenset(_POOLINGS.values())
_TASK = "{task}"
FROM_FILES = "files"
"""The name of the recipe that a model's own files state."""
_SAID_BY_RECIPES = ("pooling", "normalize", "query_prompt", "document_prompt", "bos_and_eos", "lower_case")


@dataclass(frozen=True)
class Recipe:
    """How a model turns a text into a vector."""

    pooling: str
    max_length: int
    normalize: bool
    query_prompt: str = ""
    """What stands before a query; `{task}` in it is the data set's task sentence."""
    document_prompt: str = ""
    default_task: str = ""
    """The task sentence for a data set that has none."""
    bos_and_eos: bool = False
    """Whether an input must begin with the tokenizer's BOS and end with its EOS, which is appended
    where the tokenizer leaves it out."""
    lower_case: bool = False
    library: bool = False
    """Whether sentence-transformers itself runs the model, because it has modules of its own."""

    @property
    def wants_task_prompt(self) -> bool:
        """Whether the data set's task sentence is a part of a query's input."""
        return _TASK in self.query_prompt

    def prompt(self, side: Side, task_prompt: str = "") -> str:
        """What stands before a text of this side; `task_prompt` is the data set's task sentence."""
        if side == "document":
            return self.document_prompt
        return self.query_prompt.replace(_TASK, task_prompt or self.default_task)


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that decides a model's vectors, known without loading it."""

    name: str
    revision: str
    recipe: Recipe
    numeric: tuple[tuple[str, object], ...]
    """How the model is run, as far as it moves vectors: `numeric_settings`."""
    note: str | None = field(default=None, compare=False)
    """What the user should know of how the recipe was found."""
    stored: str = "float32"
    """The type to which vectors are rounded when they are written."""

    @property
    def dtype(self) -> str:
        return str(dict(self.numeric)["dtype"])

    @property
    def settings(self) -> dict[str, object]:
        rounded = self.recipe.library and self.dtype != "float32"
        exact = {"behind": "float32"} if rounded else {}
        kept = {"vectors": self.stored} if self.stored != "float32" else {}
        return {**asdict(self.recipe), **dict(self.numeric), "version": VERSION, **exact, **kept}

    @property
    def fingerprint(self) -> str:
        """32 hex digits over revision and settings."""
        return digest_of_settings([("revision", self.revision), ("settings", self.settings)])


def read_encoder(
    source: ModelSource,
    options: Options,
    *,
    recipe: str | None = None,
    max_length: int | None = None,
    task: str | None = None,
    vectors: str = "float32",
) -> EncoderSpec:
    """The spec of an encoder: by the recipe of this name (`files`: what they state), else by the model's id, else by its files.

    `max_length` (in tokens) and `task` (one task sentence for every data set) go before the
    recipe's own; `vectors` is the type on disk. Raises HarnessError for an unknown recipe, a model of another kind (a classifier,
    or a bare transformer that says nothing of its pooling, whose vectors would be a guess), a
    max_length the model has no positions for, and a task sentence where the recipe has no place for it.
    """
    chosen = _chosen_recipe(source, recipe)
    if task is not None:
        if not chosen.wants_task_prompt:
            raise HarnessError(f"task={task}: {source.name} takes no task sentence before its queries")
        chosen = replace(chosen, query_prompt=chosen.query_prompt.replace(_TASK, task), default_task="")
    if max_length is not None:
        limit = token_limit(source.config, source.tokenizer_config)
        if limit is not None and max_length > limit:
            raise HarnessError(f"{source.name} takes at most {limit} tokens; max_length={max_length} is more")
        chosen = replace(chosen, max_length=max_length)
    numeric = tuple((numeric_settings(source, options) | padding_setting(source.config)).items())
    note = None if recipe else _note(source, chosen)
    return EncoderSpec(source.name, source.revision, chosen, numeric, note, vectors)


def is_late_interaction(source: ModelSource) -> bool:
    """Whether the files are those of a model with one vector a token (ColBERT, PyLate, MultiVectorEncoder)."""
    stated = source.small.get("config_sentence_transformers.json", {}).get("model_type")
    types = [str(entry["type"]) for entry in source.small.get("modules.json", ())]
    return (
        source.architecture == "HF_ColBERT"
        or stated in ("ColBERT", "MultiVectorEncoder")
        or any(kind.startswith("pylate.") for kind in types)
    )


def known_recipes() -> Mapping[str, Recipe]:
    """Every recipe by its name, from known_encoders.yaml."""
    return {name: Recipe(**fields) for name, fields in _table()["recipes"].items()}


@cache
def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("known_encoders.yaml"))
    return table


def _chosen_recipe(source: ModelSource, name: str | None) -> Recipe:
    recipes = known_recipes()
    if name == FROM_FILES:
        _refuse_other_kinds(source, stated=source.is_sentence_transformer)
        return _read_recipe(source)
    if name is not None and name not in recipes:
        known = ", ".join(sorted(recipes))
        raise HarnessError(f'unknown recipe "{name}"; known: {known}.{did_you_mean(name, recipes)}')
    name = name or _table()["models"].get(source.name)
    _refuse_other_kinds(source, stated=name is not None or source.is_sentence_transformer)
    if name is None:
        return _read_recipe(source)
    if source.is_sentence_transformer and not _is_plain(source):
        raise HarnessError(f"{source.name} has modules of its own, which the recipe {name} would leave out")
    return recipes[name]


def _note(source: ModelSource, chosen: Recipe) -> str | None:
    """What a copy of a known encoder is told: that the known recipe is another than its files'."""
    models = _table()["models"]
    known = copy_of(source, models)
    if known is None or source.name in models:
        return None
    recipe = known_recipes()[models[known]]
    other = [part for part in _SAID_BY_RECIPES if getattr(recipe, part) != getattr(chosen, part)]
    prompts = chosen.query_prompt or chosen.document_prompt
    if not other or (prompts and set(other) <= {"query_prompt", "document_prompt"}):
        return None
    first = f"{other[0].replace('_', ' ')} {getattr(recipe, other[0])!r}"
    return (
        f"its files seem to be a copy of {known}, whose recipe is another than they state ({first}): say "
        f"--set recipe={models[known]} for a reranker, --retriever-set recipe={models[known]} for a first stage; "
        f"recipe={FROM_FILES} keeps what the files state"
    )


def _refuse_other_kinds(source: ModelSource, *, stated: bool) -> None:
    """Raise HarnessError for a model that does not give one dense vector a text, or does not say how (`stated`)."""
    kind = source.small.get("config_sentence_transformers.json", {}).get("model_type") or "SentenceTransformer"
    late = is_late_interaction(source)
    if late or kind != "SentenceTransformer":
        what = "a late-interaction model" if late else f"a {kind}"
        ways = {
            "late": " As a reranker its family is late-interaction.",
            "SparseEncoder": " It is one for --retriever.",
        }
        raise HarnessError(
            f"{source.name} is {what}: it does not give one dense vector a text, so it cannot be a dense first stage "
            f"or a bi-encoder.{ways.get('late' if late else kind, '')}"
        )
    if source.architecture.endswith("ForSequenceClassification") or not stated:
        what = source.architecture or "a model without a named architecture"
        known = copy_of(source, _table()["models"])
        hint = f" It seems to be a copy of {known}: recipe={_table()['models'][known]}." if known else ""
        why = "" if source.is_sentence_transformer else " (it has no modules.json)"
        raise HarnessError(
            f"{source.name} is {what}, not a sentence-transformers model{why}, so it cannot "
            f"be a first stage or a bi-encoder: its pooling is not stated. A reranker goes to --reranker; for an "
            f"encoder whose recipe is known, say recipe=NAME: {', '.join(sorted(known_recipes()))}.{hint}"
        )


def _read_recipe(source: ModelSource) -> Recipe:
    modules = _modules(source)
    kinds = [kind for kind, _ in modules]
    transformer = source.small.get("sentence_bert_config.json", {})
    limit = token_limit(source.config, source.tokenizer_config)
    more = source.small.get("config_sentence_transformers.json", {})
    prompts = more.get("prompts") or {}
    similarity = more.get("similarity_fn_name") or "cosine"
    if similarity not in ("cosine", "dot"):
        raise HarnessError(f'{source.name} compares vectors by "{similarity}"; only cosine and dot are supported')
    pooling, keeps_prompt = _pooling(source, modules)
    default = prompts.get(more.get("default_prompt_name") or "", "")
    return Recipe(
        pooling=pooling,
        max_length=int(transformer.get("max_seq_length") or limit or 512),
        normalize="Normalize" in kinds or similarity == "cosine",
        query_prompt=str(prompts.get("query", default)),
        document_prompt=str(
            next((prompts[key] for key in ("document", "passage", "corpus") if key in prompts), default)
        ),
        lower_case=bool(transformer.get("do_lower_case")),
        library=not _is_plain(source) or pooling not in _OUR_POOLINGS or not keeps_prompt,
    )


def _modules(source: ModelSource) -> list[tuple[str, str]]:
    """The class and the folder of each module."""
    return [(str(entry["type"]).rsplit(".", 1)[-1], str(entry["path"])) for entry in source.small["modules.json"]]


def _is_plain(source: ModelSource) -> bool:
    """Whether the model is Transformer, Pooling and perhaps Normalize of the library's own, its weights at the top."""
    modules = _modules(source)
    kinds = [kind for kind, _ in modules]
    return (
        not foreign_classes(source.small)
        and kinds in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"])
        and modules[0][1] == ""
    )


def _pooling(source: ModelSource, modules: Sequence[tuple[str, str]]) -> tuple[str, bool]:
    for kind, path in modules:
        if kind == "Pooling":
            config = source.small.get(f"{path}/config.json", {})
            if "pooling_mode" in config:
                modes = [str(config["pooling_mode"])]
            else:
                modes = [
                    _POOLINGS.get(key, key) for key, on in config.items() if key.startswith("pooling_mode_") and on
                ]
            return (modes[0] if len(modes) == 1 else "+".join(modes)), bool(config.get("include_prompt", True))
    return "", True
