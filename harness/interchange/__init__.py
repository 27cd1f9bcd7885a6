"""Results that travel: to mteb's files and back, into model cards, TREC runs, and tables.

- `names`        our measures and mteb's keys, one table for both directions
- `mteb_out`     our results → the files of mteb's results cache
- `mteb_files`   one result file of any version of mteb → values, strictly
- `mteb_in`      a folder of them, as the public results repository → a table of imported figures and a report
- `mteb_meta`    what mteb itself knows of its tasks
- `card`         results → the model-index block of a README.md, which is otherwise left as it is
- `frames`       results → one long table, as a pandas DataFrame, CSV or Parquet; `load_results`
- `runs`         the rankings behind results → TREC run files
- `ir_metadata`  the header that says how a run came about
- `mteb_predictions`  the rankings behind results → mteb's predictions
- `eval_results` results → the hub's .eval_results
- `as_json`      results → JSON, and the schemas of what is JSON here
- `tables`       writing imported rows, the whole file or nothing
"""
