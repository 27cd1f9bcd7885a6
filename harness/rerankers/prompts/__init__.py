"""Prompts as data, and how token ids are built from them."""
