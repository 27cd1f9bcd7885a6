"""What our own decoders have in common: config.json, weights, a head for each layer.

Their forward pass is that of `fast.decoder`; what makes each of them its own is its `DecoderShape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...engine.fast.sharing import Sharing
from ...engine.options import Options
from ...errors import HarnessError
from ...models.checkpoint import read_weights
from ...models.source import ModelSource
from ..prompts.ab_prompt import AbInput

if TYPE_CHECKING:
    from ...engine.fast.decoder_batch import Passages
    from ...engine.fast.decoder_weights import DecoderShape

__all__ = ["LayeredDecoder", "named_shapes", "read_numbers"]

Shape = tuple[int, ...]


class DecoderConfig(Protocol):
    """The part of a decoder's config that loading needs."""

    @property
    def num_hidden_layers(self) -> int: ...

    def shapes(self) -> dict[str, Shape]:
        """Every weight's name and shape."""
        ...


class LayeredDecoder:
    """Weights up to the largest layer asked for. `heads` maps the layers, in order, to their heads' numbers."""

    softcap: float | None = None
    """The bound of the logits (Gemma 2's final_logit_softcapping)."""

    def __init__(
        self,
        source: ModelSource,
        config: DecoderConfig,
        heads: Mapping[int, int],
        options: Options,
    ) -> None:
        import torch

        from ...engine.fast.decoder import PackedDecoder
        from ...engine.fast.decoder_weights import take_weights

        depth = max(heads)
        shapes = config.shapes()
        unused = tuple(f"model.layers.{layer}." for layer in range(depth, config.num_hidden_layers))
        weights = read_weights(
            source,
            shapes,
            dtype=options.dtype,
            device=options.device,
            # Old checkpoints store the rotary frequencies, which are computed here.
            ignorable=r".*rotary_emb\.inv_freq",
            needed=[name for name in shapes if not (unused and name.startswith(unused))],
        )
        self._heads = torch.cat([weights[f"lm_head.{head}.linear_head.weight"] for head in heads.values()]).float()
        words = weights["model.embed_tokens.weight"]
        # Half precision rounds by what is computed together; a layer's key does not say what else was asked for.
        whole = options.dtype != "float32"
        self.decoder = PackedDecoder(take_weights(weights, self.shape(depth, words.dtype)), tuple(heads), whole=whole)

    def shape(self, depth: int, dtype: Any) -> DecoderShape:
        """What the decoder is, cut off after `depth` layers."""
        raise NotImplementedError

    def passages(self, inputs: Sequence[AbInput]) -> Passages | None:
        """How passages shrink on the way; None where they do not."""
        return None

    def margins(self, inputs: Sequence[AbInput], sharing: Sharing | None = None) -> NDArray[np.float32]:
        """The logits at each input's last token, shape (layers, inputs), in float32."""
        import torch

        from ...engine.fast.decoder import soft_cap

        with torch.inference_mode():
            states = self.decoder.states([entry.ids for entry in inputs], sharing, self.passages(inputs))
            logits = torch.einsum("lbh,lh->lb", states.float(), self._heads)
            found: NDArray[np.float32] = soft_cap(logits, self.softcap).cpu().numpy()
        return found


def read_numbers(
    source: ModelSource, names: Iterable[str], defaults: Mapping[str, object], fixed: Mapping[str, object]
) -> dict[str, Any]:
    """The numbers `names` of config.json; `defaults` are the architecture's own for what it does not mention.

    Raises HarnessError for a number that is nowhere, and for a setting that is not as `fixed` says:
    the published models are, and no other kind is built here.
    """
    given = {**fixed, **defaults, **source.config}
    for key, value in fixed.items():
        if given[key] != value:
            raise HarnessError(f"{source.name}: {key} is {given[key]!r} in config.json; only {value!r} is supported")
    names = list(names)
    lacking = [name for name in names if not isinstance(given.get(name), int | float)]
    if lacking:
        raise HarnessError(f"{source.name}: config.json has no number for {', '.join(lacking)}")
    return {name: given[name] for name in names}


def named_shapes(vocabulary: int, hidden: int, layers: int, block: Mapping[str, Shape], heads: int) -> dict[str, Shape]:
    """The names and shapes of a decoder's weights; `block` says those of one layer."""
    found: dict[str, Shape] = {"model.embed_tokens.weight": (vocabulary, hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        found |= {f"model.layers.{layer}.{part}.weight": shape for part, shape in block.items()}
    return found | {f"lm_head.{head}.linear_head.weight": (1, hidden) for head in range(heads)}
