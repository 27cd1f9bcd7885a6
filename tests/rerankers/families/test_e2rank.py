"""E2Rank on a tiny random Qwen3 beside transformers with the prompt of the authors' evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from golden_cases import model_folder, opened

from harness.errors import HarnessError
from harness.rerankers.known import known_models
from harness.types import DocumentText, QueryText

TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
WORDS = ["river", "water", "ice", "wind", "stone", "tree", "leaf"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tiny_models import byte_tokenizer
    from transformers import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("models") / "e2rank"
    size = byte_tokenizer(folder, added=("<|endoftext|>", "<|im_start|>", "<|im_end|>"), model_max_length=4096)
    told = json.loads((folder / "tokenizer.json").read_text())
    told["post_processor"] = None
    (folder / "tokenizer.json").write_text(json.dumps(told))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    torch.manual_seed(8)
    Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=size, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=4096, initializer_range=0.3,
        )
    ).save_pretrained(folder)  # fmt: skip
    return folder


def documents(count: int) -> list[DocumentText]:
    return [DocumentText("", f"{WORDS[place % 7]}  {WORDS[place * 3 % 5]}\n{place}") for place in range(count)]


def expected(folder: Path, query: str, texts: list[str], shown: int) -> np.ndarray:
    import torch
    from transformers import AutoModel, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
    model = AutoModel.from_pretrained(folder).eval()
    listed = "\n".join(f"[{number}] {text}" for number, text in enumerate(texts[:shown], 1))
    prompt = (
        "<|im_start|>user\nGiven a web search query and some relevant documents, rerank the documents that answer the "
        f"query:\nDocuments:\n{listed}\nSearch Query: {query}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    with torch.no_grad():
        vectors = [
            model(input_ids=torch.tensor([tokenizer(text).input_ids])).last_hidden_state[0, -1]
            for text in (prompt, *(f"{text}<|endoftext|>" for text in texts))
        ]
    asked, *others = torch.nn.functional.normalize(torch.stack(vectors), dim=-1)
    return np.array([float(asked @ other) for other in others])


@pytest.mark.parametrize("shown", [20, 3])
def test_scores_are_cosines_with_the_vector_of_the_prompt(tiny: Path, tmp_path: Path, shown: int):
    (reranker,) = opened(tiny, tmp_path, "e2rank", shown=shown)
    assert reranker.spec.context == "list"
    found = documents(24)
    scores = reranker.load().score_list(QueryText("cold river", "in the north"), found)
    texts = [" ".join(document.text.split()) for document in found]
    np.testing.assert_allclose(scores, expected(tiny, "cold river in the north", texts, shown), atol=1e-5)
    assert np.ptp(scores) > 1e-3


def test_documents_are_cut_to_words_and_counted(tiny: Path, tmp_path: Path):
    (reranker,) = opened(tiny, tmp_path, "e2rank", document_words=2)
    model = reranker.load()
    scores = model.score_list(QueryText("ice"), [DocumentText("river", "water ice"), DocumentText("", "wind stone")])
    assert model.tallies == {"passages_shortened": 1}
    np.testing.assert_allclose(scores, expected(tiny, "ice", ["river water", "wind stone"], 20), atol=1e-5)


def test_what_does_not_fit_or_is_another_model_is_told(tiny: Path, tmp_path: Path):
    (reranker,) = opened(tiny, tmp_path, "e2rank")
    with pytest.raises(HarnessError, match=r"takes 4096 tokens, and an input has \d+: set document_words"):
        reranker.load().score_list(QueryText("ice"), [DocumentText("", "q " * 1024)] * 9)
    with pytest.raises(HarnessError, match="is no E2Rank model"):
        opened(model_folder("cross-encoder"), tmp_path, "e2rank")


def test_the_published_models_are_scored_by_it():
    assert {known_models()[f"Alibaba-NLP/E2Rank-{size}"]["family"] for size in ("0.6B", "4B", "8B")} == {"e2rank"}
