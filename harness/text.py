"""Joining title, text, query and instruction: one place, shared by first stages and rerankers.

How texts are joined changes every number downstream, so `JOIN_RULE` names the rule and its version
and is a part of every rendering fingerprint.
"""

from __future__ import annotations

from .types import DocumentText, QueryText

__all__ = ["JOIN_RULE", "has_text", "is_unicode", "join_document", "join_query"]

JOIN_RULE = "title space text, query space instruction, stripped; 1"


def join_document(document: DocumentText) -> str:
    """`title text` where there is a title, else the text alone.

    The rule of mteb, beir and the FollowIR paper's code.
    """
    return f"{document.title} {document.text}".strip() if document.title else document.text


def join_query(query: QueryText) -> str:
    """`query instruction`, the instruction once and at the end (FollowIR, arXiv 2403.15246)."""
    return f"{query.text} {query.instruction}".strip() if query.instruction else query.text


def has_text(document: DocumentText) -> bool:
    """Whether there is anything but white space in title and text; a document without text is never scored."""
    return bool(document.title.strip() or document.text.strip())


def is_unicode(*fields: str) -> bool:
    """Whether every field is Unicode text; half of a surrogate pair, which a Python string may hold, is none."""
    try:
        for text in fields:
            text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
