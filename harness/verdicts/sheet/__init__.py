"""What the page of `report` is made of.

- `parts`    elements, tables, folds, and what a result's headline says
- `outline`  the contents list and the filters
- `across`   rerankers against each other, a baseline beside the current results
- `hardest`  the queries that all systems answer worst
- `one`      one result's section
"""
