"""The layouts in which late-interaction models are saved, read into one record.

- ColBERT's own (colbert-ir/colbertv2.0): class HF_ColBERT, `linear.weight` among the transformer's
  weights, lengths in artifact.metadata (github.com/stanford-futuredata/ColBERT, colbert/infra/config).
- PyLate's (lightonai/GTE-ModernColBERT-v1): sentence-transformers modules, a Dense of the tokens,
  lengths and prefixes in config_sentence_transformers.json (github.com/lightonai/pylate, models/colbert.py).
- sentence-transformers' MultiVectorEncoder: the same as modules of their own.

Nothing here loads weights.
"""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import HarnessError
from ..own_code import foreign_classes
from ..source import ModelSource

__all__ = ["LateLayout", "Projection", "read_layout"]

_IDENTITY = "torch.nn.modules.linear.Identity"


@dataclass(frozen=True)
class Projection:
    """A linear map of every token's vector, without an activation."""

    folder: str
    """Empty where its weight stands among the transformer's."""
    residual: bool = False
    """Whether its input is added to its output, through a map of its own where their sizes differ."""


@dataclass(frozen=True)
class LateLayout:
    """How a late-interaction model turns a text into vectors, one a token."""

    query_marker: str
    """The token that is put in after the first one; empty for none."""
    document_marker: str
    query_prompt: str
    """Text before a query."""
    document_prompt: str
    query_length: int | None
    """Tokens of a query, markers and specials with it; None is as many as the model takes."""
    document_length: int | None
    expansion: bool
    """Whether a shorter query is filled up to its length with `expansion_token`, which is scored too."""
    attend: bool
    """Whether the query's own tokens see the expansion in the attention layers."""
    expansion_token: str | None
    """None is [MASK], or EOS where the tokenizer has no mask token."""
    skiplist: tuple[str, ...]
    """Tokens of a document that are not scored: punctuation."""
    projections: tuple[Projection, ...]


def read_layout(source: ModelSource) -> LateLayout:
    """The layout of a model's files. Raises HarnessError for a model of another kind."""
    if source.architecture == "HF_ColBERT":
        return _colbert(source.small.get("artifact.metadata", {}))
    modules = source.small.get("modules.json", [])
    kinds = [str(module["type"]).rsplit(".", 1)[-1] for module in modules]
    stated: Mapping[str, Any] = source.small.get("config_sentence_transformers.json", {})
    if foreign := foreign_classes(source.small):
        raise HarnessError(
            f"{source.name} runs a module that is not known here, {foreign[0]}, and its scores would be others without it: "
            f"wrap the model in a plug-in (--reranker path/file.py:attribute)"
        )
    if kinds[:1] == ["Transformer"] and modules[0]["path"] == "" and "Dense" in kinds:
        if stated.get("model_type") == "MultiVectorEncoder":
            return _multi_vector(source, modules)
        if "Pooling" not in kinds and set(kinds) <= {"Transformer", "Dense"}:
            return _pylate(source, stated, modules)
    raise HarnessError(
        f"{source.name} is no late-interaction model that is known here: it has neither the class HF_ColBERT nor the "
        f"modules Transformer and Dense of PyLate or of a MultiVectorEncoder"
    )


def _colbert(stated: Mapping[str, Any]) -> LateLayout:
    punctuation = stated.get("mask_punctuation", True)
    return LateLayout(
        query_marker=stated.get("query_token_id") or "[unused0]",
        document_marker=stated.get("doc_token_id") or "[unused1]",
        query_prompt="",
        document_prompt="",
        query_length=int(stated.get("query_maxlen") or 32),
        document_length=int(stated.get("doc_maxlen") or 220),
        expansion=True,
        attend=bool(stated.get("attend_to_mask_tokens")),
        expansion_token=None,
        skiplist=tuple(string.punctuation) if punctuation else (),
        projections=(Projection(""),),
    )


def _pylate(source: ModelSource, stated: Mapping[str, Any], modules: list[dict[str, Any]]) -> LateLayout:
    expansion = stated.get("do_query_expansion")
    skiplist = stated.get("skiplist_words")
    prompts = stated.get("prompts") or {}
    query_marker, document_marker = stated.get("query_prefix"), stated.get("document_prefix")
    return LateLayout(
        query_marker="[Q] " if query_marker is None else query_marker,
        document_marker="[D] " if document_marker is None else document_marker,
        query_prompt=prompts.get("query") or "",
        document_prompt=prompts.get("document") or "",
        query_length=int(stated.get("query_length") or 32),
        document_length=int(stated.get("document_length") or 180),
        expansion=expansion is not False,
        attend=bool(stated.get("attend_to_expansion_tokens")) and expansion is not False,
        expansion_token=None,
        skiplist=tuple(string.punctuation if skiplist is None else skiplist),
        projections=_projections(source, modules),
    )


def _multi_vector(source: ModelSource, modules: list[dict[str, Any]]) -> LateLayout:
    mask: dict[str, Any] = {}
    for module in modules[1:]:
        kind = str(module["type"]).rsplit(".", 1)[-1]
        if kind == "MultiVectorMask":
            mask = source.small.get(f"{module['path']}/config.json", {})
        elif kind not in ("Dense", "Normalize"):
            raise HarnessError(f"{source.name} has the module {kind}, which the family of late interaction lacks")
    transformer = source.small.get("sentence_bert_config.json", {})
    expansion = transformer.get("query_expansion") or {}
    strange = mask.get("keep_only_token_ids") or expansion.get("strategy", "fixed") != "fixed"
    if strange or mask.get("skiplist_tasks", ["document"]) != ["document"]:
        raise HarnessError(f"{source.name} masks or expands its tokens in a way that late interaction here lacks")
    prompts = source.small["config_sentence_transformers.json"].get("prompts") or {}
    return LateLayout(
        query_marker="",
        document_marker="",
        query_prompt=prompts.get("query") or "",
        document_prompt=prompts.get("document") or "",
        query_length=expansion.get("length") or transformer.get("query_length"),
        document_length=transformer.get("document_length"),
        expansion=bool(expansion),
        attend=bool(expansion.get("attend")),
        expansion_token=expansion.get("token"),
        skiplist=tuple(mask.get("skiplist_words") or ()),
        projections=_projections(source, modules),
    )


def _projections(source: ModelSource, modules: list[dict[str, Any]]) -> tuple[Projection, ...]:
    found = []
    for module in modules:
        if str(module["type"]).endswith(".Dense"):
            stated = source.small.get(f"{module['path']}/config.json", {})
            activation = stated.get("activation_function", _IDENTITY)
            if activation != _IDENTITY:
                where = f"{source.name}: {module['path']}"
                raise HarnessError(f"{where} has the activation {activation}; only Identity is known here")
            found.append(Projection(str(module["path"]), bool(stated.get("use_residual"))))
    return tuple(found)
