"""What first stages and rerankers share of models: files, tokenizers, weights, encoders and their vectors."""
