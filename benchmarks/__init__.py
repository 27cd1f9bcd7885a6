"""Measurements of the harness and of its peers on the same machine; `python -m benchmarks.reranking`."""
