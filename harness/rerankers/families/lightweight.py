"""BGE's lightweight reranker: bge-reranker-v2.5-gemma2-lightweight, cut off at a layer and compressed.

`cutoff_layers=24,28` gives one reranker for each layer. The authors' code takes the head by a
layer's place in the list it is asked for, not by the layer's number: alone, any layer meets the
first head. That is the default, because published scores come from it; `head=layer` takes the
head that belongs to the layer. Source: FlagEmbedding 1.3.5, `LightWeightFlagLLMReranker`, on
transformers 4.44, where attention is not soft-capped; `softcap=true` caps it as Gemma 2 defines.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...engine.options import Options
from ...errors import HarnessError
from ...models.settings import Reader, at_least, one_of, read_settings, whole_number, yes_or_no
from ...models.source import ModelSource
from ...text import JOIN_RULE
from ..base import Reranker, RerankerSpec
from ..prompts.ab_prompt import SHORTEST, AbRule
from .gemma2 import Economy, Gemma2, Gemma2Config
from .layers import choose_layers, layer_numbers, open_layers

__all__ = ["FAMILY", "open_family"]

FAMILY = "lightweight"
VERSION = 1
PROMPT = "Predict whether passage B contains an answer to query A."
COMPRESS_LAYERS = (8,)
"""Where the authors' class compresses unless told otherwise."""
_READERS: dict[str, Reader] = {
    "compress_layers": layer_numbers,
    "compress_ratio": whole_number,
    "cutoff_layers": layer_numbers,
    "head": one_of("position", "layer"),
    "max_length": at_least(SHORTEST),
    "normalize": yes_or_no,
    "prompt": str,
    "rule": one_of("card", "class"),
    "softcap": yes_or_no,
}


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """One reranker for each of cutoff_layers (the last layer where none is asked for).

    Settings: cutoff_layers, head (position or layer), compress_ratio (1: not at all),
    compress_layers, softcap, prompt, max_length, rule (card or class, see `ab_prompt.AbRule`),
    normalize (sigmoid). Raises HarnessError for a layer without a head, a layer that nothing can be
    compressed before, a compression that no layer sees, or a Gemma 2 of another build.
    """
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, _READERS)
    config = Gemma2Config.read(source)
    layers = choose_layers(chosen.get("cutoff_layers"), config.layers, source.name)
    by_layer = chosen.get("head") == "layer"
    heads = {layer: config.layers.index(layer) if by_layer else place for place, layer in enumerate(layers)}
    economy = _economy(chosen, config, layers[-1], source.name)
    rule = AbRule.read(chosen, PROMPT)
    normalize = chosen.get("normalize", False)
    settings = {**rule.settings, **options.precision, "join": JOIN_RULE, "normalize": normalize, "version": VERSION}
    specs = [
        RerankerSpec(
            f"{source.name}[layer {layer}]" if "cutoff_layers" in chosen else source.name,
            FAMILY,
            source.revision,
            tuple(sorted({**settings, **_at(layer, economy), "cutoff_layer": layer, "head": head}.items())),
        )
        for layer, head in heads.items()
    ]

    def load() -> Gemma2:
        return Gemma2(source, config, heads, economy, options)

    shrinks = economy.compress_ratio > 1
    return open_layers(source, rule, specs, load, normalize=normalize, shrinks=shrinks, note=_note(heads, config))


def _economy(chosen: dict[str, Any], config: Gemma2Config, deepest: int, name: str) -> Economy:
    ratio, layers = chosen.get("compress_ratio", 1), chosen.get("compress_layers", COMPRESS_LAYERS)
    last = config.num_hidden_layers - 1
    for layer in chosen.get("compress_layers", ()):
        if not 0 < layer <= last:
            raise HarnessError(f"{name} cannot compress before layer {layer}: compress_layers are from 1 to {last}")
    if ratio > 1 and min(layers) >= deepest:
        raise HarnessError(
            f"compress_ratio={ratio} would change nothing: compress_layers begin at {min(layers)}, and {name} stops "
            f"at layer {deepest}; say --set compress_layers=N with a smaller N"
        )
    return Economy(ratio, layers, chosen.get("softcap", False))


def _at(layer: int, economy: Economy) -> dict[str, object]:
    """What one layer sees of the economy; compression above it moves no score and is left out of its key."""
    seen = [place for place in economy.compress_layers if place < layer] if economy.compress_ratio > 1 else []
    ratio = economy.compress_ratio if seen else 1
    return {"compress_layers": seen, "compress_ratio": ratio, "softcap": economy.softcap}


def _note(heads: dict[int, int], config: Gemma2Config) -> str | None:
    """Which heads are not their layers' own, if any."""
    borrowed = [
        f"layer {layer} is scored with the head of layer {config.layers[head]}"
        for layer, head in heads.items()
        if layer != config.layers[head]
    ]
    if not borrowed:
        return None
    return f"as in the authors' code, {', '.join(borrowed)}; --set head=layer takes a layer's own"
