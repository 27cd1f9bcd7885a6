"""First stages: BM25 with its language analyzers, and exact dense search.

The two versions are parts of every key that a first stage makes: each is raised when its numbers
change. They stand here so that a run whose results exist knows them without loading an index.
"""

BM25_VERSION = "1"
ANALYZERS_VERSION = "1"
