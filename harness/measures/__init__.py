"""Stage 4: measures of a run, the verdict on one result, and what may be believed of it.

- `measure`, `p_mrr`   a run and its judgements → a value for each query; `gains` what trec_eval has not
- `aspects`            alpha-nDCG, for judgements by aspect
- `groups`             measures of queries that are one in several forms; `fitting` which measures a task can have
- `flips`              the sign-flip test, and the interval that is its inversion
- `significance`       what is flipped, and what drop could be seen
- `family`             several figures tested at once
- `betting`            a verdict from a part of the queries; `rounds` scores them until it is there
- `verdict`            first stage, reranked and oracle of one result, and their difference
- `depths`             the same of the first k candidates alone
- `diagnosis`          counts and shares that a number hides
- `performance`        time and memory
"""
