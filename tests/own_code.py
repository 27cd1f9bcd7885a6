"""Tiny models with code of their own: a Python file in the folder that config.json's auto_map names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from exactness import Yardstick, both
from tiny_models import wordpiece_tokenizer, write_json

CODE = """
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput
{imports}

class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, vocab_size=300, width=16, num_labels=1, **more):
        super().__init__(num_labels=num_labels, **more)
        self.vocab_size, self.width = vocab_size, width


class OwnForSequenceClassification(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.words = torch.nn.Embedding(config.vocab_size, config.width)
        self.score = torch.nn.Linear(config.width, 1, bias=False)
        {computed}
        {post_init}

    def _init_weights(self, module):
        pass

    def forward(self, input_ids, attention_mask=None, token_type_ids=None, **more):
        hidden = self.words(input_ids) * attention_mask[..., None]
        {forward}
        logits = {sign}self.score(torch.tanh(hidden.sum(1)))
        return SequenceClassifierOutput(logits=logits)
"""

SCALES = 'self.register_buffer("scales", 1.0 + torch.arange(config.width) / config.width, persistent=False)'
"""A buffer that is computed and not saved."""
USES_SCALES = "hidden = hidden * self.scales"


def own_classifier(
    folder: Path, *, imports: str = "", computed: str = "", forward: str = "", sign: str = "",
    post_init: str = "self.post_init()", written_for: str | None = "4.38.2",
) -> Path:  # fmt: skip
    """A classifier of one label whose code is `modeling_own.py` in its folder; the words are lines of that code."""
    import torch
    from safetensors.torch import save_file

    wordpiece_tokenizer(folder)
    code = CODE.format(imports=imports, computed=computed, forward=forward, sign=sign, post_init=post_init)
    (folder / "modeling_own.py").write_text(code)
    config = {
        "model_type": "own", "architectures": ["OwnForSequenceClassification"], "vocab_size": 300, "width": 16,
        "id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}, "pad_token_id": 0,
        "auto_map": {
            "AutoConfig": "modeling_own.OwnConfig",
            "AutoModelForSequenceClassification": "modeling_own.OwnForSequenceClassification",
        },
    }  # fmt: skip
    write_json(folder / "config.json", config | ({"transformers_version": written_for} if written_for else {}))
    torch.manual_seed(0)
    weights = {"words.weight": torch.randn(300, 16) / 4, "score.weight": torch.randn(1, 16)}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def expected(folder: Path, rows: list[list[int]], scales: bool = False) -> Yardstick:
    """What the class computes for rows of ids, computed here."""
    import torch
    from safetensors.torch import load_file

    weights = load_file(folder / "model.safetensors")
    width = json.loads((folder / "config.json").read_text())["width"]

    def one(ids: list[int]) -> float:
        hidden = weights["words.weight"][ids]
        hidden = hidden * (1.0 + torch.arange(width) / width) if scales else hidden
        return float(weights["score.weight"] @ torch.tanh(hidden.sum(0)))

    return both(lambda: np.array([one(ids) for ids in rows]))
