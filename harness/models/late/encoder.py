"""Texts as one unit vector a token, and what two of them score: what first stages and rerankers share of late interaction.

The score of a pair is Σ over the query's tokens of the largest dot product with a token of the document
(MaxSim; Khattab and Zaharia, arXiv 2004.12832). Queries are filled up with [MASK] tokens that are scored too;
punctuation of documents is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...engine.options import Options
from ...engine.plan import Rows, fitting, plan_batches
from ...errors import HarnessError
from ...text import JOIN_RULE
from ..ids.company import padding_setting
from ..ids.flat import FlatIds, Texts
from ..ids.framed import rows_with_specials
from ..loading import all_finite, load_weights, torch_dtype
from ..runners import pad
from ..running import explaining, numeric_settings
from ..settings import Reader, read_settings, whole_number
from ..source import ModelSource, snapshot
from ..tokenization import Tokenizer, load_tokenizer, token_limit
from .layouts import LateLayout, Projection, read_layout

__all__ = ["FAMILY", "TokenEncoder", "TokenRow", "TokenRows", "late_settings", "max_sim"]

FAMILY = "late-interaction"
VERSION = 1

_LINEAR = ("linear.weight", "linear.bias", "residual.weight")


def late_settings(source: ModelSource, options: Options) -> tuple[LateLayout, dict[str, object]]:
    """The layout with its lengths resolved, and everything that moves scores. Settings: query_length, document_length.

    Raises HarnessError for a layout that is not known, or lengths the model has no positions for.
    """
    readers: dict[str, Reader] = {"query_length": whole_number, "document_length": whole_number}
    chosen: Mapping[str, Any] = read_settings(FAMILY, options.settings, readers)
    # The lengths go before the tokenizer's own limit, as in PyLate; the positions bind both.
    stated = token_limit(source.config, source.tokenizer_config) or 512
    layout = replace(read_layout(source), **chosen)
    lengths = {"query": layout.query_length or stated, "document": layout.document_length or stated}
    limit = token_limit(source.config, {})
    for side, length in lengths.items():
        if limit is not None and length > limit:
            raise HarnessError(f"{source.name} takes at most {limit} tokens; {side}_length={length} is more")
    layout = replace(layout, query_length=lengths["query"], document_length=lengths["document"])
    return layout, {
        **asdict(layout),
        **numeric_settings(source, options),
        **padding_setting(source.config),
        "join": JOIN_RULE,
        "version": VERSION,
    }


class TokenRow(NamedTuple):
    """A text as the model gets it."""

    ids: NDArray[np.int32]
    seen: NDArray[np.bool_]
    """Which tokens the attention layers see."""
    scored: NDArray[np.bool_]
    """Which tokens count in the score."""


@dataclass(frozen=True)
class TokenRows(Sequence[TokenRow]):
    """The rows of many texts, each made when it is asked for."""

    row: Callable[[int], TokenRow]
    lengths: NDArray[np.int64]
    """Tokens of each row, shape (texts,)."""
    lost: NDArray[np.int64]
    """Tokens that truncation took from each text."""

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, place: Any) -> Any:
        return [self.row(one) for one in range(len(self))[place]] if isinstance(place, slice) else self.row(place)


class TokenEncoder:
    """Tokenizer and weights of a late-interaction model; both are loaded when they are first needed."""

    def __init__(self, source: ModelSource, options: Options, layout: LateLayout) -> None:
        self.source, self.options, self.layout = source, options, layout

    def token_vectors(self, rows: Sequence[TokenRow]) -> list[Any]:
        """For each row a float32 tensor (scored tokens, dimension) of unit vectors, on the model's device."""
        import torch

        if len({len(row.ids) for row in rows}) > 1 and padding_setting(self.source.config):
            return [vectors for row in rows for vectors in self.token_vectors([row])]
        ids, _ = pad([row.ids for row in rows], self._tokenizer.pad_id)
        mask, _ = pad([row.seen.astype(np.int32) for row in rows], 0)
        device = self.options.device
        with torch.inference_mode(), explaining(self.source, "its forward pass"):
            hidden = self._model(input_ids=ids.to(device), attention_mask=mask.to(device)).last_hidden_state
            for project in self._projections:
                hidden = project(hidden)
            vectors = torch.nn.functional.normalize(hidden.float(), dim=-1)
            return [
                vectors[place, : len(row.ids)][torch.as_tensor(row.scored, device=device)]
                for place, row in enumerate(rows)
            ]

    def in_batches(self, rows: TokenRows) -> list[Any]:
        """As `token_vectors`, of any number of rows, in batches that are a function of all of them.

        A batch for which memory runs out is computed in halves, and every later one in as many parts.
        """
        found: dict[int, Any] = {}
        parts = 1
        for batch in plan_batches(rows.lengths, self.options.batch_tokens):
            vectors, parts = fitting(parts, len(batch), partial(self._in_parts, rows, batch))
            found |= dict(zip(batch.tolist(), vectors, strict=True))
        return [found[place] for place in range(len(rows))]

    def _in_parts(self, rows: TokenRows, batch: Rows, parts: int) -> list[Any]:
        pieces = np.array_split(batch, min(parts, len(batch)))
        return [vectors for piece in pieces for vectors in self.token_vectors([rows[place] for place in piece])]

    def query_rows(self, texts: Sequence[str]) -> TokenRows:
        """Queries as the model gets them, filled up where its authors fill them up."""
        layout = self.layout
        ids, lost = self._encode(texts, layout.query_prompt, layout.query_marker, layout.query_length)

        def row(place: int) -> TokenRow:
            own = ids[place]
            missing = (layout.query_length or 0) - len(own) if layout.expansion else 0
            filled = np.concatenate([own, np.full(missing, self._expansion_id if missing else 0, np.int32)])
            seen = np.ones(len(filled), bool)
            seen[len(own) :] = layout.attend
            return TokenRow(filled, seen, np.ones(len(filled), bool))

        lengths = np.maximum(ids.counts, layout.query_length or 0) if layout.expansion else ids.counts
        return TokenRows(row, lengths, lost)

    def document_rows(self, texts: Sequence[str]) -> TokenRows:
        """Documents as the model gets them, their punctuation unscored where its authors leave it out."""
        layout = self.layout
        ids, lost = self._encode(texts, layout.document_prompt, layout.document_marker, layout.document_length)

        def row(place: int) -> TokenRow:
            own = ids[place]
            return TokenRow(own, np.ones(len(own), bool), ~np.isin(own, self._skipped))

        return TokenRows(row, ids.counts, lost)

    def _encode(
        self, texts: Sequence[str], prompt: str, marker: str, length: int | None
    ) -> tuple[FlatIds, NDArray[np.int64]]:
        """Ids with the marker, cut to `length`, and how many tokens each text lost."""
        backend = self._tokenizer.backend
        inserted = np.array([self._id_of(marker)] if marker else [], np.int32)
        specials = self._tokenizer.specials_in(pair=False) + len(inserted)
        if length is not None and length <= specials:
            raise HarnessError(f"{self.source.name} puts {specials} special tokens around a text; {length} are too few")
        backend.enable_truncation((length or 0) - len(inserted))
        lost = np.zeros(len(texts), np.int64)

        def rows() -> Iterator[NDArray[np.int32]]:
            for place, (ids, cut) in enumerate(rows_with_specials(backend, Texts(texts, lambda text: prompt + text))):
                lost[place] = cut
                yield np.concatenate([ids[:1], inserted, ids[1:]])

        return FlatIds.of(rows()), lost

    def _id_of(self, token: str) -> int:
        """The id of a token, which PyLate saves with the space after it. Raises HarnessError for an unknown one."""
        ids = (self._tokenizer.backend.token_to_id(name) for name in (token, token.strip()))
        found = next((number for number in ids if number is not None), None)
        if found is None:
            raise HarnessError(f'{self.source.name}: its tokenizer has no token "{token}"')
        return int(found)

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer, cutting where a text was cut last."""
        return self._tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return load_tokenizer(snapshot(self.source), self.source.config)

    @cached_property
    def _expansion_id(self) -> int:
        token = self.layout.expansion_token
        for name in ("mask_token", "eos_token"):
            stated = self.source.tokenizer_config.get(name)
            token = token or (stated.get("content") if isinstance(stated, dict) else stated)
        if not token:
            raise HarnessError(f"{self.source.name}: tokenizer_config.json names neither mask_token nor eos_token")
        return self._id_of(token)

    @cached_property
    def _skipped(self) -> list[int]:
        ids = (self._tokenizer.backend.token_to_id(word) for word in self.layout.skiplist)
        return [number for number in ids if number is not None]

    @cached_property
    def _model(self) -> Any:
        return load_weights("AutoModel", self.source, self.options)

    @cached_property
    def _projections(self) -> list[Any]:
        return [_Projection(self.source, projection, self.options) for projection in self.layout.projections]


class _Projection:
    """A linear map of every token's vector."""

    def __init__(self, source: ModelSource, projection: Projection, options: Options) -> None:
        weights = _read_linear(source, projection.folder)
        self._residual = projection.residual
        self._weights = {
            name: weight.to(device=options.device, dtype=torch_dtype(options.dtype)) for name, weight in weights.items()
        }

    def __call__(self, hidden: Any) -> Any:
        """Shape (batch, tokens, in) → (batch, tokens, out)."""
        import torch

        linear = torch.nn.functional.linear
        found = linear(hidden, self._weights["linear.weight"], self._weights.get("linear.bias"))
        if not self._residual:
            return found
        other = self._weights.get("residual.weight")
        return found + (hidden if other is None else linear(hidden, other))


def _read_linear(source: ModelSource, folder: str) -> dict[str, Any]:
    """The weights of the linear map in a folder of the model (empty: among its transformer's)."""
    import torch
    from safetensors import safe_open

    found: dict[str, Any] = {}
    for file in source.weight_files():
        path = snapshot(source) / file
        if file.rpartition("/")[0] != folder or file.endswith(".json"):
            continue
        if file.endswith(".safetensors"):
            with safe_open(path, "pt") as weights:
                found |= {name: weights.get_tensor(name) for name in weights.keys() if name in _LINEAR}  # noqa: SIM118
        else:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
            found |= {name: weight for name, weight in loaded.items() if name in _LINEAR}
    if "linear.weight" not in found:
        raise HarnessError(f"{source.name}: its files lack linear.weight, the projection of its tokens' vectors")
    for name, weight in found.items():
        if not all_finite(weight):
            raise HarnessError(f"{source.name}: the weight {name} holds NaN or infinite values")
    return found


def max_sim(queries: Sequence[Any], document: Any) -> NDArray[np.float32]:
    """Σ over a query's token vectors of the largest dot product with one of the document's, for each query."""
    import torch

    with torch.inference_mode():
        best = (torch.cat(list(queries)) @ document.T).amax(1)
        sums = [part.sum() for part in best.split([len(query) for query in queries])]
        found: NDArray[np.float32] = torch.stack(sums).cpu().numpy()
    return found
