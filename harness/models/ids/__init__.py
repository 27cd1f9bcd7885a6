"""Token ids of many texts.

- `flat`      all of them in one array
- `joining`   two texts in one row, as a tokenizer joins them
"""
