"""Prompts as data, and how token ids are built from them.

- `template`, `templates/`   templates of causal rerankers
- `prompts`, `truncation`    a pair in token ids, cut to fit
- `chat`, `pairs`            a model's own chat template as a template; pairs as its tokenizer joins them
- `saved_form`               which of the two a model's files say, with its prompts
- `ab_prompt`                the input of BGE's language-model rerankers
- `list_prompt`, `windows`   several passages in one conversation, and long lists a window at a time
- `sort_prompt`, `sorts`     which of a few passages is best, and a list sorted by asking that
- `conversation`             turns in a model's chat template, as one text and its ids
- `list_answer`              the order that a model writes, read
"""
