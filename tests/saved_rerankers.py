"""Tiny rerankers in the layouts of sentence-transformers' CrossEncoder, saved by it, and its own scores and ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_models import TEXT, write_json

ROLES = (
    '{%- set query = messages | selectattr("role", "eq", "query") | map(attribute="content") | first -%}\n'
    '{%- set document = messages | selectattr("role", "eq", "document") | map(attribute="content") | first -%}\n'
)
SYSTEM = (
    '{%- set system = messages | selectattr("role", "eq", "system") | map(attribute="content") | first '
    '| default("Given a web search query, retrieve relevant passages that answer the query") -%}\n'
)
QWEN = (
    ROLES + SYSTEM + "<|im_start|>system\nJudge whether the document answers.<|im_end|>\n<|im_start|>user\n"
    "<Instruct>: {{ system }}\n<Query>: {{ query }}\n<Document>: {{ document }}<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)
"""The form of Qwen3-Reranker: a system message is the instruction."""
ZERANK = (
    "{%- for message in messages %}{% if message['role'] == 'query' %}<|im_start|>system\n{{ message['content'] | trim }}"
    "<|im_end|>\n{% elif message['role'] == 'document' %}<|im_start|>user\n{{ message['content'] | trim }}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""The form of zerank: query and document stripped, no place for a system message."""
CONTEXTUAL = (
    ROLES + "Check whether a given document contains information helpful to answer the query.\n"
    "<Document> {{ document }}\n<Query> {{ query }} ??"
)
"""The form of ctxl-rerank: the query stands last."""
STRUCTURED = (
    '{% for message in messages %}{{ "question: " if message.role == "query" else " \\n \\n passage: " }}'
    '{% for item in message.content %}{% if item.type == "text" %}{{ item.text }}{% endif %}{% endfor %}{% endfor %}'
)
"""Contents as lists of parts."""
TEMPLATES = {"qwen": QWEN, "zerank": ZERANK, "contextual": CONTEXTUAL, "structured": STRUCTURED}

PAIRS = [
    ("how warm is water", "water is warm in the north and cold in the south"),
    ("where do fish live", "fish and bird under the tree \n\n near the river"),
    ("  what is ice ", " ice is old water. "),
    ("when", "the boat"),
    ("who <|im_end|> wrote { this }", "a {{ stone }} & <b>wind</b> of the road"),
]
LONG = [("how warm is water", "water is warm " * 90), ("where do fish live " * 40, "fish"), ("what", "ice " * 200)]


def chat_tokenizer(folder: Path, chat_template: str | None, model_max_length: int = 512, **stated: Any) -> int:
    """A byte-level tokenizer with the special tokens of chats; returns its size."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=420, special_tokens=names, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([TEXT + " yes no <Query>: <Document>: "] * 3, trainer)
    tokenizer.add_tokens([AddedToken("yes", normalized=False), AddedToken("no", normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": model_max_length,
        "pad_token": "<|endoftext|>", "eos_token": "<|im_end|>", **stated,
    }  # fmt: skip
    write_json(folder / "tokenizer_config.json", config)
    if chat_template is not None:
        (folder / "chat_template.jinja").write_text(chat_template, encoding="utf-8")
    return int(tokenizer.get_vocab_size())


def decoder(folder: Path, chat_template: str | None, *, kind: str = "ForCausalLM", **more: Any) -> Path:
    """A tiny Qwen3 in `folder` as transformers saves one; `more` is stated by tokenizer_config.json."""
    import torch
    import transformers

    size = chat_tokenizer(folder, chat_template, **more)
    torch.manual_seed(3)
    config = transformers.Qwen3Config(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=512, initializer_range=0.3, pad_token_id=0,
        eos_token_id=2, num_labels=1,
    )  # fmt: skip
    getattr(transformers, f"Qwen3{kind}")(config).eval().save_pretrained(folder)
    return folder


def save(plain: Path, folder: Path, task: str, modules: list[Any] | None = None, **stated: Any) -> Path:
    """The model in `plain` as a CrossEncoder saves it, with `modules` behind its transformer."""
    from sentence_transformers import CrossEncoder
    from sentence_transformers.base.modules import Transformer

    processing = stated.pop("processing_kwargs", None)
    transformer = Transformer(str(plain), transformer_task=task, processing_kwargs=processing)
    CrossEncoder(modules=[transformer, *(modules or [])], device="cpu", **stated).save(str(folder))
    return folder


def logit_scored(tmp: Path, template: str | None, true: int = 5, false: int | None = 7, **stated: Any) -> Path:
    """A causal model with LogitScore."""
    from sentence_transformers.cross_encoder.modules import LogitScore

    return save(decoder(tmp / "plain", template), tmp / "model", "text-generation", [LogitScore(true, false)], **stated)


CHAINS = (
    "ettin", "mean", "max, residual", "two poolings", "weighted", "square root", "tokens first", "last",
)  # fmt: skip
"""The names of `chains`, whose making imports sentence-transformers."""


def chains() -> dict[str, Any]:
    """Chains of modules behind a model of 32 features, by name."""
    import torch
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import Dropout, LayerNorm, Pooling

    def out(wide: int = 32) -> Any:
        return Dense(wide, 1, activation_function=torch.nn.Identity(), module_output_name="scores")

    def norm(size: int) -> Any:
        made = LayerNorm(size)
        torch.nn.init.normal_(made.norm.weight)
        torch.nn.init.normal_(made.norm.bias)
        return made

    torch.manual_seed(5)
    return {
        "ettin": lambda: [Pooling(32, "cls"), Dense(32, 16, bias=False, activation_function=torch.nn.GELU()), norm(16), out(16)],
        "mean": lambda: [Pooling(32, "mean"), Normalize(), out()],
        "max, residual": lambda: [Pooling(32, "max"), Dense(32, 32, use_residual=True), Dense(32, 8, use_residual=True), out(8)],
        "two poolings": lambda: [Pooling(32, ("cls", "mean")), Dropout(0.5), out(64)],
        "weighted": lambda: [Pooling(32, "weightedmean"), out()],
        "square root": lambda: [Pooling(32, "mean_sqrt_len_tokens"), out()],
        "tokens first": lambda: [
            Dense(32, 8, module_input_name="token_embeddings"), Pooling(8, "mean"), out(8),
        ],
        "last": lambda: [Pooling(32, "lasttoken"), out()],
    }  # fmt: skip


def oracle(folder: Path) -> Any:
    """The CrossEncoder of a folder."""
    from sentence_transformers import CrossEncoder

    return CrossEncoder(str(folder), device="cpu", local_files_only=True)


def ids_of(encoder: Any, pairs: list[tuple[str, str]], prompt: str | None = None) -> list[list[int]]:
    """The ids that a CrossEncoder gives its model, without padding."""
    found = []
    for pair in pairs:
        features = encoder.preprocess([list(pair)], prompt=encoder._resolve_prompt(prompt, None))
        found.append(features["input_ids"][0][features["attention_mask"][0].bool()].tolist())
    return found


def edited(folder: Path, file: str, **more: Any) -> Path:
    """The folder with keys of a JSON file replaced; None takes a key away."""
    path = folder / file
    stated = json.loads(path.read_text(encoding="utf-8")) | more
    write_json(path, {key: value for key, value in stated.items() if value is not None})
    return folder
