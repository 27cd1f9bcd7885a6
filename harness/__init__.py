"""Rerank Harness: is this reranker better, by how much, and is it to be believed?

One pair of texts, (query, document), flows through five stages:

1. `task`, `collection`    a card names data; the data is fetched once and mapped into memory
2. `retrieve`              a first stage hands each query's top k over as candidates
3. `rerank`, `engine`      every pair that is not in the `store` yet is scored
4. `measure`, `verdict`    runs meet judgements: values per query, means, differences, intervals
5. `result`                all it takes to believe, compare and repeat a number, as JSON

`evaluate` runs them in order and is the first file to read; `cli` is the only module that prints.
For a notebook: `load_results` gives every result below a folder as one pandas DataFrame, `load_result`
one result with the values of its queries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .interchange.frames import load_result, load_results

__all__ = ["load_result", "load_results"]


def __getattr__(name: str) -> Any:
    """The functions of `__all__`, imported when they are first asked for: `import harness` itself stays light."""
    if name in __all__:
        from .interchange import frames

        return getattr(frames, name)
    raise AttributeError(f"module 'harness' has no attribute {name!r}")
