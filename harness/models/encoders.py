"""Text encoders: one vector a text. Shared by dense first stages and bi-encoder rerankers.

The recipe says how a text becomes a vector. Vectors are kept by content, so a text is encoded once
for each model, whatever task or run it comes from. Texts are taken in blocks of a fixed size, each
with a batch plan of its own, so a corpus of any size passes through the memory of one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..engine.fast import pack_pooled
from ..engine.options import Options
from ..engine.plan import Rows, compute_in_parts, plan_batches, run_plan
from ..engine.progress import Progress
from ..errors import HarnessError, MissingDependency
from ..files.digest import Digest
from .embedding_store import EmbeddingStore, Vectors
from .exact_head import exact_behind
from .loading import check_device, load_weights, torch_dtype
from .recipes import EncoderSpec, Recipe, Side, read_encoder
from .settings import Reader, read_settings, whole_number
from .source import ModelSource, found_here, snapshot
from .tokenization import Tokenizer, load_tokenizer, lower_case

if TYPE_CHECKING:
    from ..engine.scale_out import Workers

__all__ = ["Encoder", "Ids", "encoder_spec", "pad", "pool"]

Ids = NDArray[np.int32]
"""Token ids of one text."""

_BLOCK = 16_384
"""Texts that are planned together; a part of what decides the company a text is computed in."""
_TOKENIZED_AT_ONCE = 1_024
"""A tokenizer's answer takes about a hundred bytes a token; only the ids are kept."""


def encoder_spec(source: ModelSource, options: Options) -> EncoderSpec:
    """The spec of an encoder under these options. Settings: recipe (a name), max_length (tokens), and
    task (one task sentence for every data set). Raises HarnessError as `read_encoder` does.
    """
    readers: Mapping[str, Reader] = {"recipe": str, "max_length": whole_number, "task": str}
    chosen: Mapping[str, Any] = read_settings("bi-encoder", options.settings, readers)
    return read_encoder(source, options.dtype, **chosen)


class Encoder:
    """A model over a store of vectors; weights are loaded when the first vector is missing."""

    def __init__(
        self,
        source: ModelSource,
        spec: EncoderSpec,
        device: str,
        batch_tokens: int,
        cache: Path,
        *,
        trust: bool = False,
        workers: Workers | None = None,
    ) -> None:
        self.spec, self.batch_tokens, self._workers = spec, batch_tokens, workers
        self._store = EmbeddingStore(cache / "embeddings" / spec.fingerprint)
        self._opening = _EncoderOpening(source, spec, device, trust)
        self._runner = self._opening.runner(source)

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

    @property
    def tokenizer(self) -> Tokenizer | None:
        """The model's tokenizer, cutting at its length; None where the library runs the model."""
        return self._runner._tokenizer[0] if isinstance(self._runner, _Transformer) else None

    def token_ids(self, texts: Iterable[str], side: Side, task_prompt: str = "") -> list[list[int]]:
        """The ids that the model gets for each text; empty where the library runs the model."""
        return [ids.tolist() for ids, _ in self._encode_ids(texts, side, task_prompt)]

    def token_counts(self, texts: Iterable[str], side: Side, task_prompt: str = "") -> NDArray[np.int64]:
        """Shape (texts, 2): tokens that the model gets, tokens that truncation takes; zeros where the library runs it."""
        counts = [(len(ids), lost) for ids, lost in self._encode_ids(texts, side, task_prompt)]
        return np.array(counts, np.int64).reshape(-1, 2)

    def _encode_ids(self, texts: Iterable[str], side: Side, task_prompt: str) -> Iterator[tuple[Ids, int]]:
        prompt = self.spec.recipe.prompt(side, task_prompt)
        for block in _blocks(texts, _BLOCK):
            yield from self._runner.token_ids([prompt + text for text in block])

    def _keys(self, texts: Iterable[str], side: Side, prompt: str) -> NDArray[np.bytes_]:
        """One S16 key a text: its content; in half precision, where batching moves vectors, its block's too."""
        owner = side if self.spec.recipe.library else ""
        parts = []
        for block in _blocks(texts, _BLOCK):
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
        for number, block in enumerate(_blocks(texts, _BLOCK)):
            part = slice(number * _BLOCK, number * _BLOCK + len(block))
            if missing[part].any():
                chosen = np.flatnonzero(first[part])
                batch = self._runner.prepare([block[place] for place in chosen], side, prompt)
                self._fill_block(batch, (side, prompt), keys[part][chosen], missing[part][chosen], progress)
        progress.finish()

    def _fill_block(
        self, batch: _Batchable, kind: tuple[Side, str], keys: NDArray[np.bytes_], missing: NDArray[np.bool_],
        progress: Progress,
    ) -> None:  # fmt: skip
        def texts(rows: Rows) -> list[str]:
            return [batch.texts[row] for row in rows]

        def commit(rows: Rows, vectors: NDArray[np.float32]) -> None:
            self._store.add(keys[rows], self._finished(vectors, texts(rows)))
            progress.advance(len(rows), int(batch.lengths[rows].sum()))

        plan = plan_batches(batch.lengths, self.batch_tokens)
        if self._workers is None:
            run_plan(plan, missing, batch.vectors, commit)
            return

        def receive(answers: Sequence[tuple[Rows, NDArray[np.float32]]]) -> None:
            for rows, vectors in answers:
                commit(rows, vectors)

        self._workers.run_plan(plan, missing, self._opening, kind, texts, receive)

    def _finished(self, vectors: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors, normalised where the recipe says so. Raises HarnessError where one is not finite."""
        with np.errstate(over="ignore"):
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        for row in np.flatnonzero(~np.isfinite(norms[:, 0])).tolist():
            raise HarnessError(f'{self.spec.name} gave a vector that is not finite, for the text "{texts[row][:60]}"')
        return vectors / np.maximum(norms, np.float32(1e-12)) if self.spec.recipe.normalize else vectors


@dataclass(frozen=True)
class _EncoderOpening:
    """An encoder as workers open it, without a store: `Opening` of scale_out."""

    source: ModelSource
    spec: EncoderSpec
    device: str
    trust: bool

    def runner(self, source: ModelSource) -> _Runner:
        """What computes the vectors, from the files of `source`."""
        kind = _Library if self.spec.recipe.library else _Transformer
        return kind(source, self.spec, self.device, trust=self.trust)

    def open(self) -> Callable[[tuple[Side, str]], Callable[[Sequence[str]], NDArray[np.float32]]]:
        """A side and its prompt → texts → their vectors. Raises HarnessError where the model's files are not here."""
        runner = self.runner(found_here(self.source))
        parts = 1

        def vectors(texts: Sequence[str], side: Side, prompt: str) -> NDArray[np.float32]:
            nonlocal parts
            batch = runner.prepare(texts, side, prompt)
            found, parts = compute_in_parts(np.arange(len(texts)), parts, batch.vectors)
            return found

        return lambda kind: lambda texts: vectors(texts, *kind)


class _Batchable(Protocol):
    """The texts of a block, ready to be encoded in any batches."""

    texts: Sequence[str]
    lengths: NDArray[np.int64]

    def vectors(self, rows: Rows) -> NDArray[np.float32]: ...


class _Runner(Protocol):
    """What turns texts into pooled vectors, not normalised."""

    def __init__(self, source: ModelSource, spec: EncoderSpec, device: str, *, trust: bool) -> None: ...

    def prepare(self, texts: Sequence[str], side: Side, prompt: str) -> _Batchable: ...

    def token_ids(self, texts: Sequence[str]) -> list[tuple[Ids, int]]: ...


class _Transformer:
    """A transformers model run by ourselves: tokenizer, forward pass, pooling."""

    def __init__(self, source: ModelSource, spec: EncoderSpec, device: str, *, trust: bool) -> None:
        self._source, self._spec, self._device, self._trust = source, spec, device, trust

    @cached_property
    def _tokenizer(self) -> tuple[Tokenizer, list[int]]:
        return _open_tokenizer(self._source, self._spec.recipe)

    @cached_property
    def _model(self) -> Any:
        """A packed encoder or decoder of `fast`, or the transformers model where its architecture has no fast path."""
        model = load_weights(
            "AutoModel", snapshot(self._source), self._spec.name,
            dtype=self._spec.dtype, device=self._device, trust_remote_code=self._trust,
        )  # fmt: skip
        return pack_pooled(model, self._spec.recipe.pooling) or model

    def prepare(self, texts: Sequence[str], side: Side, prompt: str) -> _TokenizedBlock:
        return _TokenizedBlock(self, texts, [ids for ids, _ in self.token_ids([prompt + text for text in texts])])

    def token_ids(self, texts: Sequence[str]) -> list[tuple[Ids, int]]:
        """For each text its ids after truncation, and how many truncation took."""
        tokenizer, ending = self._tokenizer
        found = []
        for some in _blocks(texts, _TOKENIZED_AT_ONCE):
            for entry in tokenizer.backend.encode_batch(some):
                lost = sum(part.special_tokens_mask.count(0) for part in entry.overflowing)
                found.append((np.array(entry.ids + ending, np.int32), lost))
        return found

    def pooled(self, rows: Sequence[Ids]) -> NDArray[np.float32]:
        """One vector for each row of ids."""
        import torch

        from ..engine.fast.decoder import PackedDecoder
        from ..engine.fast.packed import PackedEncoder

        if isinstance(self._model, PackedEncoder | PackedDecoder):
            return self._model.pooled(rows, self._spec.recipe.pooling)
        ids, mask = pad(rows, self._tokenizer[0].pad_id)
        ids, mask = ids.to(self._device), mask.to(self._device)
        with torch.inference_mode():
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            found: NDArray[np.float32] = pool(hidden, mask, self._spec.recipe.pooling).cpu().numpy()
        return found


class _TokenizedBlock:
    """Token ids of a block's texts."""

    def __init__(self, runner: _Transformer, texts: Sequence[str], ids: list[Ids]) -> None:
        self._runner, self.texts, self._ids = runner, texts, ids
        self.lengths = np.array([len(row) for row in ids], np.int64)

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        return self._runner.pooled([self._ids[row] for row in rows])


class _Library:
    """A model with modules of its own, run by sentence-transformers."""

    def __init__(self, source: ModelSource, spec: EncoderSpec, device: str, *, trust: bool) -> None:
        self._source, self._spec, self._device, self._trust = source, spec, device, trust

    def prepare(self, texts: Sequence[str], side: Side, prompt: str) -> _LibraryBlock:
        return _LibraryBlock(self, texts, side, prompt)

    def token_ids(self, texts: Sequence[str]) -> list[tuple[Ids, int]]:
        return [(np.empty(0, np.int32), 0)] * len(texts)

    @cached_property
    def model(self) -> Any:
        """The SentenceTransformer. Raises MissingDependency where the package is not installed."""
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError:
            who = f"{self._spec.name} (modules of its own)"
            raise MissingDependency(who, "sentence-transformers", "pip install sentence-transformers") from None
        if self._source.adapter is not None:
            raise HarnessError(f"{self._spec.name}: an adapter of a model with modules of its own cannot be merged")
        check_device(self._device)
        model = SentenceTransformer(
            str(snapshot(self._source)),
            device=self._device,
            trust_remote_code=self._trust,
            model_kwargs={"dtype": torch_dtype(self._spec.dtype)},
        )
        model.max_seq_length = self._spec.recipe.max_length
        return model if self._spec.dtype == "float32" else exact_behind(model)


class _LibraryBlock:
    """Texts of one side with their prompt, which a model may leave out of its pooling."""

    def __init__(self, runner: _Library, texts: Sequence[str], side: Side, prompt: str) -> None:
        self._runner, self.texts, self._side, self._prompt = runner, texts, side, prompt
        # Only for the plan: how the model cuts its texts is not ours to know.
        self.lengths = np.array([len(prompt + text) // 4 + 1 for text in texts], np.int64)

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        vectors = self._runner.model.encode(
            [self.texts[row] for row in rows],
            prompt=self._prompt,
            task=self._side,
            batch_size=len(rows),
            show_progress_bar=False,
            convert_to_tensor=True,
        )
        found: NDArray[np.float32] = vectors.float().cpu().numpy()
        return found


def _open_tokenizer(source: ModelSource, recipe: Recipe) -> tuple[Tokenizer, list[int]]:
    """The tokenizer, cutting at the recipe's length, and the ids to append to what it gives."""
    tokenizer = load_tokenizer(snapshot(source), source.config)
    if recipe.lower_case:
        lower_case(tokenizer.backend)
    ending = _missing_ending(source, tokenizer) if recipe.bos_and_eos else []
    specials = tokenizer.specials_in(pair=False) + len(ending)
    if recipe.max_length <= specials:
        raise HarnessError(f"{source.name} puts {specials} special tokens around a text; max_length must be more")
    tokenizer.backend.enable_truncation(recipe.max_length - len(ending))
    return tokenizer, ending


def _missing_ending(source: ModelSource, tokenizer: Tokenizer) -> list[int]:
    """[EOS] where the tokenizer does not append it itself. Raises HarnessError where it puts no BOS first."""
    bos, eos = source.config.get("bos_token_id"), source.config.get("eos_token_id")
    if not (isinstance(bos, int) and isinstance(eos, int)):
        raise HarnessError(
            f"{source.name}: config.json states no bos_token_id and eos_token_id, which its recipe needs"
        )
    around_nothing = tokenizer.backend.encode("").ids
    if around_nothing[:1] != [bos]:
        raise HarnessError(
            f"{source.name}: its tokenizer does not put the BOS token (id {bos}) before a text; "
            f"vectors without it are not the ones its authors publish"
        )
    return [] if around_nothing[-1] == eos else [eos]


def _blocks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    remaining = iter(texts)
    while block := list(islice(remaining, size)):
        yield block


def pad(rows: Sequence[Ids | list[int]], pad_id: int) -> tuple[Any, Any]:
    """Two tensors of shape (rows, longest row): the ids padded on the right, and the mask, 0 on padding."""
    import torch

    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad_id, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.as_tensor(row)
        mask[place, : len(row)] = 1
    return ids, mask


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
