"""Warnings of the data set alone, whatever is run on it."""

from __future__ import annotations

from .result import Result

__all__ = ["blank_documents", "repeated", "unread"]


def blank_documents(result: Result) -> str | None:
    """What RH032 says, or None."""
    count = result.diagnostics.get("documents_without_text")
    return f"{count} documents of the corpus have no text at all" if count else None


def unread(result: Result) -> str | None:
    """What RH031 says, or None."""
    names = result.diagnostics.get("unread")
    return f"columns of the data were not read: {'; '.join(names)}" if names else None


def repeated(result: Result) -> str | None:
    """What RH034 says, or None."""
    counts = result.diagnostics.get("repeated") or {}
    said = [f"{count:,} {name.removesuffix('s') if count == 1 else name}" for name, count in counts.items() if count]
    return f"the data holds {' and '.join(said)} more than once, each time alike; each counts once" if said else None
