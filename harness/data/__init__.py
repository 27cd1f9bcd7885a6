"""Stage 1: a card, a folder or a hub's data set becomes a Collection, read strictly and kept mapped on disk."""
