"""What first stages and rerankers share of models: files, tokenizers, weights, encoders and their vectors.

- `source`                       a model by name, folder or package: its files, revision, configuration
- `settings`                     `--set key=value`
- `tokenization`, `spiece`       tokenizers
- `loading`, `checkpoint`        weights, by transformers and by ourselves; `noticing` what was newly initialised
- `adapters`                     LoRA
- `recipes`, `encoders`          how a text becomes a vector, and the encoders that do it
- `embedding_store`              vectors on disk by content
"""
