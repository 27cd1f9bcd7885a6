"""Learned sparse encoders (SPLADE and its kin): a weight for some entries of a vocabulary, for each text.

sentence-transformers runs them (its SparseEncoder layout: SPLADE, inference-free queries behind a Router,
CSR), query and document each in its own way. What is found is kept block by block, by content.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine.options import Options
from ..engine.plan import fitting
from ..engine.progress import Progress
from ..errors import HarnessError, MissingDependency
from ..files.cache import write_atomically
from ..files.digest import Digest, digest_of_settings
from ..models.loading import check_device, torch_dtype
from ..models.running import explaining
from ..models.settings import read_settings, whole_number
from ..models.source import ModelSource, snapshot

__all__ = ["SparseEncoder", "SparseRows", "SparseSpec", "block_is_whole", "is_sparse", "sparse_spec"]

VERSION = 1
FAMILY = "sparse encoder"
_BLOCK = 2_048
"""Texts that are encoded and kept together; a kill costs the block in flight."""
_AT_ONCE = 32


class SparseRows(NamedTuple):
    """Some texts: entries `starts[i]:starts[i + 1]` are those of text i, in ascending order of term."""

    starts: NDArray[np.int64]
    terms: NDArray[np.int32]
    weights: NDArray[np.float32]

    @property
    def texts(self) -> int:
        """How many texts."""
        return len(self.starts) - 1

    def row(self, place: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """(terms, weights) of one text."""
        part = slice(int(self.starts[place]), int(self.starts[place + 1]))
        return self.terms[part], self.weights[part]


@dataclass(frozen=True)
class SparseSpec:
    """Everything that decides a model's sparse vectors, known without loading it."""

    name: str
    revision: str
    settings: tuple[tuple[str, object], ...]

    @property
    def fingerprint(self) -> str:
        """32 hex digits over revision and settings."""
        return digest_of_settings([("family", FAMILY), ("revision", self.revision), ("settings", dict(self.settings))])


def is_sparse(source: ModelSource) -> bool:
    """Whether the files are those of sentence-transformers' SparseEncoder."""
    return bool(source.small.get("config_sentence_transformers.json", {}).get("model_type") == "SparseEncoder")


def sparse_spec(source: ModelSource, options: Options) -> SparseSpec:
    """The spec of a sparse encoder. Settings: max_length, in tokens.

    Raises HarnessError for another setting, and for a similarity that is neither dot nor cosine.
    """
    chosen = read_settings(FAMILY, options.settings, {"max_length": whole_number})
    similarity = source.small.get("config_sentence_transformers.json", {}).get("similarity_fn_name") or "dot"
    if similarity not in ("dot", "cosine"):
        raise HarnessError(f'{source.name} compares texts by "{similarity}"; only dot and cosine are supported')
    settings: dict[str, object] = {"dtype": options.dtype, "similarity": similarity, "version": VERSION, **chosen}
    if options.dtype != "float32":
        settings["device"] = options.device.partition(":")[0]
    return SparseSpec(source.name, source.revision, tuple(sorted(settings.items())))


class SparseEncoder:
    """Encodes texts, keeping what it finds below `cache`."""

    def __init__(self, source: ModelSource, spec: SparseSpec, options: Options, cache: Path) -> None:
        self.spec = spec
        self._source, self._options = source, options
        self._folder = cache / "sparse" / spec.fingerprint

    @cached_property
    def _model(self) -> Any:
        try:
            import sentence_transformers
        except ImportError:
            who = f"{self.spec.name} (a sparse encoder)"
            raise MissingDependency(who, "sentence-transformers", "pip install sentence-transformers") from None
        check_device(self._options.device)
        with explaining(self._source, "loading"):
            model = sentence_transformers.SparseEncoder(
                str(snapshot(self._source)),
                device=self._options.device,
                trust_remote_code=self._options.trust_remote_code,
                model_kwargs={"dtype": torch_dtype(self._options.dtype)},
            )
        length = dict(self.spec.settings).get("max_length")
        if length is not None:
            model.max_seq_length = length
        return model

    def queries(self, texts: Sequence[str]) -> SparseRows:
        """The queries' vectors; they are few, and encoded anew. Raises HarnessError for a weight that is not finite."""
        return self._encode(self._model.encode_query, list(texts))

    def documents(self, texts: Iterable[str], total: int) -> Iterator[SparseRows]:
        """The documents' vectors, block by block, each kept by the content of its texts."""
        progress = Progress(self.spec.name, total, 0, "texts")
        remaining = iter(texts)
        while block := list(islice(remaining, _BLOCK)):
            path = self._folder / f"{Digest().add(str(_AT_ONCE), *block).hex()}.npz"
            found = _read(path, len(block))
            if found is None:
                found = self._encode(self._model.encode_document, block)
                write_atomically(path, _packed(found))
            progress.advance(len(block))
            yield found
        progress.finish()

    def _encode(self, encode: Any, texts: list[str]) -> SparseRows:
        def at_once(parts: int) -> Any:
            return encode(
                texts, batch_size=_AT_ONCE // parts, show_progress_bar=False, convert_to_tensor=True,
                convert_to_sparse_tensor=True, save_to_cpu=True,
            ).coalesce()  # fmt: skip

        with explaining(self._source, "its forward pass"):
            found, _ = fitting(1, _AT_ONCE, at_once)
        rows, terms = (part.numpy() for part in found.indices())
        weights = found.values().float().numpy()
        if not np.isfinite(weights).all():
            place = int(rows[np.flatnonzero(~np.isfinite(weights))[0]])
            raise HarnessError(f'{self.spec.name} gave a weight that is not finite, for the text "{texts[place][:60]}"')
        if dict(self.spec.settings)["similarity"] == "cosine":
            norms = np.sqrt(np.bincount(rows, weights.astype(np.float64) ** 2, len(texts)))
            weights = (weights / np.maximum(norms, 1e-12)[rows]).astype(np.float32)
        kept = weights != 0
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows[kept], minlength=len(texts)))])
        return SparseRows(starts.astype(np.int64), terms[kept].astype(np.int32), weights[kept])


def _packed(rows: SparseRows) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **rows._asdict())
    return stream.getvalue()


def block_is_whole(path: Path) -> bool:
    """Whether a block of kept vectors can be read as it was written."""
    return _read(path) is not None


def _read(path: Path, texts: int | None = None) -> SparseRows | None:
    """A block as it was kept, if it is whole; zip's own check values tell."""
    import zipfile

    try:
        with np.load(path) as found:
            rows = SparseRows(*(found[name] for name in SparseRows._fields))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = texts in (None, rows.texts) and len(rows.terms) == len(rows.weights) == rows.starts[-1]
    return rows if whole else None
