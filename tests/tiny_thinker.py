"""A tiny random Qwen2 that thinks, and Rank1's rule over transformers' own generation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from exactness import Yardstick, both

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

    def margins(self, pairs: list[tuple[str, str]]) -> Yardstick:
        """The margin of each pair: the labels' logits at the end of what `read` says."""
        import torch

        rows = [torch.tensor([self.read(*pair)]) for pair in pairs]

        def compute(model: Any) -> np.ndarray:
            with torch.inference_mode():
                last = [model(ids).logits[0, -1] for ids in rows]
            return np.array([float(logits[self.true] - logits[self.false]) for logits in last])

        return both(compute, self.model)

    def read(self, query: str, document: str) -> list[int]:
        """The ids behind which the labels are read, the thought among them."""
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
        text, written = "", found.sequences[0].tolist()
        for place, (logits,) in enumerate(found.logits, ids.shape[1]):
            token = written[place]
            if token == self.model.config.eos_token_id:
                break
            before, text = text, text + self.tokenizer.decode([token])
            if text.endswith(("</think> true", "</think> false")):
                if {self.true, self.false} <= set(logits.topk(self.among).indices.tolist()):
                    self.seen["read"] += 1
                    return written[:place]
                text = before.removesuffix("</think>")
                break
        text = text.removesuffix("</think>").rstrip()
        last = max(map(text.rfind, ".!?"))
        if not text.endswith((".", "!", "?")) and last != -1:
            text = text[: last + 1]
        self.seen["forced"] += 1
        return self.tokenizer(f"{prompt}\n{text.strip()}\n</think>").input_ids
