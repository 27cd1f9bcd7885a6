"""What several results say together: comparisons, gates, reports.

- `pairing`          which results can be held against each other
- `samples`          the paired values behind a comparison
- `compare`, `gate`  is it better, and has it become worse
- `moved`            the queries that moved most
- `text`             comparisons and gates as text, for people and for CI
- `report`, `charts` one page about some results
"""
