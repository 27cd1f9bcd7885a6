"""The command line: one file a verb. `cli` reads argv and calls one function; it alone prints.

A verb's file has `add_options(parser)` and `command(given, say, answer)`, which returns the exit code.

- `cli`                                  the table of verbs, and what errors print
- `shared`                               what several verbs share: options, how findings are shown
- `line`                                 what stands between the verbs and a terminal: help, completion, answers
- `run`, `dry_run`, `config`             `run`, its plan, and rerank-harness.toml
- `demo`, `check`, `score`               a first look, the contract test of a reranker, scores of a file
- `compare`, `gate`, `report`, `explain` what results say
- `pool`, `judge`                        judgements that are not there
- `leaderboard`, `export`, `import_results`, `schema`   boards, results that travel, and what JSON looks like
- `list_tasks`, `fetch`, `reproduce`     what can be run, offline, and checked against published figures
- `doctor`, `cache`                      the installation and its cache
"""
