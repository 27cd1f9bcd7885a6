"""Judgements that are not there: pairs without one, a judge for them, and how far the judge agrees with people.

- `pool`        the unjudged pairs among the top of any results, as JSON lines with their texts
- `ask`         a model behind an OpenAI-compatible endpoint, asked for a grade of each pair; answers are kept
- `prompt`      the judge's prompt as data: `umbrela.yaml`
- `judge`       grades of people, of a function or of a model → a layer
- `agreement`   Cohen's kappa and Kendall's tau against the data set's own judgements

What is judged becomes a layer (`data/layers`), never a part of the data set.
"""
