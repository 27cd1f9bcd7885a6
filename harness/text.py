"""Joining title, text, query and instruction: one place, shared by first stages and rerankers.

How texts are joined changes every number downstream, so `JOIN_RULE` names the rule and its version
and is a part of every rendering fingerprint.
"""

from __future__ import annotations

from .types import DocumentText, QueryText

__all__ = ["JOIN_RULE", "join_document", "join_query"]

JOIN_RULE = "title space text, query space instruction, stripped; 1"


def join_document(document: DocumentText) -> str:
    """`title text` where there is a title, else the text alone.

    The rule of mteb, beir and the FollowIR paper's code.
    """
    return f"{document.title} {document.text}".strip() if document.title else document.text


def join_query(query: QueryText) -> str:
    """`query instruction`, the instruction once and at the end (FollowIR, arXiv 2403.15246)."""
    return f"{query.text} {query.instruction}".strip() if query.instruction else query.text
