"""Rerankers that read a document in an encoder, and the query in a decoder that sees what the encoder made.

- `kalm`                 KaLM-Reranker: the document's states averaged by fours
"""
