"""What stands between the verbs and a terminal.

- `words`       what --help says of each verb: groups and examples
- `completion`  what Tab offers
- `answering`   what `run` and `demo` answer with
"""
