"""The Python interface: what a notebook or a training loop calls, and what the command line calls too.

- `run`         `harness.run` and `score`
- `verdicts`    `compare`, `gate` and `check`; `boards` `leaderboard`
- `judging`     `pool` and `judge`
- `asking`      what is asked for, in plain words → a Request
- `wanted`      the rerankers of a run, each with what is its own; `running` how models are run
- `tasks`       a collection in memory as a task
- `rerankers`   a function, an object or a model in memory as a reranker
- `training`    an evaluator for the trainers of sentence-transformers and transformers
- `views`       results as a notebook shows them; `tables` and `pictures` what they are made of
- `sound`       options as a program gives them, held to what the flags take
"""
