"""Rerankers that think before they answer, against transformers' own generation and the authors' rule written out here."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from golden_cases import opened

from harness.errors import HarnessError
from harness.rerankers.prompts.template import read_template
from harness.types import DocumentText, QueryText

ROOM = 24
WORDS = ["amber", "birch", "cedar", "delta", "ember", "frost", "grove", "heath", "ivory", "jade"]
PAIRS = [(f"{WORDS[place % 10]} query", f"the {WORDS[place * 3 % 10]} passage {place}") for place in range(24)]


def write_thinker(
    folder: Path, alive: tuple[str, ...] = (" so", ".", "</think>", " true", " false", "<|end|>")
) -> Path:
    """A random Qwen2 that writes nothing but the words of `alive`."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import Qwen2Config, Qwen2ForCausalLM

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: place for place, letter in enumerate(letters)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|begin|>", "<|end|>"])
    tokenizer.add_tokens(
        [AddedToken(word, normalized=False) for word in (" so", "</think>", "<think>", " true", " false")]
    )
    begin = tokenizer.token_to_id("<|begin|>")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin|> $A", special_tokens=[("<|begin|>", begin)]
    )
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    torch.manual_seed(11)
    config = Qwen2Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.6,
        bos_token_id=begin,
        eos_token_id=tokenizer.token_to_id("<|end|>"),
        tie_word_embeddings=False,
    )
    model = Qwen2ForCausalLM(config)
    kept = [tokenizer.token_to_id(word) for word in alive]
    with torch.no_grad():
        silent = [token for token in range(config.vocab_size) if token not in kept]
        # The rest is likelier than a label that is far off, and never the likeliest.
        model.lm_head.weight[silent] *= 0.02
    model.generation_config.update(do_sample=True, temperature=0.6)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_thinker(tmp_path_factory.mktemp("models") / "tiny-rank1")


def margins(folder: Path, cache: Path, pairs=PAIRS, **settings) -> np.ndarray:
    settings = {"template": "rank1", "max_new_tokens": ROOM, **settings}
    (reranker,) = opened(folder, cache, "causal", **settings)
    queries = [QueryText(query) for query, _ in pairs]
    documents = [DocumentText("", text) for _, text in pairs]
    prepared = reranker.load().prepare(queries, documents, np.array([[place, place] for place in range(len(pairs))]))
    return prepared.score(np.arange(len(pairs)))


class Rank1:
    """rank1.py's rule, one pair at a time, over transformers' greedy generation."""

    def __init__(self, folder: Path, among: int = 20) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()
        self.true, self.false = (
            self.tokenizer(word, add_special_tokens=False).input_ids[0] for word in (" true", " false")
        )
        self.among, self.seen = among, {"read": 0, "forced": 0}

    def margin(self, query: str, document: str) -> float:
        import torch

        prompt = (
            "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
            f"Query: {query}\nPassage: {document}\n<think>"
        )
        ids = torch.tensor([self.tokenizer(prompt).input_ids])
        found = self.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=ROOM, do_sample=False, temperature=None,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        text = ""
        for token, (logits,) in zip(found.sequences[0, ids.shape[1] :].tolist(), found.logits, strict=True):
            if token == self.model.config.eos_token_id:
                break
            before, text = text, text + self.tokenizer.decode([token])
            if text.endswith(("</think> true", "</think> false")):
                if {self.true, self.false} <= set(logits.topk(self.among).indices.tolist()):
                    self.seen["read"] += 1
                    return float(logits[self.true] - logits[self.false])
                text = before.removesuffix("</think>")
                break
        text = text.removesuffix("</think>").rstrip()
        last = max(map(text.rfind, ".!?"))
        if not text.endswith((".", "!", "?")) and last != -1:
            text = text[: last + 1]
        self.seen["forced"] += 1
        ids = torch.tensor([self.tokenizer(f"{prompt}\n{text.strip()}\n</think>").input_ids])
        with torch.inference_mode():
            logits = self.model(ids).logits[0, -1]
        return float(logits[self.true] - logits[self.false])


def test_rank1_scores_as_its_authors_do(thinker: Path, tmp_path: Path):
    theirs = Rank1(thinker)
    expected = [theirs.margin(*pair) for pair in PAIRS]
    assert min(theirs.seen.values()) >= 3, theirs.seen
    np.testing.assert_allclose(margins(thinker, tmp_path), expected, rtol=0, atol=1e-5)


def test_a_thought_that_is_never_closed_is_given_its_ending(tmp_path: Path):
    folder = write_thinker(tmp_path / "endless", alive=(" so", "."))
    theirs = Rank1(folder)
    expected = [theirs.margin(*pair) for pair in PAIRS[:6]]
    assert theirs.seen == {"read": 0, "forced": 6}
    np.testing.assert_allclose(margins(folder, tmp_path / "cache", PAIRS[:6]), expected, rtol=0, atol=1e-5)


def test_another_such_model_is_a_template_of_ones_own(thinker: Path, tmp_path: Path):
    own = tmp_path / "mine.yaml"
    packed = read_template("rank1")
    assert packed.writes is not None
    own.write_text(
        "specials: tokenizer\nparts:\n"
        "  - \"Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\\nQuery: {query}"
        '\\nPassage: {document}\\n<think>"\n'
        'rules: {mine: {max_length: 500, cut: document}}\nlabels: {find: first_id, positive: " true", negative: " false"}\n'
        'score: difference\nwrites: {until: "</think>", max_new_tokens: 24, forced: "\\n{written}\\n</think>", among: 2}\n'
    )
    theirs = Rank1(thinker, among=2)
    expected = [theirs.margin(*pair) for pair in PAIRS]
    np.testing.assert_allclose(margins(thinker, tmp_path, template=own), expected, rtol=0, atol=1e-5)
    assert theirs.seen["forced"] > 0


def test_the_room_to_think_is_a_part_of_the_fingerprint(thinker: Path, tmp_path: Path):
    prints = {
        opened(thinker, tmp_path, "causal", template="rank1", max_new_tokens=room)[0].spec.fingerprint
        for room in (24, 25)
    }
    assert len(prints) == 2


def test_forced_endings_are_counted_in_every_result(collection_folder: Path, cli: Cli, tmp_path: Path):
    folder = write_thinker(tmp_path / "endless", alive=(" so", "."))
    words = ("run", collection_folder, "--reranker", folder, "--family", "rank1", "--set", "max_new_tokens=4", "--top-k",
             "3", "--format", "json")  # fmt: skip
    for results in ("one", "another"):
        answer = cli(*words, "--results", results)
        assert answer.code == 0, answer.err
        (found,) = answer.results()
        assert found["diagnostics"]["pairs"] == 6 * 3
        assert found["diagnostics"]["answers"] == {"answers": 18, "forced": 18}
    assert found["performance"]["pairs_scored"] == 0


@pytest.mark.parametrize(
    ("writes", "said"),
    [
        ('{until: "x", forced: "y {written}"}', "max_new_tokens"),
        ('{until: "x", forced: "y", max_new_tokens: 5}', "must hold {written} once"),
        ('{until: "x", forced: "{written}", max_new_tokens: 5, amongst: 3}', 'unknown key "amongst"'),
        ('{forced: "{written}", max_new_tokens: 5}', "until"),
    ],
)
def test_a_thought_that_cannot_be_read_is_told_in_one_line(tmp_path: Path, writes: str, said: str):
    own = tmp_path / "mine.yaml"
    own.write_text(
        'specials: none\nparts: ["{query} {document}"]\nrules: {mine: {max_length: 9, cut: end}}\n'
        f"labels: {{find: piece, positive: a, negative: b}}\nscore: softmax\nwrites: {writes}\n"
    )
    with pytest.raises(HarnessError, match=said):
        read_template(str(own))


def test_thinking_without_room_or_with_vllm_is_refused(thinker: Path, tmp_path: Path):
    with pytest.raises(HarnessError, match="leaves no room for a prompt"):
        opened(thinker, tmp_path, "causal", template="rank1")
    with pytest.raises(HarnessError, match="leave out backend=vllm"):
        opened(thinker, tmp_path, "causal", template="rank1", max_new_tokens=5, backend="vllm")
