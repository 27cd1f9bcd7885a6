"""What turns texts into vectors: a transformers model run by ourselves, or sentence-transformers itself.

Tokenizer and weights are loaded when they are first needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..engine.fast import pack_pooled
from ..engine.options import Options
from ..engine.plan import Rows
from ..errors import HarnessError
from .ids.company import Company
from .ids.framed import rows_with_specials
from .library import load_library
from .loading import body_class, load_weights
from .recipes import EncoderSpec, Recipe, Side
from .running import explaining
from .source import ModelSource, snapshot
from .tokenization import Tokenizer, load_tokenizer, lower_case

__all__ = ["Batchable", "Ids", "LibraryRunner", "Runner", "TransformerRunner", "blocks", "pad", "pool"]

Ids = NDArray[np.int32]
"""Token ids of one text."""


class Batchable(Protocol):
    """The texts of a block, ready to be encoded in any batches."""

    texts: Sequence[str]
    lengths: NDArray[np.int64]

    def vectors(self, rows: Rows) -> NDArray[np.float32]: ...


class Runner(Protocol):
    """What turns texts into pooled vectors, not normalised."""

    source: ModelSource

    def __init__(self, source: ModelSource, spec: EncoderSpec, options: Options) -> None: ...

    def prepare(self, texts: Sequence[str], side: Side, prompt: str) -> Batchable: ...

    def token_ids(self, texts: Sequence[str]) -> list[tuple[Ids, int]]: ...


class TransformerRunner:
    """A transformers model run by ourselves: tokenizer, forward pass, pooling."""

    def __init__(self, source: ModelSource, spec: EncoderSpec, options: Options) -> None:
        self.source, self._spec, self._options = source, spec, options

    @cached_property
    def tokenizer(self) -> tuple[Tokenizer, list[int]]:
        return _open_tokenizer(self.source, self._spec.recipe)

    @cached_property
    def _model(self) -> Any:
        """A packed encoder or decoder of `fast`, or the transformers model where its architecture has no fast path."""
        model = load_weights(body_class(self.source), self.source, self._options)
        return pack_pooled(model, self._spec.recipe.pooling) or model

    def prepare(self, texts: Sequence[str], side: Side, prompt: str) -> _TokenizedBlock:
        return _TokenizedBlock(self, texts, [ids for ids, _ in self.token_ids([prompt + text for text in texts])])

    def token_ids(self, texts: Sequence[str]) -> list[tuple[Ids, int]]:
        """For each text its ids after truncation, and how many truncation took."""
        tokenizer, ending = self.tokenizer
        last = np.array(ending, np.int32)
        return [(np.concatenate([row, last]), lost) for row, lost in rows_with_specials(tokenizer.backend, texts)]

    def pooled(self, rows: Sequence[Ids]) -> NDArray[np.float32]:
        """One vector for each row of ids."""
        from ..engine.fast.decoder import PackedDecoder
        from ..engine.fast.packed import PackedEncoder

        if isinstance(self._model, PackedEncoder | PackedDecoder):
            with explaining(self.source, "its forward pass"):
                return self._model.pooled(rows, self._spec.recipe.pooling)
        return self._company.answers(
            [len(row) for row in rows], lambda places: self._padded([rows[place] for place in places])
        )

    @cached_property
    def _company(self) -> Company:
        return Company(self.source.config, self._spec.dtype)

    def _padded(self, rows: Sequence[Ids]) -> NDArray[np.float32]:
        """As `pooled`, by transformers, padded to one length."""
        import torch

        ids, mask = pad(rows, self.tokenizer[0].pad_id)
        ids, mask = ids.to(self._options.device), mask.to(self._options.device)
        with torch.inference_mode(), explaining(self.source, "its forward pass"):
            hidden = self._model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            found: NDArray[np.float32] = pool(hidden, mask, self._spec.recipe.pooling).cpu().numpy()
        return found


class _TokenizedBlock:
    """Token ids of a block's texts."""

    def __init__(self, runner: TransformerRunner, texts: Sequence[str], ids: list[Ids]) -> None:
        self._runner, self.texts, self._ids = runner, texts, ids
        self.lengths = np.array([len(row) for row in ids], np.int64)

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        return self._runner.pooled([self._ids[row] for row in rows])


class LibraryRunner:
    """A model with modules of its own, run by sentence-transformers."""

    def __init__(self, source: ModelSource, spec: EncoderSpec, options: Options) -> None:
        self.source, self._spec, self._options = source, spec, options

    def prepare(self, texts: Sequence[str], side: Side, prompt: str) -> _LibraryBlock:
        return _LibraryBlock(self, texts, side, prompt)

    def token_ids(self, texts: Sequence[str]) -> list[tuple[Ids, int]]:
        return [(np.empty(0, np.int32), 0)] * len(texts)

    @cached_property
    def model(self) -> Any:
        """The SentenceTransformer. Raises as `load_library` does."""
        return load_library(self.source, self._options, self._spec.recipe.max_length)


class _LibraryBlock:
    """Texts of one side with their prompt, which a model may leave out of its pooling."""

    def __init__(self, runner: LibraryRunner, texts: Sequence[str], side: Side, prompt: str) -> None:
        self._runner, self.texts, self._side, self._prompt = runner, texts, side, prompt
        # Only for the plan: how the model cuts its texts is not ours to know.
        self.lengths = np.array([len(prompt + text) // 4 + 1 for text in texts], np.int64)

    def vectors(self, rows: Rows) -> NDArray[np.float32]:
        model = self._runner.model
        with explaining(self._runner.source, "its forward pass"):
            vectors = model.encode(
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


def blocks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    """The texts in lists of `size`, the last one shorter."""
    remaining = iter(texts)
    while block := list(islice(remaining, size)):
        yield block
