"""Stage 2, first stages: BM25 with its language analyzers, and exact dense search.

- `retrieve`      a collection → each query's top k, cached; lists that were given
- `bm25`          the index and the search in it; `analyzers/` text → terms
- `analysis`      texts → blocks of postings, by a `crew` of processes; `postings` writes and merges these
- `dense`         every document's vector, in blocks, `on_a_device` with a card's help; `late` every token's, all compared
- `sparse`        an inverted index of what `sparse_encoder` finds
- `search`        rows of an index → documents of a collection, inside each query's `scope`
- `fusion`        several first stages as one

The two versions are parts of every key that a first stage makes: each is raised when its numbers
change. They stand here so that a run whose results exist knows them without loading an index.
"""

BM25_VERSION = "1"
ANALYZERS_VERSION = "1"
