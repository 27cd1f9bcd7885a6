"""What a causal reranker uses of vLLM, with the same call signatures, computed by transformers on the CPU.

It keeps vLLM's rules that matter here: which log-probabilities come back under which
`logprobs_mode`, the sampled token beside the `logprobs` most probable ones, at most `max_logprobs`,
and no prompt so long that no token fits behind it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MAX_LOGPROBS = 20


@dataclass
class SamplingParams:
    temperature: float = 1.0
    max_tokens: int | None = 16
    logprobs: int | None = None
    detokenize: bool = True
    allowed_token_ids: list[int] | None = None

    def __post_init__(self) -> None:
        if self.temperature != 0 or self.max_tokens != 1:
            raise NotImplementedError("one greedy token is all that is computed here")
        if (self.logprobs or 0) > MAX_LOGPROBS:
            raise ValueError(f"requested more than {MAX_LOGPROBS} log-probabilities")


@dataclass
class Logprob:
    logprob: float
    rank: int | None = None
    decoded_token: str | None = None


@dataclass
class CompletionOutput:
    index: int
    text: str
    token_ids: list[int]
    logprobs: list[dict[int, Logprob]] | None


@dataclass
class RequestOutput:
    prompt_token_ids: list[int]
    outputs: list[CompletionOutput]


class LLM:
    def __init__(
        self, model: str, *, trust_remote_code: bool = False, dtype: str = "auto", max_model_len: int,
        logprobs_mode: str = "raw_logprobs", hf_overrides: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        import torch
        import transformers

        self._model = transformers.AutoModelForCausalLM.from_pretrained(model, dtype=getattr(torch, dtype)).eval()
        positions = self._model.config.max_position_embeddings
        if positions is not None and max_model_len > positions:
            raise ValueError(f"max_model_len ({max_model_len}) is greater than the model's {positions}")
        self._longest, self._processed = (
            max_model_len,
            {"raw_logprobs": False, "processed_logprobs": True}[logprobs_mode],
        )

    def generate(
        self, prompts: list[dict[str, list[int]]], sampling_params: SamplingParams, *, use_tqdm: bool = True
    ) -> list[RequestOutput]:
        return [self._answer(prompt["prompt_token_ids"], sampling_params) for prompt in prompts]

    def _answer(self, ids: list[int], sampling: SamplingParams) -> RequestOutput:
        import torch

        assert all(type(token) is int for token in ids)
        if len(ids) + 1 > self._longest:
            raise ValueError(f"a prompt of {len(ids)} tokens leaves no room for one more in {self._longest}")
        with torch.inference_mode():
            logits = self._model(input_ids=torch.tensor([ids])).logits[0, -1].float()
        allowed = torch.full_like(logits, -torch.inf)
        kept = slice(None) if sampling.allowed_token_ids is None else sampling.allowed_token_ids
        allowed[kept] = logits[kept]
        sampled = int(allowed.argmax())
        logs = (allowed if self._processed else logits).log_softmax(-1)
        reported = [sampled, *logs.topk(sampling.logprobs or 0).indices.tolist()]
        found = {token: Logprob(float(logs[token])) for token in reported}
        return RequestOutput(ids, [CompletionOutput(0, "", [sampled], [found])])
