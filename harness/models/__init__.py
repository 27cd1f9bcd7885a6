"""What first stages and rerankers share of models: files, tokenizers, weights, encoders and their vectors.

- `source`                       a model by name, folder or package: its files, revision, configuration
- `settings`                     `--set key=value`
- `tokenization`, `spiece`       tokenizers; `special_tokens` texts that hold their special tokens
- `loading`, `checkpoint`        weights, by transformers and by ourselves; `noticing` what was newly initialised
- `adapters`                     LoRA
- `cross_encoder`                what a reranker's files say, as sentence-transformers publishes one
- `module_chain`, `exact_head`   what turns a transformer's states into scores, in float32
- `recipes`, `encoders`          how a text becomes a vector, and the encoders that do it
- `embedding_store`              vectors on disk by content
"""
