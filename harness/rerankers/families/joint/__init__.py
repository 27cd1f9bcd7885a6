"""Rerankers that read a query and many documents in one prompt, and compare vectors.

- `jina`                 the vectors of the query and of each document, from one pass
- `e2rank`               a vector of each document, and one of a prompt with the query and the first documents
"""
