"""Token ids of many texts.

- `company`       rows of one length together, where padding would move what a model makes of them
- `flat`          all of them in one array
- `framed`        one text in a row with its special tokens
- `joining`       two texts in one row, as a tokenizer joins them
- `kept`          what was tokenized before, on disk
- `token_types`   whether a model is told which of them are a document's
"""
