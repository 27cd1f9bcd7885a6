"""Tiny models with random weights, built where a test asks for them: tokenizers, encoders, modules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]"]
TEXT = (
    "the a of and is what how where when who river water ice wind stone tree leaf bird fish boat road house light dark "
    "north south warm cold old new long short over under between after before never always one two three four query "
    "passage : instruct represent this sentence for searching relevant passages given web search retrieve that answer"
)


def wordpiece_tokenizer(folder: Path, model_max_length: int = 512) -> None:
    """A BERT tokenizer of some words, all letters and all punctuation; lower-cases."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*SPECIALS, *PUNCTUATION, *letters, *(f"##{letter}" for letter in letters), *TEXT.split()]
    vocabulary = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_special_tokens(SPECIALS[:5])
    _save_tokenizer(tokenizer, folder, "BertTokenizer", model_max_length, pad="[PAD]")


def byte_tokenizer(folder: Path, added: tuple[str, ...] = (), model_max_length: int = 512) -> int:
    """A byte-level BPE tokenizer as ModernBERT has it, with tokens added; returns its size."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=SPECIALS[:5], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([TEXT] * 3, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
    _save_tokenizer(tokenizer, folder, "PreTrainedTokenizerFast", model_max_length, pad="[PAD]")
    return int(tokenizer.get_vocab_size())


def _save_tokenizer(tokenizer: Any, folder: Path, kind: str, model_max_length: int, pad: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    stated = {
        "tokenizer_class": kind, "model_max_length": model_max_length, "pad_token": pad, "unk_token": "[UNK]",
        "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]",
    }  # fmt: skip
    write_json(folder / "tokenizer_config.json", stated)


def bert(folder: Path, seed: int = 0, **more: Any) -> Any:
    """A BERT of two layers and 32 dimensions with its tokenizer, saved in `folder`; returns the model."""
    import torch
    from transformers import BertConfig, BertModel

    wordpiece_tokenizer(folder)
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = BertModel(BertConfig(vocab_size=300, **shape, initializer_range=0.3, **more)).eval()
    model.save_pretrained(folder)
    return model


def sentence_transformer(
    folder: Path, pooling: str = "mean", *, normalize: bool = True, max_seq_length: int = 32, dense: int | None = None,
    prompts: dict[str, str] | None = None, include_prompt: bool = True,
) -> Any:  # fmt: skip
    """A sentence-transformers model around `bert`, saved in `folder`; returns the SentenceTransformer."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    bert(folder / "plain")
    transformer = Transformer(str(folder / "plain"), max_seq_length=max_seq_length)
    modules: list[Any] = [transformer, Pooling(32, pooling_mode=pooling, include_prompt=include_prompt)]
    if dense is not None:
        torch.manual_seed(1)
        modules.append(Dense(32, dense))
    modules += [Normalize()] if normalize else []
    model = SentenceTransformer(modules=modules, prompts=prompts or {}, device="cpu")
    model.save(str(folder / "model"))
    return SentenceTransformer(str(folder / "model"), device="cpu")


def colbert(folder: Path, **metadata: Any) -> None:
    """ColBERT's own layout: HF_ColBERT with `linear.weight`, lengths in artifact.metadata."""
    import torch
    from safetensors.torch import save_file

    weights = {f"bert.{key}": value for key, value in bert(folder).state_dict().items()}
    torch.manual_seed(3)
    weights["linear.weight"] = torch.randn(16, 32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {**config, "architectures": ["HF_ColBERT"]})
    stated = {"query_maxlen": 16, "doc_maxlen": 24, "attend_to_mask_tokens": False, "mask_punctuation": True}
    write_json(folder / "artifact.metadata", {**stated, **metadata})


def pylate(folder: Path, residual: bool = False, **stated: Any) -> None:
    """PyLate's layout around a ModernBERT: a Dense of the tokens (or two), prefixes that are tokens."""
    import torch
    from transformers import ModernBertConfig, ModernBertModel

    size = byte_tokenizer(folder, ("[Q] ", "[D] "))
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=size, hidden_size=32, intermediate_size=64, num_hidden_layers=3, num_attention_heads=4,
        local_attention=8, initializer_range=0.2, pad_token_id=0, cls_token_id=2, sep_token_id=3, bos_token_id=2,
        eos_token_id=3,
    )  # fmt: skip
    ModernBertModel(config).save_pretrained(folder)
    modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"}]
    shapes = [(32, 24), (24, 16)] if residual else [(32, 16)]
    for number, (wide, narrow) in enumerate(shapes, start=1):
        dense(folder / f"{number}_Dense", wide, narrow, residual=residual)
        modules.append(
            {"idx": number, "name": str(number), "path": f"{number}_Dense", "type": "pylate.models.Dense.Dense"}
        )
    write_json(folder / "modules.json", modules)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 23, "do_lower_case": False})
    known = {
        "query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 16, "document_length": 24,
        "attend_to_expansion_tokens": False, "skiplist_words": list(PUNCTUATION), "similarity_fn_name": "MaxSim",
    }  # fmt: skip
    write_json(folder / "config_sentence_transformers.json", {**known, **stated})


def dense(folder: Path, wide: int, narrow: int, *, residual: bool = False) -> None:
    """A Dense module's folder: random weights without a bias."""
    import torch
    from safetensors.torch import save_file

    stated = {"in_features": wide, "out_features": narrow, "bias": False, "use_residual": residual}
    write_json(folder / "config.json", {**stated, "activation_function": "torch.nn.modules.linear.Identity"})
    weights = {"linear.weight": torch.randn(narrow, wide)}
    if residual:
        weights["residual.weight"] = torch.randn(narrow, wide)
    save_file(weights, folder / "model.safetensors")


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")
