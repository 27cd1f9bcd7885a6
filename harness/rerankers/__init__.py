"""Rerankers: one file for each scoring family, and plug-ins.

`resolve.open_reranker` turns what the user typed into a `base.Reranker`. The core knows families
only through `base.py`.
"""
