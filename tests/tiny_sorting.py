"""A tiny T5 and a tiny chat model that answer in letters, transformers alone as their oracle, and the sorts by their definitions."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from harness.types import DocumentText, QueryText


def heap_by_definition(count: int, top: int, children: int, best: Callable[[Sequence[int]], int]) -> list[int]:
    """Heapsort as textbooks write it, by recursion and on a shrinking list."""
    heap = list(range(count))

    def heapify(root: int) -> None:
        below = [place for place in range(root * children + 1, root * children + children + 1) if place < len(heap)]
        if below:
            winner = [root, *below][best([heap[place] for place in [root, *below]])]
            if winner != root:
                heap[root], heap[winner] = heap[winner], heap[root]
                heapify(winner)

    for root in reversed(range(count)):
        heapify(root)
    first = []
    while heap and len(first) < top:
        first.append(heap[0])
        heap[0] = heap[-1]
        heap.pop()
        if heap and len(first) < top:
            heapify(0)
    return first + [document for document in range(count) if document not in first]


def bubbles_by_definition(count: int, top: int, children: int, best: Callable[[Sequence[int]], int]) -> list[int]:
    order = list(range(count))
    for place in range(min(top, count)):
        stop = count
        while stop - place > 1:
            start = max(stop - children - 1, place)
            winner = start + best(order[start:stop])
            order[start], order[winner] = order[winner], order[start]
            stop -= children
    return order[:top] + [document for document in range(count) if document not in order[:top]]


# fmt: off
WORDS = [
    "<pad>", "</s>", "<unk>", "<s>", "<user>", "<assistant>", *"ABCDEFGHIJKLMNOPQRSTUVW", "Passage", "Given", "a", "query", "which", "of", "the", "following", "two",
    "passages", "is", "more", "relevant", "to", "most", "one", "Output", "or", "only", "label", "passage", '"', '":', '",', ":", ",", "?", '"?',
    "amber", "birch", "cedar", "delta", "echo", "fjord", "grove", "heath",
]
# fmt: on


TEMPLATE = (
    "{% for message in messages %}<user> {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def save_tokenizer(folder: Path, form: str, template: str | None) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(WORDS)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    special = form.strip("$A ")
    backend.post_processor = processors.TemplateProcessing(
        single=form, special_tokens=[(special, WORDS.index(special))]
    )
    backend.add_special_tokens(["<pad>", "</s>", "<unk>", "<s>", "<user>", "<assistant>"])
    backend.save(str(folder / "tokenizer.json"))
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)


def silent(words: Sequence[str]) -> list[int]:
    """The words whose row of a head is set to 0, so that one of `words` is mostly written."""
    return [place for place, word in enumerate(WORDS) if word not in words]


def write_t5(folder: Path, words: Sequence[str] = (*"ABCDE", "</s>")) -> Path:
    """A random T5 with a head of its own, as FLAN-T5 has it."""
    import torch
    from safetensors.torch import save_file
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(12)
    said = {
        "vocab_size": len(WORDS), "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4,
        "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False,
    }  # fmt: skip
    shapes = T5ForConditionalGeneration(T5Config(**said)).state_dict()
    # Wide enough that what the encoder read decides the answer.
    weights = {name: torch.randn(value.shape) * 0.5 for name, value in shapes.items() if "embed_tokens" not in name}
    weights["lm_head.weight"][silent(words)] = 0.0
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    said |= {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": True}
    (folder / "config.json").write_text(json.dumps(said))
    save_tokenizer(folder, "$A </s>", None)
    return folder


def write_chat(folder: Path, words: Sequence[str] = tuple("ABCDE"), template: str | None = TEMPLATE) -> Path:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder.mkdir(parents=True)
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=4, max_position_embeddings=512, initializer_range=0.5, bos_token_id=3, eos_token_id=1,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        model.lm_head.weight[silent(words)] = 0.0
    model.generation_config.update(do_sample=True, temperature=1.7)
    model.save_pretrained(folder)
    save_tokenizer(folder, "<s> $A", template)
    return folder


def documents(count: int) -> list[DocumentText]:
    words = WORDS[-8:]
    return [
        DocumentText("", f"{words[place % 8]} {words[place * 3 // 8 % 8]} {words[place * 5 % 7]}")
        for place in range(count)
    ]


QUERY = QueryText("which birch is echo")


class Oracle:
    """transformers alone: tokenizer, `generate` and logits, with the prompts of ielab/llm-rankers' README and code."""

    def __init__(self, folder: Path) -> None:
        import transformers

        self.tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
        self.t5 = not (folder / "chat_template.jinja").is_file()
        kind = "AutoModelForSeq2SeqLM" if self.t5 else "AutoModelForCausalLM"
        self.model = getattr(transformers, kind).from_pretrained(str(folder)).eval()

    def setwise(self, texts: Sequence[str]) -> str:
        passages = "\n\n".join(f'Passage {letter}: "{text}"' for letter, text in zip("ABCDEF", texts, strict=False))
        return (
            f'Given a query "{QUERY.text}", which of the following passages is the most relevant one to the query?\n\n'
            f"{passages}\n\nOutput only the passage label of the most relevant passage:"
        )

    def pairwise(self, texts: Sequence[str]) -> str:
        return (
            f'Given a query "{QUERY.text}", which of the following two passages is more relevant to the query?\n\n'
            f'Passage A: "{texts[0]}"\n\nPassage B: "{texts[1]}"\n\nOutput Passage A or Passage B:'
        )

    def ids(self, question: str) -> list[int]:
        if self.t5:
            return self.tokenizer(question).input_ids
        turn = [{"role": "user", "content": question}]
        text = self.tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        return self.tokenizer(text + " Passage:").input_ids

    def answer(self, question: str) -> str:
        import torch

        ids = torch.tensor([self.ids(question)])
        if self.t5:
            start = torch.tensor([[0, WORDS.index("Passage")]])
            found = self.model.generate(ids, decoder_input_ids=start, max_new_tokens=2)[0, 2:]
        else:
            found = self.model.generate(ids, do_sample=False, temperature=None, max_new_tokens=1)[0, ids.shape[1] :]
        return self.tokenizer.decode(found, skip_special_tokens=True).strip()

    def letter(self, question: str) -> str:
        """The label that the model answers with; empty where it answers with none."""
        answer = self.answer(question)
        return answer[-1:] if self.t5 else answer

    def best_of(self, texts: Sequence[str]) -> Callable[[Sequence[int]], int]:
        """Which of some documents the model takes for the best: the first where it names none of them."""

        def best(seen: Sequence[int]) -> int:
            letter = self.letter(self.setwise([texts[document] for document in seen]))
            place = "ABCDE".find(letter) if letter else -1
            return place if 0 <= place < len(seen) else 0

        return best

    def beats(self, one: str, other: str) -> float:
        """1 where the model prefers `one` in both orders, 0 where it prefers the other, else a half."""
        there, back = (self.letter(self.pairwise(pair)) for pair in ((one, other), (other, one)))
        return {("A", "B"): 1.0, ("B", "A"): 0.0}.get((there, back), 0.5)

    def best_by_pairs(self, texts: Sequence[str]) -> Callable[[Sequence[int]], int]:
        """As `best_of`, by asking about two at a time."""

        def best(seen: Sequence[int]) -> int:
            chosen = 0
            for place in range(1, len(seen)):
                chosen = place if self.beats(texts[seen[place]], texts[seen[chosen]]) == 1 else chosen
            return chosen

        return best
