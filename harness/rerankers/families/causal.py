"""Causal language models as rerankers: the logit of a word after a prompt, the prompt a template.

FollowIR, Self-RAG, bge-reranker-v2-gemma, Qwen3-Reranker, mxbai v2, any model whose files hold its
chat template and labels (`saved_form.py`), and any with a template of the user's. The margin is
logit(positive) − logit(negative), whose sigmoid is the softmax over the two labels, or one raw logit,
always at the last token and in float32. See `template.py`. Self-RAG's full score (`selfrag.py`) reads the model's answer too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...engine.fast import note_of
from ...engine.options import Options
from ...errors import HarnessError
from ...models.cross_encoder import CrossEncoderLayout, assumed_causal, read_layout, saved_chat_template
from ...models.running import numeric_settings
from ...models.settings import Reader, one_of, read_settings, whole_number, yes_or_no
from ...models.source import ModelSource
from ...text import JOIN_RULE
from ..activations import read_activation
from ..base import Basis, Reranker, RerankerSpec
from ..prompts.chat import SAVED
from ..prompts.saved_form import PAIR, saved_form
from ..prompts.template import Labels, Rule, Template, read_template, template_names
from . import selfrag
from .causal_model import CausalModel, Scoring, positions_for

__all__ = ["FAMILY", "open_family"]

FAMILY = "causal"
VERSION = 1
_HOLDS_ONE = f"; its own chat template, with the words yes and no, is --set template={SAVED}"


def open_family(source: ModelSource, options: Options, cache: Path) -> list[Reranker]:
    """The reranker of a `…ForCausalLM` model and a template.

    Settings: template (a packed name, the path of a YAML file, or `saved`, the chat template in the
    model's files, which is taken where they say how it is scored), rule (one of the template's),
    max_length, truncation (`published`, the rule's own; `document`, which cuts the document so that
    the prompt's end stays), backend (`transformers`; `vllm`, see `vllm_backend.py`), score
    (`template`; `full` with weights, seqscore and max_new_tokens, see `selfrag.py`), max_new_tokens
    of a template that lets the model think (see `reasoning.py`). Raises
    HarnessError where no template is chosen, max_length is more than the model has positions for,
    or settings exclude one another.
    """
    if not source.architecture.endswith("ForCausalLM"):
        what = source.architecture or "no named architecture"
        raise HarnessError(
            f"{source.name} ({what}) is no causal language model: the family {FAMILY} needs a head over words"
        )
    layout = _saved_layout(source, options)
    if layout is not None:
        return [_open_saved(source, options, layout)]
    template = read_template(_chosen_template(source, options))
    readers: dict[str, Reader] = {
        "template": str,
        "rule": one_of(*template.rules),
        "max_length": whole_number,
        "truncation": one_of("published", "document"),
        "backend": one_of("transformers", "vllm"),
        **selfrag.READERS,
    }
    chosen = read_settings(FAMILY, options.settings, readers)
    scoring = _scoring(source, template, chosen)
    rule_name = str(chosen.get("rule", next(iter(template.rules))))
    rule = _rule(source, template.rules[rule_name], scoring.answer, chosen)
    settings = {
        **numeric_settings(source, options),
        "join": JOIN_RULE,
        "max_length": rule.max_length,
        "rule": rule_name,
        "template": template.name,
        "template_digest": template.digest,
        "truncation": chosen.get("truncation", "published"),
        "version": VERSION,
        **scoring.settings,
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))
    note = source.note if scoring.vllm else note_of(source.config, source.note, known=scoring.packs(source))
    published = {"softmax": "P(positive) of the two labels"}.get(template.score, "none: the margin itself")
    basis = Basis(prompt=f"the template {template.name}", activation=published, rule=f"{FAMILY}/{template.name}")
    return [
        Reranker(
            spec,
            lambda: CausalModel(source, options, template, rule, scoring),
            note,
            basis=basis,
            one_load=scoring.vllm,
        )
    ]


def _saved_layout(source: ModelSource, options: Options) -> CrossEncoderLayout | None:
    """What the files say of input and score, where no template is chosen in their place."""
    chosen = dict(options.settings).get("template", SAVED)
    layout = read_layout(source) if chosen in (SAVED, PAIR) else None
    if layout is not None and layout.logit is not None:
        return layout
    text = saved_chat_template(source)
    if dict(options.settings).get("template") == SAVED and text is not None:
        return assumed_causal(source, text)
    return None


def _open_saved(source: ModelSource, options: Options, layout: CrossEncoderLayout) -> Reranker:
    """The reranker whose input and labels are those of its files; without LogitScore the words are yes and no."""
    readers: dict[str, Reader] = {
        "template": one_of(SAVED, PAIR),
        "prompt": str,
        "max_length": whole_number,
        "truncation": one_of("published", "document"),
        "backend": one_of("transformers", "vllm"),
        "normalize": yes_or_no,
    }
    chosen = read_settings(FAMILY, options.settings, readers)
    words = layout.logit
    labels = Labels("piece", "yes", "no") if words is None else Labels("id", words.true, words.false)
    score = "logit" if labels.negative is None else "difference"
    form = saved_form(source, layout, labels, score, chosen)
    template = form.template or Template(PAIR, "", "none", (), {}, labels, score)
    activation = read_activation(layout.activation, chosen, source.name)
    scoring = replace(_scoring(source, template, chosen), form=form, activation=activation)
    positions_for(source, scoring.answer)
    settings = {
        **numeric_settings(source, options),
        "join": JOIN_RULE,
        "labels": [labels.positive, labels.negative],
        "max_length": form.rule.max_length,
        "version": VERSION,
        **form.settings,
        **scoring.settings,
    }
    spec = RerankerSpec(source.name, FAMILY, source.revision, tuple(sorted(settings.items())))
    note = source.note if scoring.vllm else note_of(source.config, source.note, known=scoring.packs(source))
    basis = Basis(prompt=form.shown, activation=activation.name, rule="sentence-transformers/LogitScore")
    return Reranker(
        spec,
        lambda: CausalModel(source, options, template, form.rule, scoring),
        note,
        basis=basis,
        one_load=scoring.vllm,
    )


def _scoring(source: ModelSource, template: Template, chosen: Mapping[str, object]) -> Scoring:
    writes = template.writes
    if writes:
        writes = replace(writes, max_new_tokens=int(str(chosen.get("max_new_tokens", writes.max_new_tokens))))
        chosen = {key: value for key, value in chosen.items() if key != "max_new_tokens"}
    scoring = Scoring(selfrag.full_score(chosen, template), chosen.get("backend") == "vllm", writes=writes)
    if scoring.vllm and writes:
        raise HarnessError(
            f"the template {template.name} lets the model think, which is done with transformers: leave out backend=vllm"
        )
    if scoring.vllm and scoring.full:
        raise HarnessError("score=full is computed with transformers: leave out backend=vllm")
    if scoring.vllm and template.labels.negative is None:
        raise HarnessError(
            f"the template {template.name} scores one raw logit, and vLLM gives log-probabilities, which do not hold it: "
            f"leave out backend=vllm"
        )
    if scoring.vllm and source.adapter is not None:
        raise HarnessError(
            f"{source.name} is an adapter, which backend=vllm would leave out: merge it into its base first"
        )
    return scoring


def _rule(source: ModelSource, rule: Rule, answer: int, chosen: Mapping[str, object]) -> Rule:
    """The rule with the length and the truncation that were chosen."""
    limit = positions_for(source, answer)
    max_length = int(str(chosen.get("max_length", min(rule.max_length, limit or rule.max_length))))
    if limit is not None and max_length > limit:
        beside = f" beside the {answer} that it writes" if answer else ""
        raise HarnessError(f"{source.name} takes at most {limit} tokens{beside}; max_length={max_length} is more")
    rule = replace(rule, max_length=max_length)
    return replace(rule, cut="document", fixed="counted") if chosen.get("truncation") == "document" else rule


def _chosen_template(source: ModelSource, options: Options) -> str:
    name = dict(options.settings).get("template")
    if name is None:
        raise HarnessError(
            f"{source.name} ({source.architecture}) is a causal language model, and what its prompt is, its files do "
            f"not say: choose a template with --family {FAMILY} --set template=NAME ({', '.join(template_names())}), "
            f"or write one and give its path, --set template=PATH.yaml"
            f"{_HOLDS_ONE if saved_chat_template(source) else ''}"
        )
    return name
