"""Text encoders: one vector a text. Shared by dense first stages and bi-encoder rerankers.

The recipe says how a text becomes a vector. Vectors are kept by content, so a text is encoded once
for each model, whatever task or run it comes from. Texts are taken in blocks of a fixed size, each
with a batch plan of its own, so a corpus of any size passes through the memory of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..engine.actor import Opening
from ..engine.fast import joined, knows_t5, note_of
from ..engine.options import Options
from ..engine.parcels import Parcel
from ..engine.plan import Rows, compute_in_parts, plan_batches, run_plan
from ..engine.progress import Progress
from ..errors import HarnessError
from ..files.digest import Digest
from .embedding_store import STORED, EmbeddingStore, Vectors, rounded
from .recipes import EncoderSpec, Side, read_encoder
from .runners import Batchable, Ids, LibraryRunner, Runner, TransformerRunner, blocks
from .settings import Reader, one_of, read_settings, whole_number
from .source import ModelSource, found_here, lacking_here, parcels_of
from .tokenization import Tokenizer
from .twice import PROBES, compare_loads

if TYPE_CHECKING:
    from ..engine.scale_out import Workers

__all__ = ["Encoder", "encoder_note", "encoder_spec"]

_BLOCK = 16_384
"""Texts that are planned together; a part of what decides the company a text is computed in."""


def encoder_spec(source: ModelSource, options: Options) -> EncoderSpec:
    """The spec of an encoder under these options. Settings: recipe (a name), max_length (tokens),
    task (one task sentence for every data set), and vectors (the type on disk, one of STORED). Raises
    HarnessError as `read_encoder` does.
    """
    readers: Mapping[str, Reader] = {"recipe": str, "max_length": whole_number, "task": str, "vectors": one_of(*STORED)}
    chosen: Mapping[str, Any] = read_settings("bi-encoder", options.settings, readers)
    return read_encoder(source, options, **chosen)


def encoder_note(source: ModelSource, spec: EncoderSpec) -> str | None:
    """What there is to say of an encoder: of its files, its recipe, and whether it runs padded."""
    known = False if spec.recipe.library else knows_t5(source.config, spec.dtype) or None
    return note_of(source.config, joined(source.note, spec.note), known=known)


class Encoder:
    """A model over a store of vectors; weights are loaded when the first vector is missing."""

    def __init__(self, source: ModelSource, spec: EncoderSpec, options: Options, cache: Path) -> None:
        self.spec, self.batch_tokens, self.device = spec, options.batch_tokens, options.device
        self._workers: Workers | None = options.workers
        self._store = EmbeddingStore(cache / "embeddings" / spec.fingerprint, spec.stored)
        self._opening = _EncoderOpening(source, spec, replace(options, workers=None))
        self._runner = self._opening.runner(source)
        self._compared = False

    def encode(self, texts: Iterable[str], side: Side, task_prompt: str = "") -> Vectors:
        """One float32 vector a text, in order, normalised where the recipe says so.

        `task_prompt` is the data set's task sentence. Those already stored are not computed again;
        where any is missing, `texts` is gone through a second time. Raises HarnessError for a
        vector that is not finite, and for what `load_weights` refuses.
        """
        texts = list(texts) if isinstance(texts, Iterator) else texts
        prompt = self.spec.recipe.prompt(side, task_prompt)
        keys = self._keys(texts, side, prompt)
        rows = self._store.find(keys)
        if (rows < 0).any():
            self._fill(texts, side, prompt, keys, rows < 0)
            rows = self._store.find(keys)
        if (rows < 0).any():
            raise HarnessError(f"the vectors of {self.spec.name} do not stay on the disk: look at its health")
        return self._store.vectors(rows)

    def compute(self, texts: Sequence[str], side: Side, task_prompt: str = "") -> NDArray[np.float32]:
        """The vectors as `encode` gives them, computed here and now whatever is stored, and stored nowhere: (texts, dimensions)."""
        batch = self._runner.prepare(list(texts), side, self.spec.recipe.prompt(side, task_prompt))
        found: list[NDArray[np.float32]] = []
        plan = plan_batches(batch.lengths, self.batch_tokens)
        run_plan(plan, np.ones(len(texts), bool), batch.vectors, lambda _, vectors: found.append(vectors))
        order = np.argsort(np.concatenate(plan))
        return rounded(self._finished(np.concatenate(found)[order], texts), self.spec.stored)

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer, cutting at its length; None where the library runs the model."""
        return self._runner.tokenizer[0] if isinstance(self._runner, TransformerRunner) else None

    def token_ids(self, texts: Iterable[str], side: Side, task_prompt: str = "") -> list[list[int]]:
        """The ids that the model gets for each text; empty where the library runs the model."""
        return [ids.tolist() for ids, _ in self._encode_ids(texts, side, task_prompt)]

    def token_counts(self, texts: Iterable[str], side: Side, task_prompt: str = "") -> NDArray[np.int64]:
        """Shape (texts, 2): tokens that the model gets, tokens that truncation takes; zeros where the library runs it."""
        counts = [(len(ids), lost) for ids, lost in self._encode_ids(texts, side, task_prompt)]
        return np.array(counts, np.int64).reshape(-1, 2)

    def _encode_ids(self, texts: Iterable[str], side: Side, task_prompt: str) -> Iterator[tuple[Ids, int]]:
        prompt = self.spec.recipe.prompt(side, task_prompt)
        for block in blocks(texts, _BLOCK):
            yield from self._runner.token_ids([prompt + text for text in block])

    def _keys(self, texts: Iterable[str], side: Side, prompt: str) -> NDArray[np.bytes_]:
        """One S16 key a text: its content; in half precision, where batching moves vectors, its block's too."""
        owner = side if self.spec.recipe.library else ""
        parts = []
        for block in blocks(texts, _BLOCK):
            keys = [Digest().add("text", owner, prompt, text).bytes() for text in block]
            if self.spec.dtype != "float32":
                company = Digest().add(str(self.batch_tokens), *keys).bytes()
                keys = [Digest().add("half precision", company, key).bytes() for key in keys]
            parts.append(np.array(keys, "S16"))
        return np.concatenate(parts) if parts else np.empty(0, "S16")

    def _fill(
        self, texts: Iterable[str], side: Side, prompt: str, keys: NDArray[np.bytes_], missing: NDArray[np.bool_]
    ) -> None:
        first = np.zeros(len(keys), bool)
        first[np.unique(keys, return_index=True)[1]] = True
        missing = missing & first
        progress = Progress(self.spec.name, int(first.sum()), int((first & ~missing).sum()), "texts")
        for number, block in enumerate(blocks(texts, _BLOCK)):
            part = slice(number * _BLOCK, number * _BLOCK + len(block))
            if missing[part].any():
                chosen = np.flatnonzero(first[part])
                batch = self._runner.prepare([block[place] for place in chosen], side, prompt)
                self._fill_block(batch, (side, prompt), keys[part][chosen], missing[part][chosen], progress)
        progress.finish()

    def _fill_block(
        self, batch: Batchable, kind: tuple[Side, str], keys: NDArray[np.bytes_], missing: NDArray[np.bool_],
        progress: Progress,
    ) -> None:  # fmt: skip
        def texts(rows: Rows) -> list[str]:
            return [batch.texts[row] for row in rows]

        def commit(rows: Rows, vectors: NDArray[np.float32]) -> None:
            self._store.add(keys[rows], self._finished(vectors, texts(rows)))
            progress.advance(len(rows), int(batch.lengths[rows].sum()))

        plan = plan_batches(batch.lengths, self.batch_tokens)
        if self._workers is None:
            if not self._compared:
                self.compare_loads(batch.texts[:PROBES], *kind)
            run_plan(plan, missing, batch.vectors, commit)
            return

        def receive(answers: Sequence[tuple[Rows, NDArray[np.float32]]]) -> None:
            for rows, vectors in answers:
                commit(rows, vectors)

        self._workers.run_plan(plan, missing, self._opening, kind, texts, receive)

    def compare_loads(self, texts: Sequence[str], side: Side, prompt: str) -> float:
        """The largest difference between the vectors of `texts` in two separate loads. Raises HarnessError as `twice` does."""
        self._compared = True
        return self._opening.compare_loads(self._runner, texts, side, prompt)

    def _finished(self, vectors: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors, normalised where the recipe says so. Raises HarnessError where one is not finite."""
        with np.errstate(over="ignore"):
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        for row in np.flatnonzero(~np.isfinite(norms[:, 0])).tolist():
            raise HarnessError(f'{self.spec.name} gave a vector that is not finite, for the text "{texts[row][:60]}"')
        return vectors / np.maximum(norms, np.float32(1e-12)) if self.spec.recipe.normalize else vectors


@dataclass(frozen=True)
class _EncoderOpening(Opening):
    """An encoder as workers open it, without a store."""

    source: ModelSource
    spec: EncoderSpec
    options: Options

    def parcels(self) -> list[Parcel]:
        """The folders of its model."""
        return parcels_of(self.source)

    def lacking(self) -> list[Parcel]:
        """Those that this machine has not."""
        return lacking_here(self.source)

    def runner(self, source: ModelSource) -> Runner:
        """What computes the vectors, from the files of `source`."""
        kind = LibraryRunner if self.spec.recipe.library else TransformerRunner
        return kind(source, self.spec, self.options)

    def compare_loads(self, runner: Runner, texts: Sequence[str], side: Side, prompt: str) -> float:
        """The largest difference between the vectors of `runner` and of another load of the same files."""

        def vectors(loaded: Runner) -> NDArray[np.float32]:
            batch = loaded.prepare(texts, side, prompt)
            return batch.vectors(np.arange(len(texts)))

        def once() -> NDArray[np.float32]:
            return vectors(self.runner(runner.source))

        return compare_loads(self.spec.name, self.spec.dtype, once, lambda: vectors(runner))

    def open(self) -> Callable[[tuple[Side, str]], Callable[[Sequence[str]], NDArray[np.float32]]]:
        """A side and its prompt → texts → their vectors. Raises HarnessError where the model's files are not here."""
        runner = self.runner(found_here(self.source))
        parts, compared = 1, False

        def vectors(texts: Sequence[str], side: Side, prompt: str) -> NDArray[np.float32]:
            nonlocal parts, compared
            if not compared:
                self.compare_loads(runner, texts[:PROBES], side, prompt)
                compared = True
            batch = runner.prepare(texts, side, prompt)
            found, parts = compute_in_parts(np.arange(len(texts)), parts, batch.vectors)
            return found

        return lambda kind: lambda texts: vectors(texts, *kind)
