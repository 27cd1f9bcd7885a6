"""Sequence classifiers: monoBERT, MiniLM, mxbai v1, jina v2, gte and most rerankers on the hub.

A pair goes in as `[CLS] query [SEP] document [SEP]` (or as the model's tokenizer joins pairs), the
longer side cut first; the score is the raw logit, as sentence-transformers' CrossEncoder computes
it. With several labels it is the log-odds of the one that means relevant (see `labels`), whose sigmoid
is its softmax. `template` says how query and document become the model's input: as such a pair, or as
RankLLaMA reads them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...engine.fast import note_of
from ...engine.options import Options
from ...errors import HarnessError
from ...models.settings import Reader, one_of, read_settings, whole_number, yes_or_no
from ...models.source import ModelSource
from ...models.tokenization import token_limit
from ...text import JOIN_RULE
from ..base import Reranker, RerankerSpec
from .labels import read_labels
from .pair_classifier import PairClassifier
from .single_string import SingleStringClassifier

__all__ = ["FAMILY", "open_family"]

FAMILY = "sequence-classification"
VERSION = 1
_PREFIXES = {"pair": ("", ""), "rankllama-pair": ("query: ", "document: ")}
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
    "template": one_of(*_PREFIXES, "rankllama"),
}


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a `…ForSequenceClassification` model.

    Settings: label (of several, the one that is scored: a number from 0 or a name; without it as `read_labels` finds it),
    max_length, normalize (sigmoid; without it the model's own choice, see `_normalizes`), template (pair; rankllama: one string that ends in the end-of-sequence
    token, see `single_string`; rankllama-pair: the tokenizer's pair of `query: …` and `document: …`).
    Raises HarnessError for labels that do not say which one means relevant, or a max_length the model has no positions for.
    """
    limit = token_limit(source.config, source.tokenizer_config)
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, _READERS)
    template: str = chosen.get("template", "pair")
    labels = read_labels(source, chosen.get("label"))
    usual = limit or 512
    max_length: int = chosen.get("max_length", usual if template == "pair" else min(usual, _LLAMA_LENGTH))
    if limit is not None and max_length > limit:
        raise HarnessError(f"{source.name} takes at most {limit} tokens; max_length={max_length} is more")
    settings = {
        "dtype": options.dtype,
        "join": JOIN_RULE,
        "labels": labels.count,
        "max_length": max_length,
        "template": template,
        "truncation": "right" if template == "rankllama" else "longest_first",
        "version": VERSION,
        **labels.setting,
        **({} if source.config.get("model_type") in _FIRST_TOKEN else {"pooled": "last token, never by its id"}),
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))

    def load() -> PairClassifier:
        if template == "rankllama":
            return SingleStringClassifier(source, options, max_length, labels)
        model = PairClassifier(source, options, max_length, labels, _PREFIXES[template])
        model.normalize = chosen.get("normalize", _normalizes(source))
        return model

    notes = [note_of(source.config, source.note), labels.note]
    return [Reranker(spec, load, "; ".join(note for note in notes if note) or None)]


def _normalizes(source: ModelSource) -> bool:
    """Whether the published score is the sigmoid: sentence-transformers' default, unless config.json says otherwise."""
    stated = (source.config.get("sentence_transformers") or {}).get("activation_fn")
    stated = stated or source.config.get("sbert_ce_default_activation_function") or "Sigmoid"
    return not str(stated).endswith("Identity")
