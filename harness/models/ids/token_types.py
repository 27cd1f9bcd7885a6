"""Whether token types (0 for a query's ids, 1 for a document's) reach a model: its tokenizer's files decide, and its shape.

A tokenizer gives its model those inputs that tokenizer_config.json names in `model_input_names`; where it names
none, those of its class. Before transformers 5 every class gave token types but a few, since then few do: the files
say which of the two wrote them, and so which of the two their authors scored with. Sources: `model_input_names` in
the tokenizers of transformers 4.57 and 5.24.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ...errors import HarnessError
from ..source import ModelSource

__all__ = ["refuse_unknown_types", "sends_token_types", "types_setting"]

_GIVES = frozenset(
    {"Bert", "Canine", "ConvBert", "Deberta", "DebertaV2", "Electra", "FNet", "LayoutLM", "Lxmert", "MarkupLM"}
    | {"MobileBert", "RoCBert", "RoFormer", "SqueezeBert"}
)
"""Classes that give token types since transformers 5."""
_GAVE_NONE = frozenset(
    {
        "Bart",
        "Barthez",
        "BigBird",
        "BioGpt",
        "Blenderbot",
        "Bloom",
        "Camembert",
        "CodeGen",
        "Cohere",
        "DistilBert",
        "Esm",
    }
    | {"GPT2", "GPTNeoX", "Gemma", "LED", "Llama", "Longformer", "Luke", "M2M100", "MBart", "MBart50", "MPNet", "MT5"}
    | {"Nllb", "OpenAIGPT", "Pegasus", "Qwen2", "Roberta", "T5", "XGLM", "XLMRoberta"}
)
"""Classes that gave none before."""
_CLASS_OF = {
    "albert": "Albert", "big_bird": "BigBird", "camembert": "Camembert", "canine": "Canine", "data2vec-text": "Roberta",
    "deberta": "Deberta", "deberta-v2": "DebertaV2", "fnet": "FNet", "funnel": "Funnel", "gpt2": "GPT2",
    "ibert": "Roberta", "longformer": "Longformer", "markuplm": "MarkupLM", "mra": "Roberta", "nystromformer": "Albert",
    "openai-gpt": "OpenAIGPT", "rembert": "RemBert", "roberta": "Roberta", "roberta-prelayernorm": "Roberta",
    "xlm-roberta": "XLMRoberta", "xlm-roberta-xl": "XLMRoberta", "xlnet": "XLNet", "xmod": "XLMRoberta", "yoso": "Albert",
}  # fmt: skip
"""The tokenizer of a kind of model whose files name none; Bert's for the others."""
_WITHOUT_A_NUMBER = {"ctrl", "flaubert", "funnel", "gpt2", "gpt_bigcode", "gpt_neo", "openai-gpt", "xlm", "xlnet"}
"""Kinds of models that take token types and state no number of them."""

_TWO = (
    "albert bert big_bird camembert convbert electra ernie ibert layoutlm longformer luke markuplm megatron-bert "
    "mobilebert nomic_bert nystromformer rembert roberta roberta-prelayernorm roc_bert roformer squeezebert "
    "xlm-roberta xmod"
)
_BY_DEFAULT = dict.fromkeys(_TWO.split(), 2) | {"canine": 16, "data2vec-text": 2, "fnet": 4}
"""How many token types a kind of model has where its config.json leaves the number out."""


def sends_token_types(source: ModelSource, forward: Callable[..., Any] | None = None) -> bool:
    """Whether a pair's token types are an input of the model, and move its scores.

    `forward` is that of the model's class: where its code is its own and states no number of types, what it takes decides.
    """
    if _decided_by_code(source):
        return _given(source) and forward is not None and "token_type_ids" in inspect.signature(forward).parameters
    return _given(source) and (_kinds(source) > 1 or source.config.get("model_type") in _WITHOUT_A_NUMBER)


def types_setting(source: ModelSource) -> dict[str, object]:
    """For the key of a classifier: what becomes of token types where config.json's type_vocab_size does not say it."""
    if _decided_by_code(source):
        return {"token_types": "where its own code takes them"} if _given(source) else {}
    stated = source.config.get("type_vocab_size", 1) > 1
    sent = sends_token_types(source)
    return {} if sent == stated else {"token_types": "sent" if sent else "none"}


def refuse_unknown_types(source: ModelSource, greatest: int) -> None:
    """Raise HarnessError where the model is given token types up to `greatest` and has an embedding for fewer."""
    kinds = _kinds(source)
    if greatest >= kinds > 0 and _given(source):
        raise HarnessError(
            f"{source.name}: its tokenizer gives the token type {greatest}, and the model has embeddings for {kinds}: "
            f'tokenizer_config.json must leave "token_type_ids" out of model_input_names, or config.json is another '
            f"model's"
        )


def _decided_by_code(source: ModelSource) -> bool:
    return source.code is not None and "type_vocab_size" not in source.config


def _given(source: ModelSource) -> bool:
    named = source.tokenizer_config.get("model_input_names")
    if isinstance(named, list):
        return "token_type_ids" in named
    kind = source.tokenizer_config.get("tokenizer_class")
    kind = str(kind or _CLASS_OF.get(str(source.config.get("model_type")), "Bert"))
    kind = kind.removesuffix("Fast").removesuffix("Tokenizer")
    version = str(source.config.get("transformers_version", "")).partition(".")[0]
    return kind in _GIVES if version.isdigit() and int(version) >= 5 else kind not in _GAVE_NONE


def _kinds(source: ModelSource) -> int:
    """How many token types the model has embeddings for; 0 where it takes none, or states no number."""
    stated = source.config.get("type_vocab_size")
    if isinstance(stated, int):
        return stated
    return _BY_DEFAULT.get(str(source.config.get("model_type")), 0)
