"""Stage 3: rerankers, from what the user typed to scores.

- `resolve`            a name → a `base.Reranker`: which family it means, and opening it
- `known`              rerankers known by name: family, settings, facts, and the source of each
- `base`               what every reranker is; all that the rest of the harness knows of families
- `activations`        what a score is published as
- `plugin`, `run_file` rerankers of the user's own, and rankings that are there already
- `plugin_source`      the files that a plug-in's code is in
- `rerank`, `kept`     candidates → a run: scores every pair that is not stored yet
- `joined`             several requests as one
- `precision`          scores in double precision → the single precision that is stored and ranked
- `instruction`        a sentence for every query without one
- `rules`              what `check` says of a rule: its input, its activation, what it was held against
- `inputs`             what truncation took from whom, and which documents share an input
- `score`              pairs outside a task; `contract` the checks of `check`
- `origin`, `worker`   the same reranker on another machine
- `families/`          one file for each way of scoring
- `prompts/`           prompts as data, and how token ids are built from them
- `services/`          what is sent to providers of rerankers, and what it costs
"""
