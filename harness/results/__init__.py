"""Stage 5: the Result and what is said of it: means, published figures, warnings, tables.

- `result`, `environment`               the Result, its JSON and path, and where it was made
- `faces`                               what a baseline shows of a result, for diffs
- `naming`                              what a reranker is called among others
- `rankings`                            documents of a result, kept in the cache
- `means`                               over languages and tasks
- `published`, `imported`               figures of others
- `cautions`, `data_cautions`           warnings
- `figures`, `layout`, `terminal`       digits, and tables that fit a terminal; `escaped` texts that pages show as they are
- `tables`, `run_lines`                 one result in full
"""
