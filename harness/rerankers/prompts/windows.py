"""Sorting a long list with a sorter that sees a window at a time, and reading the order it writes.

The window starts at the end of the list and moves to its front by `stride`, so that the best of
each window is seen again in the next (RankGPT: Sun et al., arXiv 2304.09542). As in RankLLM the
last window is cut at the front of the list, so the first documents are always seen, also where
length and stride do not fit; RankGPT's own code leaves them out there. With `whole` that window is a
whole one, which sees more of what the window before it has sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .list_answer import read_answer

__all__ = ["read_permutation", "sort_by_windows", "window_bounds"]


def window_bounds(count: int, window: int, stride: int, *, whole: bool = False) -> list[tuple[int, int]]:
    """Start and stop of each window over `count` documents, from the back to the front."""
    stop = count
    bounds = [(max(stop - window, 0), stop)]
    while bounds[-1][0] > 0:
        stop -= stride
        bounds.append((max(stop - window, 0), max(stop, min(window, count)) if whole else stop))
    return bounds


def sort_by_windows(
    count: int, window: int, stride: int, permute: Callable[[Sequence[int]], Sequence[int]], *, whole: bool = False
) -> list[int]:
    """The documents 0 to count − 1, best first.

    `permute` gets the documents in a window, in their present order, and returns the places in that
    window, best first: a permutation of 0 … len − 1. A window of one document is not asked for.
    """
    order = list(range(count))
    for start, stop in window_bounds(count, window, stride, whole=whole):
        if stop - start > 1:
            seen = order[start:stop]
            order[start:stop] = [seen[place] for place in permute(seen)]
    return order


def read_permutation(text: str, count: int) -> list[int]:
    """The order that `text` writes as `[2] > [1] > …`: all places 0 … count − 1, best first; see `list_answer`."""
    return read_answer(text, count).order
