"""Stage 5: the Result and what is said of it: means, published figures, warnings, tables."""
