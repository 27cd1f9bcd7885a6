"""vLLM as the engine of a causal reranker: faster on a GPU, rounded otherwise than transformers.

vLLM gives log-probabilities, not logits. Only the two labels are allowed as the next token, and the
log-probabilities are asked for after that rule (`logprobs_mode="processed_logprobs"`): by default
vLLM gives those from before it, of the most probable words of the whole vocabulary, and a label
that is not among them would be missing. The difference of two log-probabilities is the difference of
the logits, whatever they are normalised over.

Written from vLLM's documentation (docs.vllm.ai: LLM, SamplingParams, engine arguments) and its
sampler's code; it was not run against vLLM itself on the machine it was written on.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import HarnessError, MissingDependency

__all__ = ["label_margins", "need_vllm", "open_engine"]


def need_vllm(name: str) -> None:
    """Raise MissingDependency where vLLM is not installed; imports nothing."""
    if importlib.util.find_spec("vllm") is None:
        raise MissingDependency(f"{name} with backend=vllm", "vllm", "pip install 'vllm>=0.10.2'")


def open_engine(folder: Path, *, dtype: str, longest: int, trust_remote_code: bool) -> Any:
    """A `vllm.LLM` of a model folder, for prompts of at most `longest` tokens and one token after them."""
    from vllm import LLM  # type: ignore[import-not-found, unused-ignore]

    return LLM(
        model=str(folder),
        dtype=dtype,
        max_model_len=longest + 1,
        trust_remote_code=trust_remote_code,
        logprobs_mode="processed_logprobs",
        # Rounded logits tie. Versions before mid-2026 keep the head in `dtype`, and warn.
        hf_overrides={"head_dtype": "float32"},
    )


def label_margins(
    engine: Any, prompts: Sequence[NDArray[np.int32]], positive: int, negative: int
) -> NDArray[np.float32]:
    """logit(positive) − logit(negative) after each prompt of token ids, float32, shape (prompts,).

    `engine` is a `vllm.LLM` as `open_engine` makes it. Raises HarnessError where a label's
    log-probability does not come back.
    """
    from vllm import SamplingParams

    labels = [positive, negative]
    sampling = SamplingParams(temperature=0.0, max_tokens=1, logprobs=2, allowed_token_ids=labels, detokenize=False)
    asked = [{"prompt_token_ids": prompt.tolist()} for prompt in prompts]
    margins = np.empty(len(prompts), np.float32)
    for row, answer in enumerate(engine.generate(asked, sampling, use_tqdm=False)):
        (found,) = answer.outputs[0].logprobs
        if not found.keys() >= set(labels):
            raise HarnessError(
                f"vLLM gave log-probabilities of the tokens {sorted(found)}, not of the labels {positive} and {negative}; "
                f"it must be 0.10.2 or newer"
            )
        margins[row] = found[positive].logprob - found[negative].logprob
    return margins
