"""What our own decoders have in common: config.json, weights, rotary positions, a head for each layer.

Inputs are padded on the right. Under a causal mask no real token sees the padding after it, so no
padding mask is needed, and positions count from 0 in every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ..checkpoint import read_weights
from ..errors import HarnessError
from ..models import ModelSource
from ..options import Options
from .ab_prompt import AbInput

__all__ = ["LayeredDecoder", "Spans", "named_shapes", "read_numbers", "rotary", "rotate", "split_heads"]

Shape = tuple[int, ...]


class Spans(NamedTuple):
    """Where each row's passage begins and ends, and the row itself; three integer tensors of shape (rows,)."""

    start: Any
    stop: Any
    length: Any


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

    def __init__(self, source: ModelSource, config: DecoderConfig, heads: Mapping[int, int], options: Options) -> None:
        self.heads, self.device, self.depth = heads, options.device, max(heads)
        shapes = config.shapes()
        unused = tuple(f"model.layers.{layer}." for layer in range(self.depth, config.num_hidden_layers))
        self.weights: Mapping[str, Any] = read_weights(
            source,
            shapes,
            dtype=options.dtype,
            device=options.device,
            # Old checkpoints store the rotary frequencies, which are computed here.
            ignorable=r".*rotary_emb\.inv_freq",
            needed=[name for name in shapes if not (unused and name.startswith(unused))],
        )

    def margins(self, inputs: Sequence[AbInput]) -> NDArray[np.float32]:
        """The logits at each input's last token, shape (layers, inputs), in float32."""
        import torch

        width = max(len(entry.ids) for entry in inputs)
        with torch.inference_mode():
            rows = [[*entry.ids, *[0] * (width - len(entry.ids))] for entry in inputs]
            bounds = [(entry.start, entry.stop, len(entry.ids)) for entry in inputs]
            spans = Spans(*torch.tensor(bounds, device=self.device).unbind(1))
            states = self.last_states(torch.tensor(rows, device=self.device), spans)
            heads = torch.cat([self.weights[f"lm_head.{head}.linear_head.weight"] for head in self.heads.values()])
            logits = torch.einsum("lbh,lh->lb", states.float(), heads.float())
            if self.softcap is not None:
                logits = torch.tanh(logits / self.softcap) * self.softcap
            found: NDArray[np.float32] = logits.cpu().numpy()
        return found

    def last_states(self, ids: Any, spans: Spans) -> Any:
        """norm(hidden after k blocks) at each row's last token, for each layer k: (layers, rows, hidden)."""
        raise NotImplementedError

    def linear(self, inputs: Any, name: str) -> Any:
        import torch.nn.functional as F  # noqa: N812

        return F.linear(inputs, self.weights[f"{name}.weight"])


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


def rotary(tokens: int, size: int, theta: float, device: Any) -> tuple[Any, Any]:
    """Cosines and sines of shape (tokens, size) in float32, both halves alike (Su et al., arXiv 2104.09864)."""
    import torch

    powers = torch.arange(0, size, 2, dtype=torch.float32, device=device) / size
    angles = torch.outer(torch.arange(tokens, dtype=torch.float32, device=device), 1.0 / theta**powers)
    both = torch.cat((angles, angles), -1)
    return both.cos(), both.sin()


def rotate(heads: Any, turn: tuple[Any, Any]) -> Any:
    """Queries or keys, shape (batch, heads, tokens, size), turned by their positions; computed in float32."""
    import torch

    cos, sin = turn
    single = heads.float()
    front, back = single.chunk(2, -1)
    return (single * cos + torch.cat((-back, front), -1) * sin).to(heads.dtype)


def split_heads(states: Any, heads: int, groups: int = 1) -> Any:
    """(batch, tokens, heads·size) → (batch, heads·groups, tokens, size), each head repeated `groups` times."""
    parts = states.unflatten(-1, (heads, -1)).transpose(1, 2)
    return parts.repeat_interleave(groups, 1) if groups > 1 else parts
