"""The fast path: no padding, the last layer only where it is scored, the chip's own kernels.

`pack`, `pack_causal` and `pack_answer` take the weights of a loaded transformers model over. Scores equal the
model's own to float noise. An architecture that is not known here runs as transformers runs it, and
`note_of` says so in one sentence. The modules below import torch; this one does not until a model
is packed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .decoder import PackedDecoder, PackedLastToken
    from .decoder_weights import DecoderShape
    from .packed import PackedEncoder
    from .t5 import PackedT5Answer

__all__ = [
    "joined",
    "knows_decoder",
    "knows_t5",
    "note_of",
    "pack",
    "pack_answer",
    "pack_causal",
    "pack_classifier",
    "pack_pooled",
]

_ENCODERS = ("bert", "camembert", "deberta-v2", "modernbert", "roberta", "xlm-roberta")
_DECODERS = ("gemma", "gemma2", "llama", "mistral", "qwen2", "qwen3")
_T5 = ("mt5", "t5", "umt5")
_ROTARY = ("default", "linear", "llama3", "yarn", "dynamic")
"""Ways to scale rotary positions whose frequencies do not depend on the batch."""


def pack(model: Any) -> PackedEncoder | None:
    """The model on the fast path, or None where its architecture takes the plain one.

    What is not laid out anew is shared with `model`; drop the model to keep one copy of the weights. A T5's
    encoder is empty afterwards.
    """
    from .deberta import PackedDeberta, read_deberta
    from .modernbert import PackedModernBert, read_modernbert
    from .packed import PackedEncoder
    from .t5 import PackedT5, read_t5
    from .weights import read_weights

    modern = read_modernbert(model)
    if modern is not None:
        return PackedModernBert(modern)
    deberta = read_deberta(model)
    if deberta is not None:
        return PackedDeberta(deberta)
    encoder = read_t5(model)
    if encoder is not None:
        return PackedT5(encoder)
    weights = read_weights(model)
    return PackedEncoder(weights) if weights else None


def pack_classifier(model: Any) -> PackedEncoder | PackedLastToken | None:
    """A `…ForSequenceClassification` on the fast path, or None: an encoder as by `pack`, a decoder as by `pack_causal`."""
    from .decoder_weights import shape_of

    shape = shape_of(model)
    return pack(model) if shape is None else _pack_decoder(model, shape, model.score, range(len(model.score.weight)))


def pack_causal(model: Any, labels: Sequence[int]) -> PackedLastToken | None:
    """A `…ForCausalLM` on the fast path with the rows `labels` of its head, or None as for `pack`.

    The weights are taken out of `model`, layer by layer, so that there is never a second copy of all:
    it is empty afterwards.
    """
    from .decoder_weights import shape_of

    shape = shape_of(model)
    return None if shape is None else _pack_decoder(model, shape, model.get_output_embeddings(), labels)


def pack_answer(model: Any) -> PackedT5Answer | None:
    """A T5 or mT5 `…ForConditionalGeneration` on the fast path as far as an answer's first token, or None as for `pack`.

    The weights but for the embeddings and the head are taken out of `model`, layer by layer.
    """
    from .t5 import take_t5_answer

    return take_t5_answer(model)


def pack_pooled(model: Any, pooling: str) -> PackedEncoder | PackedDecoder | None:
    """A model without a head on the fast path, or None: an encoder as by `pack`, a decoder as by `pack_causal`.

    Both have `pooled(rows, pooling)`; a decoder takes the pooling lasttoken alone.
    """
    from .decoder_weights import shape_of

    shape = shape_of(model) if pooling == "lasttoken" else None
    return pack(model) if shape is None else _take(model, shape)


def _pack_decoder(model: Any, shape: DecoderShape, head: Any, labels: Sequence[int]) -> PackedLastToken:
    import torch

    from .decoder import LastTokenHead, PackedLastToken

    chosen = torch.tensor(list(labels), device=head.weight.device)
    weight, bias = (None if part is None else part.detach()[chosen].float() for part in (head.weight, head.bias))
    cap = getattr(model.config, "final_logit_softcapping", None) if head is model.get_output_embeddings() else None
    return PackedLastToken(_take(model, shape), LastTokenHead(weight, bias, cap))


def _take(model: Any, shape: DecoderShape) -> PackedDecoder:
    from .decoder import PackedDecoder
    from .decoder_weights import take_weights

    weights = {f"model.{name}": weight for name, weight in model.base_model.state_dict().items()}
    model.to("meta")
    return PackedDecoder(take_weights(weights, shape))


def knows_decoder(config: Mapping[str, Any]) -> bool:
    """Whether the fast path takes a decoder with this config.json; asked before weights are loaded, to plan batches."""
    scaled = config.get("rope_parameters") or config.get("rope_scaling") or {}
    rotary = scaled.get("rope_type", scaled.get("type", "default"))
    own = config.get("auto_map") or config.get("quantization_config")
    return config.get("model_type") in _DECODERS and rotary in _ROTARY and not own


def knows_t5(config: Mapping[str, Any], dtype: str) -> bool:
    """Whether `pack` takes the encoder of a T5 with this config.json, and `pack_answer` the T5."""
    own = config.get("auto_map") or config.get("quantization_config")
    return config.get("model_type") in _T5 and dtype != "float16" and not own


def joined(*notes: str | None) -> str | None:
    """The notes that there are as one."""
    return "; ".join(note for note in notes if note) or None


def note_of(config: Mapping[str, Any], note: str | None, *, known: bool | None = None) -> str | None:
    """`note`, and for a model that takes the plain path a sentence that says so. `config` is its config.json.

    `known` says whether it is taken to the fast path; None where its config.json decides.
    """
    kind = config.get("model_type") or "this architecture"
    if known is None:
        known = (kind in _ENCODERS and not config.get("auto_map")) or knows_decoder(config)
    if known:
        return note
    plain = f"no fast path for {kind}: transformers runs it, padded"
    return f"{note}; {plain}" if note else plain
