"""The engine: a fixed plan of batches, run so that a kill costs one batch, its scores kept by content, on one device or many."""
