"""Sorting the front of a list by asking which of a few documents is the best.

A k-ary heap, or passes of a bubble from the back to the front, put `top` documents in their places; the others
follow in their first-stage order (Setwise: Zhuang et al., arXiv 2310.09497; PRP: Qin et al., arXiv 2306.17563).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["by_points", "sort_by_bubbles", "sort_by_heap"]

Best = Callable[[Sequence[int]], int]
"""The place, in the documents it gets, of the best of them."""


def sort_by_heap(count: int, top: int, children: int, best: Best) -> list[int]:
    """The documents 0 to count − 1: the first `top` by a heap of whose nodes each has `children`, then the others."""
    heap = list(range(count))

    def sift(size: int, root: int) -> None:
        while (first := children * root + 1) < size:
            family = [root, *range(first, min(first + children, size))]
            winner = family[best([heap[place] for place in family])]
            if winner == root:
                return
            heap[root], heap[winner] = heap[winner], heap[root]
            root = winner

    for root in range(count // children, -1, -1):
        sift(count, root)
    for last in range(count - 1, max(count - 1 - top, 0), -1):
        heap[0], heap[last] = heap[last], heap[0]
        if last > count - top:
            sift(last, 0)
    return _with_others(heap[::-1][:top], count)


def sort_by_bubbles(count: int, top: int, children: int, best: Best) -> list[int]:
    """As `sort_by_heap`, by `top` passes of windows of children + 1 documents, whose first is the next's last."""
    order = list(range(count))
    for place in range(min(top, count - 1)):
        start, begin = count - children - 1, count
        while begin > place:
            begin = max(start, place)
            seen = order[begin : start + children + 1]
            winner = begin + (best(seen) if len(seen) > 1 else 0)
            order[begin], order[winner] = order[winner], order[begin]
            start -= children
    return _with_others(order[:top], count)


def by_points(count: int, wins: Callable[[int, int], float]) -> list[int]:
    """Every document by its points against every other; equal ones in their first-stage order.

    `wins(a, b)` is what a gets against b: 1, or 0, or ½ where they are equal; b gets the rest.
    """
    points = [0.0] * count
    for one in range(count):
        for other in range(one + 1, count):
            won = wins(one, other)
            points[one] += won
            points[other] += 1 - won
    return sorted(range(count), key=lambda document: -points[document])


def _with_others(first: list[int], count: int) -> list[int]:
    chosen = set(first)
    return first + [document for document in range(count) if document not in chosen]
