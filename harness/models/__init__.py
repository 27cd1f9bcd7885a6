"""What first stages and rerankers share of models: files, tokenizers, weights, encoders and their vectors.

- `source`, `folder`             a model by name, folder or package: its files, which of them count, its configuration
- `settings`                     `--set key=value`
- `tokenization`, `spiece`       tokenizers; `vocabulary` refuses one without any, `special_tokens` texts that hold theirs
- `ids`                          the token ids of many texts, and pairs of them
- `loading`, `checkpoint`        weights, by transformers and by ourselves; `library` by sentence-transformers
- `buffers`, `twice`             what files do not hold is right; `noticing` what was newly initialised
- `own_code`, `running`          code of a model's own: named, pinned, and its errors told
- `adapters`                     LoRA
- `cross_encoder`                what a reranker's files say, as sentence-transformers publishes one
- `module_chain`, `exact_head`   what turns a transformer's states into scores, in float32
- `copies`                       copies of models that are known by their id
- `recipes`, `encoders`          how a text becomes a vector, and the encoders that do it with `runners`
- `late`                         one vector a token: ColBERT and its kin
- `embedding_store`              vectors on disk by content
"""
