"""Sequence classifiers: monoBERT, MiniLM, mxbai v1, jina v2, gte and most rerankers on the hub.

A pair goes in as `[CLS] query [SEP] document [SEP]` (or as the model's tokenizer joins pairs), the
longer side cut first; the score is the raw logit, as sentence-transformers' CrossEncoder computes
it. With several labels it is the log-odds of the one that means relevant (see `labels`), whose sigmoid
is its softmax. `template` says how query and document become the model's input: as such a pair, by the
chat template in the model's files, or as RankLLaMA reads them. Where modules.json puts modules of its
own behind the transformer (Pooling, Dense, LayerNorm), they give the score in the place of its head.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ...engine.fast import knows_t5, note_of
from ...engine.options import Options
from ...errors import HarnessError
from ...models.cross_encoder import CrossEncoderLayout, read_layout
from ...models.exact_head import head_settings
from ...models.ids.company import padding_setting
from ...models.ids.token_types import types_setting
from ...models.running import numeric_settings
from ...models.settings import Reader, one_of, read_settings, whole_number, yes_or_no
from ...models.source import ModelSource
from ...models.tokenization import lower_case, token_limit
from ...text import JOIN_RULE
from ..activations import IDENTITY, read_activation
from ..base import Basis, Reranker, RerankerSpec
from ..prompts.chat import SAVED
from ..prompts.saved_form import PAIR, SavedForm, saved_form
from ..prompts.template import Labels as NoWords
from .labels import Labels, read_labels
from .pair_classifier import PairClassifier
from .single_string import SingleStringClassifier

__all__ = ["FAMILY", "open_family"]

FAMILY = "sequence-classification"
VERSION = 1
_PREFIXES = {"rankllama": ("", ""), "rankllama-pair": ("query: ", "document: ")}
"""What stands before query and document where the tokenizer joins them; `rankllama-pair` is how the
cards of the first RankLLaMA models call it."""
_FIRST_TOKEN = frozenset(
    {"albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "eurobert", "longformer"}
    | {"modernbert", "mpnet", "new", "roberta", "xlm-roberta"}
)
"""Kinds of encoders whose head does not look for the last token: the padding id never moved their scores."""
_LLAMA_LENGTH = 512
"""Tevatron's own limit; the models have positions for far more than they were trained on."""
_READERS: dict[str, Reader] = {
    "label": str,
    "max_length": whole_number,
    "normalize": yes_or_no,
    "prompt": str,
    "template": one_of(PAIR, SAVED, *_PREFIXES),
    "truncation": one_of("published", "document"),
}
_NO_WORDS = NoWords("id", 0, None)
"""A classifier scores no word of its prompt."""


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a `…ForSequenceClassification` model, or of a transformer with modules of its own behind it.

    Settings: label (of several, the one that is scored: a number from 0 or a name; without it as
    `read_labels` finds it), max_length, normalize (the sigmoid; without it what the files say), template
    (pair; saved: the chat template in the files, the default where they make inputs with it; rankllama:
    one string that ends in the end-of-sequence token, see `single_string`; rankllama-pair: the
    tokenizer's pair of `query: …` and `document: …`), prompt (a saved prompt by name, or none), truncation
    (of a chat template: `document` cuts nothing else). Raises HarnessError for labels that do not say
    which one means relevant, a max_length the model has no positions for, and what the files ask for and
    nothing here can do.
    """
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, _READERS)
    layout = read_layout(source)
    if layout is None or chosen.get("template") in _PREFIXES:
        return [_open_bare(source, options, chosen)]
    form = saved_form(source, layout, _NO_WORDS, "logit", chosen)
    labels = _labels(source, layout, chosen.get("label"))
    activation = read_activation(layout.activation, chosen, source.name)

    def load() -> PairClassifier:
        model = PairClassifier(source, options, form.rule.max_length, labels, (form.pair_prefix, ""))
        model.form, model.chain, model.activation = form, layout.chain, activation
        if layout.lower_case:
            lower_case(model.tokenizer.backend)
        return model

    rule = "sentence-transformers/modules" if layout.chain else f"{FAMILY}/{form.settings['template']}"
    basis = Basis(prompt=form.shown, activation=activation.name, rule=rule)
    settings = _settings(source, options, labels, form.rule.max_length, chain=bool(layout.chain)) | form.settings
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))
    packs = bool(layout.chain) and knows_t5(source.config, options.dtype)
    return [Reranker(spec, load, _note(source, labels, form, known=packs or None), basis=basis)]


def _open_bare(source: ModelSource, options: Options, chosen: dict[str, Any]) -> Reranker:
    """The reranker whose input no file of its own describes."""
    template = str(chosen.get("template", PAIR))
    if template == SAVED or "prompt" in chosen or "truncation" in chosen:
        raise HarnessError(
            f"{source.name} with template={template} has neither a chat template nor saved prompts to set"
        )
    labels = read_labels(source, chosen.get("label"))
    limit = token_limit(source.config, source.tokenizer_config)
    usual = limit or 512
    max_length: int = chosen.get("max_length", usual if template == PAIR else min(usual, _LLAMA_LENGTH))
    if limit is not None and max_length > limit:
        raise HarnessError(f"{source.name} takes at most {limit} tokens; max_length={max_length} is more")
    truncation = "right" if template == "rankllama" else "longest_first"
    activation = IDENTITY if template == "rankllama" else read_activation(None, chosen, source.name)

    def load() -> PairClassifier:
        if template == "rankllama":
            return SingleStringClassifier(source, options, max_length, labels)
        model = PairClassifier(source, options, max_length, labels, _PREFIXES.get(template, ("", "")))
        model.activation = activation
        return model

    settings = _settings(source, options, labels, max_length) | {"template": template, "truncation": truncation}
    basis = Basis(prompt=f"the template {template}", activation=activation.name, rule=f"{FAMILY}/{template}")
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))
    return Reranker(spec, load, _note(source, labels, None), basis=basis)


def _settings(
    source: ModelSource, options: Options, labels: Labels, max_length: int, *, chain: bool = False
) -> dict[str, object]:
    first = chain or source.config.get("model_type") in _FIRST_TOKEN
    return {
        **numeric_settings(source, options),
        "join": JOIN_RULE,
        "labels": labels.count,
        "max_length": max_length,
        "version": VERSION,
        **labels.setting,
        **types_setting(source),
        **padding_setting(source.config),
        **({} if first else {"pooled": "last token, never by its id"}),
        **({} if chain else head_settings(options.dtype)),
    }


def _labels(source: ModelSource, layout: CrossEncoderLayout, asked: str | None) -> Labels:
    """The labels of a chain are those of its last Dense; config.json names them where it has as many."""
    if layout.labels is None:
        return read_labels(source, asked)
    config = {**source.config, "num_labels": layout.labels}
    if len(config.get("id2label") or {}) != layout.labels:
        config["id2label"] = {}
    return read_labels(replace(source, small={**source.small, "config.json": config}), asked)


def _note(source: ModelSource, labels: Labels, form: SavedForm | None, *, known: bool | None = None) -> str | None:
    """`known` is true of what its config.json alone would not tell: an encoder that is run without its decoder."""
    notes = [note_of(source.config, source.note, known=known), labels.note, form.note if form is not None else None]
    return "; ".join(note for note in notes if note) or None
