"""Causal rerankers and their templates, against the authors' own scores and ids."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exactness import Yardstick, both, golden, ours, yardstick
from golden_cases import model_folder, opened

from harness.engine.options import Options
from harness.engine.store import ScoreStore
from harness.errors import HarnessError
from harness.rerankers.base import Reranker
from harness.rerankers.prompts.template import read_template, template_names
from harness.rerankers.rerank import rerank
from harness.rerankers.resolve import known_models
from harness.rerankers.score import margins_of, prepare, score_pairs
from harness.types import Candidates, DocumentText, QueryText

DATA = Path(__file__).resolve().parents[2] / "assets"
SYSTEMS = ("followir", "selfrag", "bge-reranker-gemma", "mxbai-rerank-v2")


def read_golden(path: Path) -> list[tuple]:
    """(name, settings, pairs, scores, token ids or None) of every case."""
    golden = json.loads(path.read_text(encoding="utf-8"))
    found = []
    for case in golden["cases"]:
        instruction = golden["instruction"] if case.get("with_instruction") else ""
        title = case.get("title", "")
        pairs = [(QueryText(query, instruction), DocumentText(title, text)) for query, text in golden["pairs"]]
        settings = {key: case[key] for key in ("rule", "max_length") if key in case}
        found.append((case["name"], settings, pairs, case["scores"], case.get("token_ids")))
    return found


CASES = [
    pytest.param(system, case, id=f"{system}: {case[0]}")
    for system in SYSTEMS
    for case in read_golden(DATA / "goldens" / f"{system}.json")
]
PAIRS = {system: read_golden(DATA / "goldens" / f"{system}.json")[0][2] for system in SYSTEMS}
WORDY = [(QueryText("why is the sky dark"), DocumentText("On stars", "a line of sight would end on a star " * 40))]


def open_causal(cache: Path, system: str, folder: Path | None = None, dtype: str = "float32", **settings):
    (reranker,) = opened(
        folder or model_folder(system), cache, "causal", dtype=dtype, **{"template": system, **settings}
    )
    return reranker


def ids_of(reranker, pairs) -> list[list[int]]:
    prepared = prepare(reranker.load(), pairs)
    ids = [prepared.token_ids(row) for row in range(len(pairs))]
    assert [len(row) for row in ids] == prepared.lengths.tolist()
    return ids


def encoded(system: str, text: str, *, specials: bool = True) -> list[int]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(model_folder(system) / "tokenizer.json"))
    return tokenizer.encode(text, add_special_tokens=specials).ids


def check_golden(cache: Path, system: str, case: tuple, folder: Path | None = None) -> None:
    _, settings, pairs, scores, token_ids = case
    reranker = open_causal(cache, system, folder, **settings)
    how = folder or model_folder(system), cache, "causal"
    yard = golden(scores, lambda wide: score_pairs(wide, pairs, batch_tokens=1), *how, template=system, **settings)
    yard.check(score_pairs(reranker, pairs))
    if token_ids is not None:
        assert ids_of(reranker, pairs) == token_ids


@pytest.mark.parametrize(("system", "case"), CASES)
def test_scores_and_ids_equal_the_authors_own(tmp_path: Path, system: str, case: tuple):
    check_golden(tmp_path, system, case)


@pytest.mark.shared
@pytest.mark.parametrize("system", ["followir", "selfrag", "bge-reranker-gemma"])
def test_scores_and_ids_equal_the_authors_own_on_the_other_texts(tmp_path: Path, shared: Path, system: str):
    for case in read_golden(shared / "goldens" / f"{system}.json"):
        check_golden(tmp_path, system, case, shared / "hub" / "models" / "standin" / system)


def by_itself(cache: Path, system: str, pairs: list, folder: Path | None = None, **settings) -> Yardstick:
    """The yardstick of margins: transformers' own model, each pair alone."""
    plain, wide = (open_causal(cache, system, folder, dtype, **settings) for dtype in ("float32", "float64"))
    for reranker in (plain, wide):
        reranker.load().packs = False
        margins_of(reranker, pairs[:1])  # reads the weights
        assert type(reranker.load().model).__module__.startswith("transformers.models.")

    def alone(reranker: Reranker) -> np.ndarray:
        return np.concatenate([margins_of(reranker, [pair]) for pair in pairs])

    return yardstick(alone(plain), lambda: alone(wide))


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_pair_alone_scores_as_in_a_batch(tmp_path: Path, system: str):
    reranker, pairs = open_causal(tmp_path, system, max_length=500), PAIRS[system]
    by_itself(tmp_path, system, pairs, max_length=500).check(margins_of(reranker, pairs, batch_tokens=100_000))


# --- prompts -------------------------------------------------------------------------------------

QUERY, DOCUMENT = QueryText("a query", "an instruction"), DocumentText("Title", "some text")
QWEN = (
    (
        "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
    ),
    "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
)
PROMPTS = {
    "followir": (
        "<s> [INST] You are an expert Google searcher, whose job is to determine if the following document is relevant "
        "to the query (true/false). Answer using only one word, one of those two choices.\n\nQuery: a query an "
        'instruction\nDocument: Title some text\nRelevant (only output one word, either "true" or "false"): [/INST] '
    ),
    "followir-llama2": (
        "Determine if the following document is relevant to the query (true/false).\n\n"
        "Query: a query an instruction\nDocument: Title some text\nRelevant: "
    ),
    "followir-llama2-chat": (
        "<s>[INST] <<SYS>>\nYou are an expert at finding information. Determine if the following document is relevant "
        "to the query (true/false).\n<</SYS>>Query: a query an instruction\nDocument: Title some text\nRelevant: "
        "[/INST]"
    ),
    "followir-mistral-instruct": (
        "<s>[INST] You are an expert Google searcher, whose job is to determine if the following document is relevant "
        "to the query (true/false).\nQuery: a query an instruction\nDocument: Title some text\n"
        'Relevant (either "true" or "false"): [/INST]'
    ),
    "selfrag": (
        "### Instruction:\na query an instruction\n\n### Response:\n[Retrieval]<paragraph>Title\nsome text</paragraph>"
    ),
    "selfrag-input": (
        "### Instruction:\nan instruction\n\n### Input:\na query\n\n"
        "### Response:\n[Retrieval]<paragraph>Title\nsome text</paragraph>"
    ),
}


@pytest.mark.parametrize("template", PROMPTS)
def test_a_prompt_of_one_string_is_tokenized_whole(tmp_path: Path, template: str):
    system = "selfrag" if template.startswith("selfrag") else "followir"
    (ids,) = ids_of(open_causal(tmp_path, system, template=template), [(QUERY, DOCUMENT)])
    assert ids == encoded(system, PROMPTS[template])
    assert ids[0] == 1


def test_an_input_part_stands_only_where_the_query_has_an_instruction(tmp_path: Path):
    pairs = [(QueryText("a query"), DOCUMENT)]
    plain, with_input = (open_causal(tmp_path, "selfrag", template=name) for name in ("selfrag", "selfrag-input"))
    assert ids_of(plain, pairs) == ids_of(with_input, pairs)


def test_the_parts_of_the_gemma_prompt_are_tokenized_alone(tmp_path: Path):
    (ids,) = ids_of(open_causal(tmp_path, "bge-reranker-gemma"), [(QUERY, DOCUMENT)])
    prompt = (
        "Given a query A and a passage B, determine whether the passage contains an answer to the query by "
        "providing a prediction of either 'Yes' or 'No'."
    )
    parts = ["A: a query an instruction", "\n", "B: Title some text", "\n", prompt]
    assert ids == [2, *(token for part in parts for token in encoded("bge-reranker-gemma", part, specials=False))]


@pytest.mark.parametrize(
    ("instruction", "asked"),
    [
        ("an instruction", "an instruction"),
        ("", "Given a web search query, retrieve relevant passages that answer the query"),
    ],
)
def test_qwen3_instructs_once_by_the_data_or_by_the_card(tmp_path: Path, instruction: str, asked: str):
    reranker = open_causal(tmp_path, "mxbai-rerank-v2", template="qwen3-reranker")
    (ids,) = ids_of(reranker, [(QueryText("a query", instruction), DOCUMENT)])
    body = f"<Instruct>: {asked}\n<Query>: a query\n<Document>: Title some text"
    parts = [QWEN[0], body, QWEN[1]]
    assert ids == [token for part in parts for token in encoded("mxbai-rerank-v2", part, specials=False)]


def test_qwen3_cuts_the_body_and_keeps_what_stands_around_it(tmp_path: Path):
    reranker = open_causal(tmp_path, "mxbai-rerank-v2", template="qwen3-reranker", max_length=600)
    prefix, suffix = (encoded("mxbai-rerank-v2", text, specials=False) for text in QWEN)
    (ids,) = ids_of(reranker, WORDY)
    assert len(ids) == 600
    assert ids[: len(prefix)] == prefix
    assert ids[-len(suffix) :] == suffix


def test_braces_in_a_text_are_no_slots(tmp_path: Path):
    pairs = [(QueryText("a {document} and {query}"), DocumentText("", "{0} {instruction} {"))]
    (ids,) = ids_of(open_causal(tmp_path, "followir", template="followir-llama2"), pairs)
    text = PROMPTS["followir-llama2"].replace("a query an instruction", pairs[0][0].text)
    assert ids == encoded("followir", text.replace("Title some text", pairs[0][1].text))


# --- truncation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["followir", "bge-reranker-gemma", "mxbai-rerank-v2"])
def test_cutting_the_document_keeps_the_wording_around_it(tmp_path: Path, system: str):
    settings = {"max_length": 300, "truncation": "document"}
    (whole,) = ids_of(open_causal(tmp_path, system), WORDY)
    (cut,) = ids_of(open_causal(tmp_path, system, **settings), WORDY)
    kept = next(place for place, (old, new) in enumerate(zip(whole, cut, strict=False)) if old != new)
    assert len(cut) == 300 < len(whole)
    assert cut[kept:] == whole[kept - 300 :]
    (bare,) = ids_of(open_causal(tmp_path, system), [(WORDY[0][0], DocumentText("", ""))])
    assert kept + 3 >= len(bare) - (300 - kept), "nothing but the document is cut"


@pytest.mark.parametrize("system", ["followir", "bge-reranker-gemma"])
def test_a_prompt_that_fits_is_the_same_under_either_truncation(tmp_path: Path, system: str):
    pairs = PAIRS[system][:6]
    published, document = (open_causal(tmp_path, system, truncation=way) for way in ("published", "document"))
    assert ids_of(published, pairs) == ids_of(document, pairs)
    np.testing.assert_array_equal(margins_of(published, pairs), margins_of(document, pairs))


@pytest.mark.parametrize(("room", "kept"), [(20, "TQ"), (-20, "Q")])
def test_the_document_goes_first_then_the_title_then_the_query(tmp_path: Path, room: int, kept: str):
    query = QueryText("Q " * 60)
    (without,) = ids_of(open_causal(tmp_path, "selfrag"), [(query, DocumentText("", ""))])
    reranker = open_causal(tmp_path, "selfrag", max_length=len(without) + room)
    (ids,) = ids_of(reranker, [(query, DocumentText("T " * 30, "D " * 400))])
    count = {letter: ids.count(encoded("selfrag", f"a {letter}")[-1]) for letter in "DTQ"}
    assert len(ids) == len(without) + room
    # A token over the edge of a slot counts as wording, so one of each text may stay.
    assert "".join(letter for letter in "DTQ" if count[letter] > 1) == kept
    assert (count["Q"] == 60) == (room > 0)
    assert ids[-1] == without[-1] == encoded("selfrag", "</paragraph>")[-1]


def test_lost_tokens_are_those_that_the_longer_prompt_has(tmp_path: Path):
    for system in SYSTEMS:
        short, long = (open_causal(tmp_path, system, max_length=length) for length in (250, 4000))
        pairs = PAIRS[system][:6] + WORDY
        cut, whole = prepare(short.load(), pairs), prepare(long.load(), pairs)
        assert not whole.lost.any()
        assert cut.lost.any()
        assert (cut.lost == whole.lengths - cut.lengths).all()


def test_a_length_that_holds_no_more_than_the_wording_is_an_error(tmp_path: Path):
    reranker = open_causal(tmp_path, "followir", max_length=90, truncation="document")
    with pytest.raises(HarnessError, match=r"max_length=90 leaves no room .* tokens of the template followir"):
        reranker.load()


# --- settings ------------------------------------------------------------------------------------


def test_the_defaults_are_those_that_published_numbers_mean(tmp_path: Path):
    gemma = dict(open_causal(tmp_path, "bge-reranker-gemma").spec.settings)
    assert (gemma["rule"], gemma["max_length"], gemma["truncation"]) == ("card", 1024, "published")
    assert dict(open_causal(tmp_path, "bge-reranker-gemma", rule="class").spec.settings)["max_length"] == 512
    assert dict(open_causal(tmp_path, "followir").spec.settings)["max_length"] == 2048


def test_a_default_length_beyond_the_models_positions_is_lowered(tmp_path: Path):
    small = shutil.copytree(model_folder("followir"), tmp_path / "small")
    config = json.loads((small / "config.json").read_text())
    (small / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 512}))
    assert dict(open_causal(tmp_path, "followir", small).spec.settings)["max_length"] == 512
    with pytest.raises(HarnessError, match="takes at most 512 tokens; max_length=513 is more"):
        open_causal(tmp_path, "followir", small, max_length=513)


def test_a_model_that_states_no_positions_is_cut_by_the_rule_alone(tmp_path: Path):
    silent = shutil.copytree(model_folder("bge-reranker-gemma"), tmp_path / "silent")
    config = json.loads((silent / "config.json").read_text())
    (silent / "config.json").write_text(json.dumps({**config, "max_position_embeddings": None}))
    for rule in ("card", "class"):
        stated, unstated = (
            ids_of(open_causal(tmp_path, "bge-reranker-gemma", folder, rule=rule, max_length=64), WORDY)
            for folder in (None, silent)
        )
        assert stated == unstated


def test_whatever_moves_scores_has_its_own_fingerprint(tmp_path: Path):
    changes = [{}, {"rule": "class"}, {"max_length": 100}, {"truncation": "document"}, {"template": "followir"}]
    prints = [open_causal(tmp_path, "bge-reranker-gemma", **change).spec.fingerprint for change in changes]
    assert len(set(prints)) == len(changes)
    explicit = open_causal(tmp_path, "bge-reranker-gemma", rule="card", max_length=1024, truncation="published")
    assert explicit.spec.fingerprint == prints[0]


def test_a_causal_model_without_a_template_is_told_how_to_choose_one(tmp_path: Path):
    for family in (None, "causal"):
        with pytest.raises(HarnessError) as caught:
            opened(model_folder("followir"), tmp_path, family)
        assert "--set template=NAME" in str(caught.value)
        assert all(name in str(caught.value) for name in template_names())


def test_a_model_of_another_class_is_refused(tmp_path: Path):
    with pytest.raises(HarnessError, match="is no causal language model"):
        open_causal(tmp_path, "cross-encoder", template="followir")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"template": "folowir"}, 'unknown template "folowir".* Did you mean "followir"'),
        ({"template": "absent.yaml"}, "no such template file: absent.yaml"),
        ({"rule": "class"}, "--set rule=class: rule is one of: published"),
        ({"truncation": "left"}, "truncation is one of: published, document"),
        ({"max_length": 4097}, "takes at most 4096 tokens"),
        ({"max_lenght": 9}, 'Did you mean "max_length"'),
    ],
)
def test_a_wrong_setting_is_a_one_line_error(tmp_path: Path, settings: dict, message: str):
    with pytest.raises(HarnessError, match=message) as caught:
        open_causal(tmp_path, "followir", **settings)
    assert "\n" not in str(caught.value)


def test_labels_that_the_vocabulary_lacks_are_named(tmp_path: Path):
    with pytest.raises(HarnessError, match=r'no token "\[Relevant\]", .* the template is for another model'):
        open_causal(tmp_path, "followir", template="selfrag").load()


def test_labels_that_begin_with_the_same_token_are_refused(tmp_path: Path):
    path = write_template(tmp_path, {"labels": "{find: first_id, positive: Ja, negative: Jein}"})
    with pytest.raises(HarnessError, match="the same token"):
        open_causal(tmp_path, "mxbai-rerank-v2", template=path).load()


def test_every_known_causal_model_has_a_template():
    known = {name: entry for name, entry in known_models().items() if entry["family"] == "causal"}
    assert {"jhu-clsp/FollowIR-7B", "BAAI/bge-reranker-v2-gemma", "Qwen/Qwen3-Reranker-0.6B"} <= set(known)
    for name, entry in known.items():
        # Without one it is the model's own files that say how it is scored.
        if entry.get("by") != "sentence-transformers/LogitScore":
            assert read_template(entry["settings"]["template"]).name in template_names(), name


# --- templates of the user's own -----------------------------------------------------------------

OWN = {
    "specials": "none",
    "parts": '["Q: {query}\\nD: {document}\\nA: "]',
    "rules": "{mine: {max_length: 300, cut: document}}",
    "labels": "{find: first_id, positive: yes!, negative: no!}",
    "score": "softmax",
}


def write_template(folder: Path, changes: dict[str, str | None], comment: str = "") -> Path:
    lines = [f"{key}: {value}" for key, value in {**OWN, **changes}.items() if value is not None]
    path = folder / "own.yaml"
    path.write_text("\n".join([comment, *lines]) + "\n", encoding="utf-8")
    return path


def test_a_template_of_the_users_own_is_a_file(tmp_path: Path):
    reranker = open_causal(tmp_path, "mxbai-rerank-v2", template=write_template(tmp_path, {}))
    (ids,) = ids_of(reranker, [(QUERY, DOCUMENT)])
    assert ids == encoded("mxbai-rerank-v2", "Q: a query an instruction\nD: Title some text\nA: ")
    assert dict(reranker.spec.settings)["template"] == "own"
    assert ((score_pairs(reranker, WORDY) > 0) & (score_pairs(reranker, WORDY) < 1)).all()


def test_a_templates_words_are_in_the_fingerprint_and_its_comments_are_not(tmp_path: Path):
    def fingerprint(changes: dict, comment: str = "") -> str:
        path = write_template(tmp_path, changes, comment)
        return open_causal(tmp_path, "followir", template=path).spec.fingerprint

    assert fingerprint({}) == fingerprint({}, "# a remark")
    assert fingerprint({}) != fingerprint({"parts": '["Q: {query}\\nD: {document}\\nA:"]'})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partz": "[]"}, 'unknown key "partz" in the template; .* Did you mean "parts"'),
        ({"parts": '[{text: "{query} {document}", limt: 1}]'}, 'unknown key "limt" in a part'),
        ({"rules": "{mine: {max_length: 9, cut: end, side: left}}"}, 'unknown key "side" in rule "mine"'),
        ({"labels": "{find: piece, positive: a, negativ: b}"}, 'unknown key "negativ" in labels'),
        ({"specials": None}, '"specials" of the template is missing'),
        ({"specials": "both"}, 'is "both"; it is one of: tokenizer, bos, none'),
        ({"parts": None}, '"parts" must be a list'),
        ({"parts": '["{qurey} {document}"]'}, 'has the slot "{qurey}".* Did you mean "query"'),
        ({"parts": '["{query} {document"]'}, "a brace too many or too few"),
        ({"parts": '["{query} {query} {document}"]'}, "no slot twice"),
        ({"parts": '["{document}"]'}, "must hold {query} once"),
        ({"parts": '["{query} {text}"]'}, "a title would be lost"),
        ({"parts": '["{query} {document}", "{instruction}"]'}, "can have no other part with slots"),
        ({"parts": '[{text: "{query} {document}", limit: 3/2}]'}, "a share of max_length"),
        ({"rules": "{}"}, "must name a rule at least"),
        ({"rules": "{mine: {max_length: long, cut: end}}"}, '"max_length" of rule "mine"'),
        ({"rules": "{mine: {max_length: 9, cut: only_second}}"}, "only_second needs the query"),
        ({"labels": "{find: piece, positive: true, negative: false}"}, "need quotes"),
        ({"labels": "{find: piece, positive: a}"}, "have a negative"),
        ({"score": "logit"}, "except for the score logit"),
        ({"score": "["}, "not valid YAML"),
    ],
)
def test_what_a_template_cannot_say_is_refused_by_file_and_key(tmp_path: Path, changes: dict, message: str):
    path = write_template(tmp_path, changes)
    with pytest.raises(HarnessError, match=message) as caught:
        open_causal(tmp_path, "followir", template=path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


# --- the model -----------------------------------------------------------------------------------


def one_over_zero(model: Any, rows: list[list[int]]) -> Yardstick:
    """mxbai-rerank-v2's margin after each row, of transformers' own model."""
    import torch

    one, zero = (encoded("mxbai-rerank-v2", word)[0] for word in "10")

    def margins(model: Any) -> np.ndarray:
        with torch.inference_mode():
            last = [model(input_ids=torch.tensor([ids])).logits[0, -1] for ids in rows]
        return np.array([float(logits[one] - logits[zero]) for logits in last])

    return both(margins, model)


def test_half_precision_rounds_no_score(tmp_path: Path):
    pairs = PAIRS["followir"][:6]
    exact, half = (
        margins_of(open_causal(tmp_path, "followir", dtype=dtype), pairs) for dtype in ("float32", "bfloat16")
    )
    np.testing.assert_allclose(half, exact, atol=0.5)
    as_bits = half.view(np.uint32) & 0xFFFF
    assert as_bits.any(), "a bfloat16 margin would have sixteen zero bits at its end"


def test_an_architecture_that_caps_its_logits_is_scored_as_it_scores(tmp_path: Path):
    import torch
    import transformers

    folder = tmp_path / "capped"
    shutil.copytree(model_folder("mxbai-rerank-v2"), folder)
    torch.manual_seed(7)
    config = transformers.Gemma2Config(
        vocab_size=342, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, final_logit_softcapping=3.0, initializer_range=0.5, pad_token_id=0,
    )  # fmt: skip
    model = transformers.Gemma2ForCausalLM(config).eval()
    model.save_pretrained(folder)
    reranker = open_causal(tmp_path, "mxbai-rerank-v2", folder)
    pairs = PAIRS["mxbai-rerank-v2"][:3]
    one_over_zero(model, ids_of(reranker, pairs)).check(margins_of(reranker, pairs))


# --- the fast path -------------------------------------------------------------------------------


def many(system: str) -> list:
    """Three queries with the same documents: some of one length, two that begin alike, a long one."""
    documents = [document for _, document in PAIRS[system][:7]]
    documents += [DocumentText("", documents[0].text + " and more"), DocumentText("", "word " * 300)]
    queries = [QueryText("why is the sky dark"), QueryText("rivers", "Only in spring."), PAIRS[system][0][0]]
    return [(query, document) for query in queries for document in documents]


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_fast_path_scores_as_the_plain_one(tmp_path: Path, system: str):
    pairs, fast = many(system), open_causal(tmp_path, system, max_length=600)
    plain = by_itself(tmp_path, system, pairs, max_length=600)
    for budget in (300, 2000, 100_000):
        plain.check(margins_of(fast, pairs, budget))
    assert type(fast.load().model).__name__ == "PackedLastToken"
    assert fast.note is None


def test_the_prompts_of_a_query_share_all_that_they_begin_with(tmp_path: Path):
    pairs = many("followir")
    prepared = prepare(open_causal(tmp_path, "followir", max_length=600).load(), pairs)
    ids = [prepared.token_ids(row) for row in range(len(pairs))]
    for row, (query, _) in enumerate(pairs):
        first = [other for other, (asked, _) in enumerate(pairs) if asked == query]
        shared = prepared.sharing.shared[row]
        assert shared > 40
        assert {tuple(ids[other][:shared]) for other in first} == {tuple(ids[row][:shared])}
        assert len({tuple(ids[other][: shared + 1]) for other in first}) > 1
    plan = prepared.plan(300)
    assert sorted(np.concatenate(plan)) == list(range(len(pairs)))
    assert all(len({pairs[row][0] for row in batch}) == 1 for batch in plan)


def test_an_architecture_without_a_fast_path_is_scored_plainly_and_says_so(tmp_path: Path):
    import torch
    import transformers

    folder = tmp_path / "stable"
    shutil.copytree(model_folder("mxbai-rerank-v2"), folder)
    torch.manual_seed(5)
    config = transformers.StableLmConfig(
        vocab_size=342, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=4096, initializer_range=0.4,
    )  # fmt: skip
    model = transformers.StableLmForCausalLM(config).eval()
    model.save_pretrained(folder)
    reranker, pairs = open_causal(tmp_path, "mxbai-rerank-v2", folder), PAIRS["mxbai-rerank-v2"][:5]
    assert reranker.note == "no fast path for stablelm: transformers runs it, padded"
    one_over_zero(model, ids_of(reranker, pairs)).check(margins_of(reranker, pairs))


class Failing:
    """A model whose `at`-th batch fails, or every batch of more than `most` rows."""

    def __init__(self, model, at: int = 10**6, most: int = 10**6) -> None:
        self.model, self.left, self.most = model, at, most

    def prepare(self, *request):
        self.prepared = self.model.prepare(*request)
        self.also, self.lengths, self.lost = {}, self.prepared.lengths, self.prepared.lost
        return self

    def plan(self, budget: int):
        return self.prepared.plan(budget)

    def score(self, rows):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        found = self.prepared.score(rows)
        if len(rows) > self.most:
            raise RuntimeError("CUDA out of memory")
        return found


class Texts:
    """The part of a collection that reranking reads."""

    def __init__(self, pairs: list) -> None:
        self.queries = {query.text: query for query, _ in pairs}
        self.texts = {f"d{document.text[:20]}{len(document.text)}": document for _, document in pairs}

    def documents(self, doc_ids):
        return {doc_id: self.texts[doc_id] for doc_id in doc_ids}


def run_of(reranker, store: Path, dtype: str, texts: Texts):
    candidates = Candidates({query: dict.fromkeys(texts.texts, 1.0) for query in texts.queries}, "made", "0" * 32)
    with ScoreStore(store) as scores:
        return rerank(reranker, candidates, texts, scores, Options(dtype=dtype, batch_tokens=700))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_that_was_stopped_in_a_query_goes_on_to_the_same_bits(tmp_path: Path, dtype: str):
    texts, reranker = Texts(many("followir")), open_causal(tmp_path, "followir", dtype=dtype, max_length=600)
    whole = run_of(reranker, tmp_path / "whole.sqlite", dtype, texts)
    for stop in (1, 3):
        fresh = open_causal(tmp_path, "followir", dtype=dtype, max_length=600)
        stopping = Reranker(fresh.spec, lambda fresh=fresh, stop=stop: Failing(fresh.load(), at=stop), one_load=True)
        with pytest.raises(KeyboardInterrupt):
            run_of(stopping, tmp_path / f"{stop}.sqlite", dtype, texts)
        resumed = run_of(fresh, tmp_path / f"{stop}.sqlite", dtype, texts)
        assert 0 < resumed.stored < resumed.pairs
        np.testing.assert_array_equal(resumed.margins, whole.margins)


def test_out_of_memory_in_the_middle_of_a_query_loses_nothing(tmp_path: Path):
    texts, reranker = Texts(many("followir")), open_causal(tmp_path, "followir", max_length=600)
    tight = Reranker(reranker.spec, lambda: Failing(reranker.load(), most=2), one_load=True)
    found = run_of(tight, tmp_path / "tight.sqlite", "float32", texts)
    names = [(query, name) for query in texts.queries for name in texts.texts]
    pairs = [(texts.queries[query], texts.texts[name]) for query, name in names]
    settings = {"template": "followir", "max_length": 600}
    yard = ours(lambda whole: margins_of(whole, pairs), model_folder("followir"), tmp_path, "causal", **settings)
    yard.check([found.run[query][name] for query, name in names])


def by_wrapper(wrapper: Any, inputs: list) -> np.ndarray:
    return np.concatenate([wrapper.compute_logits(each) for each in inputs])


@pytest.mark.filterwarnings("ignore:`max_length` is ignored:UserWarning")
def test_scores_equal_mtebs_qwen3_wrapper(tmp_path: Path):
    import torch
    import transformers
    from mteb.models.model_implementations.qwen3_reranker import Qwen3RerankerWrapper

    folder = tmp_path / "qwen3"
    shutil.copytree(model_folder("mxbai-rerank-v2"), folder)
    torch.manual_seed(3)
    config = transformers.Qwen3Config(
        vocab_size=342, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=4096, initializer_range=0.4,
    )  # fmt: skip
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)
    pairs = PAIRS["mxbai-rerank-v2"]
    for length in (1000, 300):
        wrapper = Qwen3RerankerWrapper(str(folder), device="cpu", max_length=length, dtype=torch.float32)
        reranker = open_causal(tmp_path, "qwen3", folder, template="qwen3-reranker", max_length=length)
        # The wrapper's sentence for queries without an instruction differs from the model card's.
        sentence = "Given the user query, retrieval the relevant passages"
        asked = [(QueryText(query.text, sentence), document) for query, document in pairs]
        texts = [wrapper.format_instruction(None, query.text, document.text) for query, document in pairs]
        inputs = [wrapper.process_inputs([text]) for text in texts]
        assert ids_of(reranker, asked) == [each["input_ids"][0].tolist() for each in inputs]
        both(partial(by_wrapper, wrapper, inputs), draws=1).check(score_pairs(reranker, asked))
