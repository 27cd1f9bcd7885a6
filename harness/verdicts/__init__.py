"""What several results say together: comparisons, gates, reports.

- `pairing`          which results can be held against each other
- `meant`            which results a word means
- `aggregates`       which means some results fill
- `samples`          the paired values behind a comparison
- `rows`             a sample's figures and its test, beside the others'
- `compare`, `gate`  is it better, and has it become worse
- `answers`          the gate's rule: failed, passed or not decided
- `until`            a run that stops when its verdict is certain
- `summary`          the answer of a run
- `grid`, `sentences`  one table that fits a terminal, and a verdict in words
- `moved`            the queries that moved most
- `text`             comparisons as text
- `gate_text`        gates as text, for people and for CI; `paper` comparisons as a table for a paper
- `report`, `charts` one page about some results, of the pieces in `sheet`; `trade_off` quality against cost;
                     `plots` pictures for a paper
"""
