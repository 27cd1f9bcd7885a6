"""Text encoders: one vector a text. Shared by dense first stages and bi-encoder rerankers.

The recipe says how a text becomes a vector. Vectors are kept by content, so a text is encoded once
for each model, whatever task or run it comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .digest import Digest, digest_of_settings
from .embedding_store import EmbeddingStore
from .engine import Rows, plan_batches, plan_digest, run_plan
from .errors import HarnessError, MissingDependency
from .loading import load_weights
from .models import ModelSource, snapshot
from .recipes import EncoderSpec, Side
from .tokenization import load_tokenizer

__all__ = ["Encoder", "pool"]


class Encoder:
    """A loaded encoder over a store of vectors.

    `encode` gives float32 vectors of shape (texts, dimension), normalised where the recipe says so.
    """

    def __init__(
        self,
        source: ModelSource,
        spec: EncoderSpec,
        device: str,
        batch_tokens: int,
        cache: Path,
        *,
        trust: bool = False,
    ) -> None:
        self.source, self.spec, self.device = source, spec, device
        self.batch_tokens, self.cache, self.trust = batch_tokens, cache, trust
        self._tokenizer: Any = None
        self._model: Any = None

    def encode(
        self, texts: Sequence[str], side: Side, progress: Callable[[int], None] | None = None
    ) -> NDArray[np.float32]:
        """One vector a text, in order; those already stored are not computed again."""
        inputs = [self.spec.recipe.text(text, side) for text in texts]
        distinct = list(dict.fromkeys(inputs))
        keys = [Digest().add("text", text).bytes() for text in distinct]
        plan = None if self.spec.dtype == "float32" else self._plan(distinct)
        key = (
            self.spec.fingerprint
            if plan is None
            else digest_of_settings([("spec", self.spec.fingerprint), ("plan", plan_digest(plan))])
        )
        store = EmbeddingStore(self.cache / "embeddings" / f"{key}.bin")
        found, vectors = store.get(keys)
        if not found.all():
            plan = plan or self._plan(distinct)
            self._fill(store, distinct, keys, plan, ~found, progress)
            found, vectors = store.get(keys)
        if not found.all() or not np.isfinite(vectors).all():
            raise HarnessError(f"{self.spec.name} gave a vector that is not finite, for one of {len(distinct)} texts")
        place = {text: row for row, text in enumerate(distinct)}
        return vectors[[place[text] for text in inputs]]

    def lost_tokens(self, texts: Sequence[str], side: Side) -> NDArray[np.int64]:
        """Tokens that truncation takes from each text; zeros where the library runs the model."""
        if self.spec.recipe.library:
            return np.zeros(len(texts), np.int64)
        lost = []
        for start in range(0, len(texts), 10_000):
            inputs = [self.spec.recipe.text(text, side) for text in texts[start : start + 10_000]]
            lost += [sum(len(part.ids) for part in entry.overflowing) for entry in self._encode_ids(inputs)]
        return np.array(lost, np.int64)

    def _fill(
        self,
        store: EmbeddingStore,
        texts: Sequence[str],
        keys: Sequence[bytes],
        plan: list[Rows],
        missing: NDArray[np.bool_],
        progress: Callable[[int], None] | None,
    ) -> None:
        def compute(rows: Rows) -> NDArray[np.float32]:
            return self._compute([texts[row] for row in rows])

        def commit(rows: Rows, vectors: NDArray[np.float32]) -> None:
            store.add([keys[row] for row in rows], vectors)
            if progress:
                progress(len(rows))

        run_plan(plan, missing, compute, commit)

    def _plan(self, texts: Sequence[str]) -> list[Rows]:
        if self.spec.recipe.library:
            return plan_batches([len(text) // 4 + 1 for text in texts], self.batch_tokens)
        lengths = []
        for start in range(0, len(texts), 10_000):
            lengths += [len(entry.ids) for entry in self._encode_ids(texts[start : start + 10_000])]
        return plan_batches(lengths, self.batch_tokens)

    def _encode_ids(self, texts: Sequence[str]) -> list[Any]:
        if self._tokenizer is None:
            self._tokenizer = load_tokenizer(snapshot(self.source), self.source.config)
            self._tokenizer.backend.enable_truncation(self.spec.recipe.max_length)
        found: list[Any] = self._tokenizer.backend.encode_batch(list(texts))
        return found

    def _compute(self, texts: Sequence[str]) -> NDArray[np.float32]:
        vectors = self._by_library(texts) if self.spec.recipe.library else self._by_ourselves(texts)
        if self.spec.recipe.normalize:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(norms, 1e-12)
        return vectors.astype(np.float32)

    def _by_library(self, texts: Sequence[str]) -> NDArray[np.float32]:
        if self._model is None:
            try:
                from sentence_transformers import SentenceTransformer
            except ImportError:
                install = "pip install sentence-transformers"
                raise MissingDependency(
                    f"{self.spec.name} (modules of its own)", "sentence-transformers", install
                ) from None
            self._model = SentenceTransformer(
                str(snapshot(self.source)), device=self.device, trust_remote_code=self.trust
            )
            self._model.max_seq_length = self.spec.recipe.max_length
        vectors: NDArray[np.float32] = self._model.encode(
            list(texts), prompt="", batch_size=len(texts), show_progress_bar=False, convert_to_numpy=True
        )
        return np.asarray(vectors, np.float32)

    def _by_ourselves(self, texts: Sequence[str]) -> NDArray[np.float32]:
        import torch

        if self._model is None:
            self._model = load_weights(
                "AutoModel", snapshot(self.source), self.spec.name, dtype=self.spec.dtype, device=self.device,
                trust_remote_code=self.trust,
            )  # fmt: skip
        rows = [entry.ids for entry in self._encode_ids(texts)]
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self._tokenizer.pad_id, dtype=torch.long)
        mask = torch.zeros((len(rows), width), dtype=torch.long)
        for row, tokens in enumerate(rows):
            ids[row, : len(tokens)] = torch.tensor(tokens)
            mask[row, : len(tokens)] = 1
        ids, mask = ids.to(self.device), mask.to(self.device)
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            found: NDArray[np.float32] = pool(hidden, mask, self.spec.recipe.pooling).cpu().numpy()
        return found


def pool(hidden: Any, mask: Any, pooling: str) -> Any:
    """One vector a row of `hidden` (batch, tokens, dimension), padding (mask 0, on the right) left out."""
    import torch

    if pooling == "cls":
        return hidden[:, 0]
    if pooling == "lasttoken":
        last = mask.sum(1) - 1
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    weights = mask.unsqueeze(-1).float()
    if pooling == "max":
        return hidden.masked_fill(weights == 0, -torch.inf).amax(1)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
