"""What the page of `report` is made of.

- `parts`    elements, tables, folds, and what a result's headline says
- `outline`  the contents list and the filters
- `across`   rerankers against each other, a baseline beside the current results, the hardest queries
- `one`      one result's section
"""
