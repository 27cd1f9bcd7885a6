"""Rerankers in sentence-transformers' layout: ids and scores are those of its CrossEncoder on the same folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exactness import beside
from golden_cases import opened, score
from saved_rerankers import (
    CHAINS,
    CONTEXTUAL,
    LONG,
    PAIRS,
    QWEN,
    ROLES,
    STRUCTURED,
    TEMPLATES,
    ZERANK,
    chains,
    decoder,
    edited,
    ids_of,
    logit_scored,
    oracle,
    save,
)  # fmt: skip
from tiny_models import bert
from tiny_t5 import write_t5

from harness.engine.fast.t5 import PackedT5
from harness.errors import HarnessError


def check(folder: Path, cache: Path, pairs: list = PAIRS, instruction: str = "", prompt: str | None = None, **settings):
    """Ours beside the oracle's, ids exactly and scores to the rounding of float32; returns our reranker."""
    import torch

    (reranker,) = opened(folder, cache, **settings)
    encoder = oracle(folder)
    if "max_length" in settings:
        encoder.max_seq_length = settings["max_length"]
    found = score(reranker, pairs, instruction)
    assert found.ids == ids_of(encoder, pairs, prompt)
    raw = encoder.predict(pairs, prompt=prompt, batch_size=2, activation_fn=torch.nn.Identity())
    yard = beside(raw, pairs, folder, cache, of_queries=instruction, **settings)
    yard.check(found.margins)
    published = yard.through(found.model.activate)
    published.check(found.published)
    published.check(encoder.predict(pairs, prompt=prompt, batch_size=2))
    return reranker


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_causal_model_with_logit_score_scores_as_cross_encoder(tmp_path: Path, name: str):
    rendered = {"chat_template": {"add_generation_prompt": True}}
    folder = logit_scored(tmp_path, TEMPLATES[name], processing_kwargs=rendered)
    reranker = check(folder, tmp_path, PAIRS + LONG)
    assert reranker.spec.family == "causal"
    # What is cut keeps the ids that every prompt ends with.
    cut = check(folder, tmp_path, PAIRS + LONG, family="causal", max_length=96)
    found = score(cut, LONG)
    assert (found.prepared.lost > 0).all()
    assert set(found.prepared.lengths) == {96}


def test_a_word_alone_is_scored_by_its_bare_logit(tmp_path: Path):
    check(logit_scored(tmp_path, QWEN, 5, None), tmp_path)


def test_an_instruction_stands_where_the_system_message_does(tmp_path: Path):
    folder = logit_scored(tmp_path, QWEN)
    check(folder, tmp_path, instruction="Find the river.", prompt="Find the river.")


def test_a_query_whose_template_has_no_place_for_an_instruction_is_joined_with_it(tmp_path: Path):
    (reranker,) = opened(logit_scored(tmp_path, CONTEXTUAL), tmp_path)
    joined = [(f"{query} Find the river.".strip(), document) for query, document in PAIRS]
    assert score(reranker, PAIRS, "Find the river.").ids == score(reranker, joined).ids


@pytest.mark.parametrize(
    ("name", "saved"), [("qwen", True), ("zerank", False), ("contextual", False), ("structured", True)]
)
def test_a_classifier_that_needs_its_prompt_gets_it(tmp_path: Path, name: str, saved: bool):
    folder = decoder(tmp_path / "plain", TEMPLATES[name], kind="ForSequenceClassification")
    if saved:
        folder = save(folder, tmp_path / "model", "sequence-classification")
    reranker = check(folder, tmp_path, PAIRS + LONG, max_length=96)
    assert reranker.spec.family == "sequence-classification"


def test_saved_prompts_are_used_as_the_files_say(tmp_path: Path):
    plain = decoder(tmp_path / "plain", QWEN, kind="ForSequenceClassification")
    prompts = {"web": "Find the river.", "other": "Find the boat."}
    folder = save(plain, tmp_path / "model", "sequence-classification", prompts=prompts, default_prompt_name="web")
    check(folder, tmp_path)
    (other,) = opened(folder, tmp_path, prompt="other")
    assert score(other, PAIRS).ids == ids_of(oracle(folder), PAIRS, "Find the boat.")
    (none,) = opened(folder, tmp_path, prompt="none")
    assert score(none, PAIRS).ids == ids_of(oracle(folder), PAIRS, "")
    assert len({reranker.spec.fingerprint for reranker in (other, none, *opened(folder, tmp_path))}) == 3
    with pytest.raises(HarnessError, match=r'no prompt "wbe"; it has: other, web, none\. Did you mean "web"'):
        opened(folder, tmp_path, prompt="wbe")


def test_a_saved_prompt_stands_before_the_query_of_a_pair(tmp_path: Path):
    folder = save(classifier(tmp_path), tmp_path / "model", "sequence-classification", prompts={"q": "query: "})
    check(folder, tmp_path)
    check(edited(folder, "config_sentence_transformers.json", default_prompt_name="q"), tmp_path)


@pytest.mark.parametrize("name", ["zerank", "structured"])
def test_a_prompt_without_a_place_is_as_unused_as_by_the_library(tmp_path: Path, name: str):
    plain = decoder(tmp_path / "plain", TEMPLATES[name], kind="ForSequenceClassification")
    stated: dict[str, Any] = {"prompts": {"web": "Find the river."}, "default_prompt_name": "web"}
    reranker = check(save(plain, tmp_path / "model", "sequence-classification", **stated), tmp_path)
    assert ("no place" in (reranker.note or "")) == (name == "zerank")


def classifier(tmp: Path) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    bert(tmp / "bert")
    torch.manual_seed(4)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = BertConfig(vocab_size=300, **shape, initializer_range=0.3, num_labels=1)
    BertForSequenceClassification(config).save_pretrained(tmp / "bert")
    return tmp / "bert"


@pytest.mark.parametrize("activation", ["Identity", "Sigmoid", "Tanh", "Softplus", "LogSigmoid"])
def test_the_published_activation_is_the_saved_one(tmp_path: Path, activation: str):
    import torch

    saved = getattr(torch.nn, activation)()
    folder = save(classifier(tmp_path), tmp_path / "model", "sequence-classification", activation_fn=saved)
    check(folder, tmp_path)
    found = score(opened(folder, tmp_path)[0], PAIRS)
    assert (activation == "Identity") == (found.published == found.margins).all()


@pytest.mark.parametrize(
    "stated",
    [
        {"sbert_ce_default_activation_function": "torch.nn.modules.linear.Identity"},
        {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}},
        {},
    ],
    ids=["before 4", "before 5.4", "none"],
)
def test_the_activation_of_older_files_stands_in_config_json(tmp_path: Path, stated: dict):
    folder = save(classifier(tmp_path), tmp_path / "model", "sequence-classification")
    for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"):
        (folder / name).unlink()
    edited(folder, "config.json", **{"sentence_transformers": None, **stated})
    check(folder, tmp_path)
    found = score(opened(folder, tmp_path)[0], PAIRS)
    assert bool(stated) == (found.published == found.margins).all()


def test_an_activation_that_is_not_known_is_refused_by_name(tmp_path: Path):
    folder = save(classifier(tmp_path), tmp_path / "model", "sequence-classification")
    edited(folder, "config_sentence_transformers.json", activation_fn="zerank.ScaledSigmoid")
    with pytest.raises(HarnessError, match=r"zerank\.ScaledSigmoid.*--set normalize=true"):
        opened(folder, tmp_path)
    assert score(opened(folder, tmp_path, normalize=False)[0], PAIRS).published.dtype == np.float32


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_of_modules_behind_a_transformer_scores_as_cross_encoder(tmp_path: Path, name: str):
    assert set(chains()) == set(CHAINS)
    bert(tmp_path / "plain")
    folder = save(tmp_path / "plain", tmp_path / "model", "feature-extraction", chains()[name]())
    reranker = check(folder, tmp_path)
    assert reranker.spec.family == "sequence-classification"


def test_a_chain_behind_the_encoder_of_a_t5_scores_as_cross_encoder(tmp_path: Path):
    folder = save(write_t5(tmp_path / "plain"), tmp_path / "model", "feature-extraction", chains()["mean"]())
    reranker = check(folder, tmp_path)
    assert reranker.note is None
    assert isinstance(score(reranker, PAIRS).model.model.packed, PackedT5)


@pytest.mark.parametrize("name", ["last", "mean"])
def test_a_chain_behind_a_decoder_with_a_chat_template_scores_as_cross_encoder(tmp_path: Path, name: str):
    plain = decoder(tmp_path / "plain", ZERANK, kind="Model")
    folder = save(plain, tmp_path / "model", "feature-extraction", chains()[name]())
    check(folder, tmp_path, PAIRS + LONG)


def test_a_causal_model_without_a_chat_template_gets_the_pair_of_its_tokenizer(tmp_path: Path):
    folder = logit_scored(tmp_path, None)
    check(folder, tmp_path, PAIRS + LONG)
    check(folder, tmp_path, PAIRS + LONG, max_length=20)


def test_a_causal_model_without_modules_takes_its_chat_template_where_it_is_asked_to(tmp_path: Path):
    folder = decoder(tmp_path / "plain", QWEN)
    check(folder, tmp_path, template="saved")
    with pytest.raises(HarnessError, match="its own chat template, with the words yes and no, is --set template=saved"):
        opened(folder, tmp_path)


@pytest.mark.parametrize("template", [QWEN, None], ids=["chat template", "pair"])
def test_the_side_that_the_tokenizer_cuts_is_the_one_its_files_say(tmp_path: Path, template: str | None):
    plain = decoder(tmp_path / "plain", template, kind="ForSequenceClassification", truncation_side="left")
    check(plain, tmp_path, PAIRS + LONG, max_length=96)


def test_the_length_in_the_layout_goes_before_the_tokenizers(tmp_path: Path):
    folder = logit_scored(tmp_path, QWEN)
    edited(folder, "sentence_bert_config.json", max_seq_length=96)
    (reranker,) = opened(folder, tmp_path)
    assert dict(reranker.spec.settings)["max_length"] == 96
    assert score(reranker, LONG).ids == ids_of(oracle(folder), LONG)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        (
            "{{ messages[0].content }} {{ messages[1].content }} {{ messages[0].content }}",
            "the query stands in it 2 times",
        ),
        (ROLES + "{{ query | upper }} {{ document }}", "the query does not reach the input"),
        (ROLES + "{{ query | replace('{', '(') }} {{ document }}", "cannot be split"),
        (ROLES + "{{ query }} {{ document[:200] }}", "cannot be split"),
        (ROLES + "{{ query }} {{ document }} {{ strftime_now('%Y') }}", "from day to day"),
        (ROLES + "{{ query }}", "the document does not reach the input"),
        (ROLES + "{{ query }} {{ document", "is damaged"),
    ],
)
def test_a_chat_template_that_is_no_wording_with_places_is_refused(tmp_path: Path, template: str, why: str):
    folder = edited(logit_scored(tmp_path, QWEN), "sentence_bert_config.json")
    (folder / "chat_template.jinja").write_text(template)
    with pytest.raises(HarnessError, match=why):
        opened(folder, tmp_path)


def test_modules_and_settings_that_are_not_known_are_refused_by_name(tmp_path: Path):
    folder = logit_scored(tmp_path, QWEN)
    edited(folder, "sentence_bert_config.json", processing_kwargs={"text": {"truncation": "only_second"}})
    with pytest.raises(HarnessError, match="truncation=only_second"):
        opened(folder, tmp_path)
    edited(folder, "sentence_bert_config.json", processing_kwargs=None, config_kwargs={"is_causal": False})
    with pytest.raises(HarnessError, match="is_causal"):
        opened(folder, tmp_path)
    modules = (folder / "modules.json").read_text()
    (folder / "modules.json").write_text(modules.replace("cross_encoder.modules.logit_score.LogitScore", "models.LSTM"))
    with pytest.raises(HarnessError, match=r"sentence_transformers\.models\.LSTM.*plug-in"):
        opened(folder, tmp_path)


def test_a_chat_template_that_the_layout_leaves_out_is_asked_about(tmp_path: Path):
    plain = decoder(tmp_path / "plain", QWEN, kind="ForSequenceClassification")
    folder = save(plain, tmp_path / "model", "sequence-classification")
    edited(folder, "sentence_bert_config.json", modality_config=None, module_output_name=None)
    with pytest.raises(HarnessError, match="--set template=saved to use it, or --set template=pair to leave it out"):
        opened(folder, tmp_path)
    pair = opened(folder, tmp_path, template="pair")[0]
    assert score(pair, PAIRS).ids == ids_of(oracle(folder), PAIRS)
    (saved,) = opened(folder, tmp_path, template="saved")
    assert score(saved, PAIRS).ids == ids_of(oracle(plain), PAIRS)


def test_a_token_outside_the_vocabulary_is_refused(tmp_path: Path):
    folder = edited(logit_scored(tmp_path, QWEN), "1_LogitScore/config.json", true_token_id=99_999)
    with pytest.raises(HarnessError, match="the token 99999, which its vocabulary does not hold"):
        opened(folder, tmp_path)[0].load()


def test_a_chat_template_in_tokenizer_config_is_read_as_well(tmp_path: Path):
    plain = decoder(tmp_path / "plain", None, kind="ForSequenceClassification")
    edited(plain, "tokenizer_config.json", chat_template=QWEN)
    (reranker,) = opened(plain, tmp_path)
    assert dict(reranker.spec.settings)["template"] == "saved"
    assert score(reranker, PAIRS).ids == ids_of(oracle(plain), PAIRS)


def test_several_chat_templates_by_name_are_rendered_as_the_library_does_or_refused(tmp_path: Path):
    named = [{"name": "tool_use", "template": "{{ messages }}"}, {"name": "default", "template": STRUCTURED}]
    plain = decoder(tmp_path / "plain", None, kind="ForSequenceClassification")
    edited(plain, "tokenizer_config.json", chat_template=named)
    (reranker,) = opened(plain, tmp_path)
    assert score(reranker, PAIRS).ids == ids_of(oracle(plain), PAIRS)
    edited(plain, "tokenizer_config.json", chat_template=[named[0], {"name": "default", "template": QWEN}])
    with pytest.raises(HarnessError, match="cannot be split"):
        opened(plain, tmp_path)


@pytest.mark.parametrize("task", ["text-generation", "sequence-classification"])
def test_prompts_of_a_saved_chat_template_are_shared_and_packed(tmp_path: Path, task: str):
    import torch

    from harness.engine.fast.decoder import PackedLastToken
    from harness.types import DocumentText, QueryText

    causal = task == "text-generation"
    plain = decoder(tmp_path / "plain", QWEN, kind="ForCausalLM" if causal else "ForSequenceClassification")
    (reranker,) = opened(plain, tmp_path, **({"template": "saved"} if causal else {}))
    model = reranker.load()
    assert isinstance(model.model, PackedLastToken)
    texts = [DocumentText("", document) for _, document in PAIRS]
    rows = np.array([[query, document] for query in range(2) for document in range(len(texts))])
    prepared = model.prepare([QueryText("how warm is water"), QueryText("where")], texts, rows)
    assert (prepared.sharing.shared > 40).all()
    found = prepared.score(np.arange(len(rows)))
    encoder = oracle(plain)
    asked = [(("how warm is water", "where")[query], texts[document].text) for query, document in rows]
    raw = encoder.predict(asked, activation_fn=torch.nn.Identity())
    yard = beside(raw, asked, plain, tmp_path, **({"template": "saved"} if causal else {}))
    yard.check(found)
    yard.through(model.activate).check(encoder.predict(asked))


def test_a_generic_chat_template_without_places_leaves_the_pair_to_the_tokenizer(tmp_path: Path):
    chat = "{% for message in messages %}{% if message.role == 'user' %}{{ message.content }}{% endif %}{% endfor %}"
    plain = decoder(tmp_path / "plain", chat, kind="ForSequenceClassification")
    (reranker,) = opened(plain, tmp_path)
    assert dict(reranker.spec.settings)["template"] == "pair"
    with pytest.raises(HarnessError, match=r"has no place for a query and a document.*--set template=pair"):
        opened(plain, tmp_path, template="saved")
