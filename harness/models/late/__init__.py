"""Late interaction: one vector a token.

- `layouts`   the ways in which such models are saved, read into one record
- `encoder`   texts as token vectors, and what two of them score
"""
