"""A tiny Llama classifier, and RankLLaMA's ids and scores of it as its authors' code gives them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from exactness import Yardstick, both
from golden_cases import model_folder

BOS, EOS = 1, 2
TOKENIZER = model_folder("followir") / "tokenizer.json"


PAIRS = [
    ["how long should bread dough rest", "Leave the dough under a damp cloth until it has doubled."],
    ["how long should bread dough rest", "The bakery opens at six."],
    ["short", "A long passage repeats itself so that every limit is reached. " * 20],
    ["why", "x"],
]


def write_model(folder: Path, labels: int = 1) -> Path:
    """A random Llama classifier over FollowIR's tiny tokenizer."""
    import torch
    from transformers import LlamaConfig, LlamaForSequenceClassification

    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=700,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=1024,
        initializer_range=0.3,
        bos_token_id=BOS,
        eos_token_id=EOS,
        num_labels=labels,
    )
    LlamaForSequenceClassification(config).save_pretrained(folder)
    shutil.copy(TOKENIZER, folder)
    said = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    return folder


def authors_ids(query: str, document: str, max_length: int) -> list[int]:
    """Tevatron's collator: the tokenizer's ids, cut to max_length − 1, then the end of sequence."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    return [*tokenizer.encode(f"query: {query} document: {document}").ids[: max_length - 1], EOS]


def authors_scores(folder: Path, rows: list[list[int]], pad: int = 0) -> Yardstick:
    """Tevatron's model: padded on the right with `pad`, the logit at the last token that is not padding."""
    import torch
    from transformers import LlamaForSequenceClassification

    model = LlamaForSequenceClassification.from_pretrained(folder).eval()
    model.config.pad_token_id = pad
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])

    def scores(model: LlamaForSequenceClassification) -> np.ndarray:
        with torch.inference_mode():
            return model(input_ids=ids, attention_mask=mask).logits[:, 0].numpy()

    return both(scores, model)
