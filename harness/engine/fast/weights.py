"""The weights of BERT and RoBERTa, read out of the transformers modules that hold them.

Classes: BertModel, RobertaModel, XLMRobertaModel, CamembertModel and their ForSequenceClassification.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .linear import Linear, linear

__all__ = ["Layer", "Norm", "Weights", "exact", "is_plain", "read_layer", "read_weights"]

_BODIES = {"BertModel", "CamembertModel", "RobertaModel", "XLMRobertaModel"}
_CLASSIFIERS = {
    "BertForSequenceClassification",
    "CamembertForSequenceClassification",
    "RobertaForSequenceClassification",
    "XLMRobertaForSequenceClassification",
}


@dataclass(frozen=True)
class Norm:
    """A layer norm over the features."""

    weight: Any
    bias: Any
    eps: float

    @classmethod
    def of(cls, module: Any) -> Norm:
        """The norm that a torch LayerNorm is, with or without a bias."""
        return cls(module.weight.detach(), None if module.bias is None else module.bias.detach(), module.eps)

    def __call__(self, x: Any) -> Any:
        return torch.nn.functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class Layer:
    """One transformer layer, normed after each residual sum."""

    query: Linear
    key_value: Linear
    context: Linear
    context_norm: Norm
    inner: Linear
    activation: Any
    """None for the exact gelu, which is computed with `inner`; else what transformers computes."""
    outer: Linear
    outer_norm: Norm


@dataclass(frozen=True)
class Weights:
    """An encoder and, of a classifier, its head: dense, tanh, out."""

    words: Any
    positions: Any
    types: Any
    norm: Norm
    padding: int | None
    """RoBERTa's padding id, after which its positions begin; None where they begin at 0."""
    heads: int
    layers: tuple[Layer, ...]
    head: tuple[Linear, Linear] | None


def read_weights(model: Any) -> Weights | None:
    """The weights of a transformers model, or None for one whose forward pass is not known here."""
    name = type(model).__name__
    known = name in _BODIES or name in _CLASSIFIERS
    if not known or not type(model).__module__.startswith("transformers.models.") or not is_plain(model):
        return None
    body = model.base_model
    embeddings = body.embeddings
    return Weights(
        words=embeddings.word_embeddings.weight.detach(),
        positions=embeddings.position_embeddings.weight.detach(),
        types=embeddings.token_type_embeddings.weight.detach(),
        norm=Norm.of(embeddings.LayerNorm),
        padding=getattr(embeddings, "padding_idx", None),
        heads=model.config.num_attention_heads,
        layers=tuple(map(_bert_layer, body.encoder.layer)),
        head=_head(model) if name in _CLASSIFIERS else None,
    )


def is_plain(model: Any) -> bool:
    """Whether nothing is set or wrapped that would change the forward pass of the class."""
    config = model.config
    changed = getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False)
    relative = getattr(config, "position_embedding_type", None) not in (None, "absolute")
    wrapped = any(isinstance(part, torch.nn.Linear) and type(part) is not torch.nn.Linear for part in model.modules())
    mixed = len({weight.dtype for weight in model.parameters()}) > 1
    return not (changed or relative or wrapped or mixed)


def _bert_layer(module: Any) -> Layer:
    attention = module.attention.self
    return read_layer(module, attention.query, attention.key, attention.value)


def read_layer(module: Any, query: Any, key: Any, value: Any) -> Layer:
    """A layer of BERT's, or of its kin, whose attention's three linears have other names."""
    from transformers.activations import GELUActivation

    activation = module.intermediate.intermediate_act_fn
    return Layer(
        query=_joined([query]),
        key_value=_joined([key, value]),
        context=_joined([module.attention.output.dense]),
        context_norm=Norm.of(module.attention.output.LayerNorm),
        inner=_joined([module.intermediate.dense]),
        activation=None if isinstance(activation, GELUActivation) else activation,
        outer=_joined([module.output.dense]),
        outer_norm=Norm.of(module.output.LayerNorm),
    )


def _head(model: Any) -> tuple[Linear, Linear]:
    """In float32 whatever the model's dtype: rounded logits tie."""
    if hasattr(model.base_model, "pooler") and model.base_model.pooler is not None:
        return exact(model.base_model.pooler.dense), exact(model.classifier)
    return exact(model.classifier.dense), exact(model.classifier.out_proj)


def exact(module: Any) -> Linear:
    """A torch Linear in float32 whatever its dtype."""
    return linear(module.weight.detach().float(), module.bias.detach().float())


def _joined(modules: Sequence[Any]) -> Linear:
    """One Linear that gives the outputs of several side by side."""
    if len(modules) == 1:
        return linear(modules[0].weight.detach(), modules[0].bias.detach())
    weight = torch.cat([module.weight.detach() for module in modules])
    return linear(weight, torch.cat([module.bias.detach() for module in modules]))
