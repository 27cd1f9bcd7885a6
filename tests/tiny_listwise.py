"""A tiny random Llama that mostly writes identifiers: an order of a kind."""

from __future__ import annotations

import json
from pathlib import Path

TEMPLATE = (
    "{% for message in messages %}<{{ message['role'] }}> {{ message['content'] }} <end>\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


PIECES = ["<unk>", "<s>", "</s>", *(f"[{number}]" for number in range(1, 21)), ">", "<user>", "<assistant>", "<system>"]


def write_model(
    folder: Path, template: str | None = TEMPLATE, positions: int = 2048, always: str | None = None
) -> Path:
    """A random Llama whose words are mostly identifiers, so that what it writes is an order of a kind; `always` is
    the one word that it writes, again and again.
    """
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import LlamaConfig, LlamaForCausalLM

    others = ["one", "two", "three", "four", "amber", "birch", "cedar", "delta", "passages", "rank", "query"]
    words = list(dict.fromkeys([*([always] if always else []), *PIECES, *others]))
    silent = [place for place, word in enumerate(words) if not word.startswith("[")]
    backend = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    begin = words.index("<s>")
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    backend.add_special_tokens(["<unk>", "<s>", "</s>"])
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=positions,
        initializer_range=0.6,
        bos_token_id=begin,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        # Where all words are alike the first is written.
        model.lm_head.weight[slice(None) if always else silent] = 0.0
    # The settings of a chat model: they must not make the answers random.
    model.generation_config.update(do_sample=True, temperature=1.5, repetition_penalty=1.3, eos_token_id=2)
    model.save_pretrained(folder)
    backend.save(str(folder / "tokenizer.json"))
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    return folder
