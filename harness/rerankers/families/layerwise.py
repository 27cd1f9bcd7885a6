"""BGE's layerwise reranker: bge-reranker-v2-minicpm-layerwise, scored at any layer that has a head.

`cutoff_layers=8,16,24` gives one reranker for each layer; compute stops at the largest. Source:
FlagEmbedding 1.3.5, `LayerWiseFlagLLMReranker`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...engine.options import Options
from ...models.settings import Reader, at_least, one_of, read_settings, yes_or_no
from ...models.source import ModelSource
from ...text import JOIN_RULE
from ..base import Reranker, RerankerSpec
from ..prompts.ab_prompt import SHORTEST, AbRule
from .layers import choose_layers, layer_numbers, open_layers
from .minicpm import MiniCPM, MiniCPMConfig

__all__ = ["FAMILY", "open_family"]

FAMILY = "layerwise"
VERSION = 1
PROMPT = (
    "Given a query A and a passage B, determine whether the passage contains an answer to the query "
    "by providing a prediction of either 'Yes' or 'No'."
)
_READERS: dict[str, Reader] = {
    "cutoff_layers": layer_numbers,
    "max_length": at_least(SHORTEST),
    "normalize": yes_or_no,
    "prompt": str,
    "rule": one_of("card", "class"),
}


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """One reranker for each of cutoff_layers (the last layer where none is asked for).

    Settings: cutoff_layers, max_length, rule (card or class, see `ab_prompt.AbRule`), normalize
    (sigmoid). Raises HarnessError for a layer without a head, or a MiniCPM of another build.
    """
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, _READERS)
    config = MiniCPMConfig.read(source)
    layers = choose_layers(chosen.get("cutoff_layers"), config.layers, source.name)
    rule = AbRule.read(chosen, PROMPT)
    normalize = chosen.get("normalize", False)
    settings = {**rule.settings, **options.precision, "join": JOIN_RULE, "normalize": normalize, "version": VERSION}
    specs = [
        RerankerSpec(
            f"{source.name}[layer {layer}]" if "cutoff_layers" in chosen else source.name,
            FAMILY,
            source.revision,
            tuple(sorted({**settings, "cutoff_layer": layer}.items())),
        )
        for layer in layers
    ]
    return open_layers(source, rule, specs, lambda: MiniCPM(source, config, layers, options), normalize=normalize)
