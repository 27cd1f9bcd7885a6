"""How sentence-transformers publishes a reranker: the files of its CrossEncoder, read without loading it.

`modules.json` lists what runs: a Transformer alone (a classifier's logits), a Transformer and
LogitScore (words' logits after a prompt), or a Transformer, Pooling and a chain of Dense, LayerNorm,
Normalize and Dropout. `config_sentence_transformers.json` has prompts and the published activation,
`sentence_bert_config.json` the input's length and form, and the chat template (`chat_template.jinja`,
or tokenizer_config.json) how query and document become one input. A classifier without modules.json
is read as sentence-transformers reads one. Source: sentence-transformers 6.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import HarnessError
from .own_code import foreign_classes
from .source import ModelSource

__all__ = [
    "CrossEncoderLayout", "LogitScore", "Module", "assumed_causal", "is_cross_encoder", "read_layout",
    "saved_chat_template",
]  # fmt: skip

_TASKS = {
    "sequence-classification": "logits",
    "text-generation": "logits",
    "feature-extraction": "last_hidden_state",
}
"""transformer_task → the output of the model that is read."""
_CHAIN = frozenset({"Pooling", "Dense", "LayerNorm", "Normalize", "Dropout"})
_HARMLESS_ARGUMENTS = frozenset(
    {"attn_implementation", "dtype", "torch_dtype", "local_files_only", "trust_remote_code"}
)
_OF_THE_LIBRARY = "sentence_transformers."
_STRUCTURED = ("content[0]", ".type", "'type'", '"type"', "item.type", "message.content[")
"""What sentence-transformers takes for a sign that a chat template reads a message's content as a list."""
_FLAT_MODELS = frozenset({"apertus", "deepseek_v3", "gpt_oss", "seed_oss"})


@dataclass(frozen=True)
class LogitScore:
    """logit(true) − logit(false) at the last token, or one raw logit; the ids of two words."""

    true: int
    false: int | None


@dataclass(frozen=True)
class Module:
    """One module after the transformer: its class by the last part of its name, its folder, its config.json."""

    kind: str
    folder: str
    config: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class CrossEncoderLayout:
    """What the files of a CrossEncoder say."""

    task: str
    """sequence-classification, text-generation or feature-extraction."""
    logit: LogitScore | None = None
    chain: tuple[Module, ...] = ()
    """What turns token vectors into scores; empty for a classifier's own logits."""
    max_length: int | None = None
    """The length that is stated beside the tokenizer's; it goes before it."""
    lower_case: bool = False
    truncation_side: str = "right"
    chat_template: str | None = None
    """What makes one input of messages with the roles query, document and system; None where there is none."""
    structured: bool = False
    """Whether a message's content is a list of parts rather than a text."""
    messages: bool | None = None
    """Whether inputs are messages; None where nothing says so, and the chat template decides by its places for a pair."""
    render: Mapping[str, Any] = field(default_factory=dict)
    """What the chat template is rendered with, such as add_generation_prompt."""
    restores_ending: bool = True
    """Whether the ids that every prompt ends with replace the last ones of a prompt that was cut."""
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt: str | None = None
    activation: str | None = None
    """The class of the published activation, dotted; None for the sigmoid (of one label)."""
    stated: bool = False
    """Whether modules.json says all this; else it is what sentence-transformers takes without one."""

    @property
    def prompt(self) -> str:
        """The text of the default prompt; empty without one."""
        return self.prompts.get(self.default_prompt or "", "")

    @property
    def labels(self) -> int | None:
        """How many numbers the chain gives; None where it is not the chain that says so."""
        widths = [int(module.config["out_features"]) for module in self.chain if module.kind == "Dense"]
        return widths[-1] if widths else None


def is_cross_encoder(source: ModelSource) -> bool:
    """Whether modules.json is that of a CrossEncoder."""
    stated = source.small.get("config_sentence_transformers.json", {})
    return source.is_sentence_transformer and stated.get("model_type") == "CrossEncoder"


def read_layout(source: ModelSource) -> CrossEncoderLayout | None:
    """The layout of a CrossEncoder, or of a classifier without modules.json; None for any other model.

    Raises HarnessError, naming it, for a module or a setting that would change scores and is not known here.
    """
    if is_cross_encoder(source):
        return _stated(source)
    if source.architecture.endswith("ForSequenceClassification"):
        return _assumed(source)
    return None


def saved_chat_template(source: ModelSource) -> str | None:
    """The text of the chat template, chat_template.jinja before tokenizer_config.json; None where there is none."""
    own = source.small.get("chat_template.jinja")
    stated = own if own is not None else source.tokenizer_config.get("chat_template")
    if isinstance(stated, list):
        stated = next((each.get("template") for each in stated if each.get("name") == "default"), None)
    return str(stated) if stated else None


def assumed_causal(source: ModelSource, template: str) -> CrossEncoderLayout:
    """The layout of a causal model without modules.json, by its chat template."""
    return CrossEncoderLayout(
        "text-generation",
        chat_template=template,
        structured=_structured(source, template, "auto"),
        truncation_side=str(source.tokenizer_config.get("truncation_side", "right")),
        messages=True,
        activation=_config_activation(source),
    )


def _assumed(source: ModelSource) -> CrossEncoderLayout:
    if foreign := foreign_classes(source.small):
        raise HarnessError(
            f"{source.name}: modules.json names the class {foreign[0]}, which is not known here, and without it scores "
            f"would be others: wrap the model in a plug-in (--reranker path/file.py:attribute)"
        )
    template = saved_chat_template(source)
    return CrossEncoderLayout(
        "sequence-classification",
        chat_template=template,
        structured=_structured(source, template, "auto"),
        truncation_side=str(source.tokenizer_config.get("truncation_side", "right")),
        activation=_config_activation(source),
    )


def _stated(source: ModelSource) -> CrossEncoderLayout:
    general = source.small.get("config_sentence_transformers.json", {})
    transformer = source.small.get("sentence_bert_config.json", {})
    modules = _modules(source)
    task = str(transformer.get("transformer_task", "feature-extraction"))
    _refuse_unknown(source, transformer, task, modules)
    asked = _processing(source, transformer)
    chat = dict(asked.get("chat_template", {}))
    message = transformer.get("modality_config", {}).get("message")
    template = saved_chat_template(source)
    if message is not None and template is None:
        raise HarnessError(f"{source.name} takes its inputs as messages, and its files hold no chat template")
    arguments = _arguments(source, transformer)
    return CrossEncoderLayout(
        task=task,
        logit=_logit_score(source, modules),
        chain=() if modules and modules[0].kind == "LogitScore" else modules,
        max_length=_stated_length(transformer, asked, chat, arguments),
        lower_case=bool(transformer.get("do_lower_case")),
        truncation_side=str(arguments.get("truncation_side", source.tokenizer_config.get("truncation_side", "right"))),
        chat_template=template,
        structured=_structured(source, template, str((message or {}).get("format", "auto"))),
        messages=message is not None,
        restores_ending=bool(chat.pop("restore_suffix", True)),
        render={key: value for key, value in chat.items() if key not in ("max_length", "truncation", "padding")},
        prompts={str(name): str(text) for name, text in (general.get("prompts") or {}).items() if text},
        default_prompt=general.get("default_prompt_name"),
        activation=general.get("activation_fn") or _config_activation(source),
        stated=True,
    )


def _modules(source: ModelSource) -> tuple[Module, ...]:
    """The modules after the transformer. Raises HarnessError for one that is not known here."""
    first, *rest = source.small["modules.json"]
    for entry in (first, *rest):
        kind = str(entry["type"]).rpartition(".")[2]
        known = kind == "Transformer" if entry is first else kind in _CHAIN | {"LogitScore"}
        if not known or not str(entry["type"]).startswith(_OF_THE_LIBRARY):
            raise HarnessError(
                f"{source.name} runs a module that is not known here, {entry['type']}, and its scores would be others "
                f"without it: wrap the model in a plug-in (--reranker path/file.py:attribute), or choose a family that "
                f"leaves it out with --family"
            )
    if first.get("path"):
        raise HarnessError(f"{source.name} keeps its transformer in the folder {first['path']}; it must be at the top")
    return tuple(
        Module(str(entry["type"]).rpartition(".")[2], str(entry["path"]), _config_of(source, str(entry["path"])))
        for entry in rest
    )


def _config_of(source: ModelSource, folder: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = source.small.get(f"{folder}/config.json", {})
    return found


def _refuse_unknown(
    source: ModelSource, transformer: Mapping[str, Any], task: str, modules: tuple[Module, ...]
) -> None:
    if task not in _TASKS:
        raise HarnessError(
            f"{source.name} runs as {task}, which is not known here; known are {', '.join(_TASKS)}. A plug-in "
            f"(--reranker path/file.py:attribute) can run it"
        )
    for modality, how in (transformer.get("modality_config") or {}).items():
        read = how.get("method"), how.get("method_output_name")
        if modality in ("text", "message") and read != ("forward", _TASKS[task]):
            raise HarnessError(f"{source.name} reads {read[1]} of {read[0]} for {modality}, which is not known here")
    kinds = [module.kind for module in modules]
    fits = {
        "sequence-classification": not kinds,
        "text-generation": kinds == ["LogitScore"],
        "feature-extraction": "Pooling" in kinds and "Dense" in kinds and "LogitScore" not in kinds,
    }
    if not fits[task]:
        raise HarnessError(
            f"{source.name} runs a Transformer for {task} with {', '.join(kinds) or 'nothing'} after it, which gives no "
            f"score of a pair that is known here"
        )


def _logit_score(source: ModelSource, modules: tuple[Module, ...]) -> LogitScore | None:
    if not modules or modules[0].kind != "LogitScore":
        return None
    config = modules[0].config
    if config.get("module_input_name", "causal_logits") != "causal_logits":
        raise HarnessError(f"{source.name}: its LogitScore reads {config['module_input_name']}, not the model's logits")
    true, false = config.get("true_token_id"), config.get("false_token_id")
    if true is None and false is None:
        raise HarnessError(f"{source.name}: its LogitScore names neither true_token_id nor false_token_id")
    if true is None:
        raise HarnessError(f"{source.name}: its LogitScore names false_token_id alone, so no word's logit is a score")
    return LogitScore(int(true), None if false is None else int(false))


def _processing(source: ModelSource, transformer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """processing_kwargs by kind. Raises HarnessError for one that would change inputs and is not known here."""
    known = {"text": {"max_length", "truncation", "padding"}, "common": {"return_tensors"}}
    asked: dict[str, dict[str, Any]] = transformer.get("processing_kwargs") or {}
    for kind, keys in known.items():
        for key, value in (asked.get(kind) or {}).items():
            if key not in keys or (key == "truncation" and value not in (True, "longest_first")):
                raise HarnessError(
                    f"{source.name} processes {kind} with {key}={value}, which is not known here and would change its inputs"
                )
    return asked


def _arguments(source: ModelSource, transformer: Mapping[str, Any]) -> dict[str, Any]:
    """What the tokenizer is opened with. Raises HarnessError for an argument that is not known here."""
    found: dict[str, Any] = {}
    for new, old in (
        ("processor_kwargs", "tokenizer_args"),
        ("model_kwargs", "model_args"),
        ("config_kwargs", "config_args"),
    ):
        given = transformer.get(new) or transformer.get(old) or {}
        known = {"model_max_length", "padding_side", "truncation_side"} if new == "processor_kwargs" else set[str]()
        strange = sorted(set(given) - known - _HARMLESS_ARGUMENTS)
        if strange:
            raise HarnessError(
                f"{source.name} is loaded with {strange[0]} ({new} of sentence_bert_config.json), which is not known here"
            )
        found |= given if known else {}
    return found


def _stated_length(
    transformer: Mapping[str, Any], asked: Mapping[str, Any], chat: Mapping[str, Any], arguments: Mapping[str, Any]
) -> int | None:
    places = (
        chat.get("max_length"),
        (asked.get("text") or {}).get("max_length"),
        arguments.get("model_max_length"),
        transformer.get("max_seq_length"),
    )
    return next((int(length) for length in places if length), None)


def _structured(source: ModelSource, template: str | None, form: str) -> bool:
    if form != "auto" or template is None:
        return form == "structured"
    if isinstance(source.tokenizer_config.get("chat_template"), list) and "chat_template.jinja" not in source.small:
        return True  # of several templates by name the library cannot tell, and takes lists of parts
    return source.config.get("model_type") not in _FLAT_MODELS and any(sign in template for sign in _STRUCTURED)


def _config_activation(source: ModelSource) -> str | None:
    """The activation that config.json states: sentence-transformers wrote it there before 5.4."""
    stated = (source.config.get("sentence_transformers") or {}).get("activation_fn")
    return stated or source.config.get("sbert_ce_default_activation_function")
