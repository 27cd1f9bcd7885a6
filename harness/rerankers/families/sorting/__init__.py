"""Rerankers that sort by asking a language model which of a few passages is best.

- `asker`                the question's ids and the answer, of a T5 or a chat model
- `sorter`               sorting by answers; `pairwise` and `setwise` open it
"""
