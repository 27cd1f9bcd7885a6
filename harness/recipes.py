"""Recipes: how a model turns a text into a vector, read from its files without loading it.

A `Recipe` says prompts, length, pooling, normalisation. It is read from the files of a
sentence-transformers model; a bare transformer says nothing of its pooling and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from .digest import digest_of_settings
from .errors import HarnessError
from .models import ModelSource
from .tokenization import token_limit

__all__ = ["EncoderSpec", "Recipe", "Side", "read_encoder"]

VERSION = 1

Side = Literal["query", "document"]

_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "lasttoken",
}
_OUR_POOLINGS = frozenset(_POOLINGS.values())


@dataclass(frozen=True)
class Recipe:
    """How a model turns a text into a vector."""

    pooling: str
    max_length: int
    normalize: bool
    query_prompt: str = ""
    document_prompt: str = ""
    lower_case: bool = False
    library: bool = False
    """Whether sentence-transformers itself runs the model, because it has modules of its own."""

    def text(self, text: str, side: Side) -> str:
        """The text with its side's prompt, as the model gets it."""
        prompt = self.query_prompt if side == "query" else self.document_prompt
        return prompt + (text.lower() if self.lower_case else text)


@dataclass(frozen=True)
class EncoderSpec:
    """Everything that decides a model's vectors, known without loading it."""

    name: str
    revision: str
    recipe: Recipe
    dtype: str

    @property
    def settings(self) -> dict[str, object]:
        return {**asdict(self.recipe), "dtype": self.dtype, "version": VERSION}

    @property
    def fingerprint(self) -> str:
        """32 hex digits over revision and settings."""
        return digest_of_settings([("revision", self.revision), ("settings", self.settings)])


def read_encoder(source: ModelSource, dtype: str) -> EncoderSpec:
    """The spec of a sentence-transformers model.

    Raises HarnessError for a model of another kind: a classifier, or a bare transformer that says
    nothing of its pooling, whose vectors would be a guess.
    """
    if not source.is_sentence_transformer or source.architecture.endswith("ForSequenceClassification"):
        what = source.architecture or "a model without a named architecture"
        raise HarnessError(
            f"{source.name} is {what}, not a sentence-transformers model (it has no modules.json), so it cannot "
            f"be a first stage or a bi-encoder: its pooling is not stated. A reranker goes to --reranker."
        )
    return EncoderSpec(source.name, source.revision, _read_recipe(source), dtype)


def _read_recipe(source: ModelSource) -> Recipe:
    modules = [(str(entry["type"]).rsplit(".", 1)[-1], str(entry["path"])) for entry in source.small["modules.json"]]
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
        library=not _is_plain(modules) or pooling not in _OUR_POOLINGS or not keeps_prompt,
    )


def _is_plain(modules: Sequence[tuple[str, str]]) -> bool:
    """Whether the model is Transformer, Pooling and perhaps Normalize, its weights at the top."""
    kinds = [kind for kind, _ in modules]
    return kinds in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]) and modules[0][1] == ""


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
