"""Rerank Harness: is this reranker better, by how much, and is it to be believed?

One pair of texts, (query, document), flows through five stages:

1. `task`, `collection`    a card names data; the data is fetched once and mapped into memory
2. `retrieve`              a first stage hands each query's top k over as candidates
3. `rerank`, `engine`      every pair that is not in the `store` yet is scored
4. `measure`, `verdict`    runs meet judgements: values per query, means, differences, intervals
5. `result`                all it takes to believe, compare and repeat a number, as JSON

`evaluate` runs them in order and is the first file to read; `cli` is the only module that prints.
"""
