"""Texts from outside as a page, a paper or a spreadsheet shows them: as they are, never as markup or a formula."""

from __future__ import annotations

import unicodedata

__all__ = ["in_csv", "in_markdown", "in_tex"]

_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}", "`": r"\textasciigrave{}",
    "[": "{[}", "]": "{]}", "-": "{-}", "≤": r"$\le$", "≥": r"$\ge$", "≈": r"$\approx$", "≠": r"$\ne$", "–": "--",
    "→": r"$\to$",
}  # fmt: skip
"""Brackets stand in braces, since one after a line's end would be its option; so do hyphens, which join to dashes."""


def in_tex(text: str) -> str:
    """A text that TeX sets as it is: every character with a meaning of its own is written out, control characters go."""
    plain = "".join(" " if unicodedata.category(character) in ("Cc", "Cf") else character for character in text)
    return "".join(_SPECIAL.get(character, character) for character in " ".join(plain.split()))


def in_markdown(text: str) -> str:
    """A text as Markdown that shows as it is: neither a column's end nor markup, HTML or a link."""
    for character in "\\|`*_<>#":
        text = text.replace(character, f"\\{character}")
    # A link needs both brackets and a parenthesis or a colon after them; an interval is none.
    text = text.replace("](", "]\\(").replace("]:", "]\\:").replace("![", "!\\[").replace("&", "&amp;")
    return " ".join(text.split())


def in_csv(text: str) -> str:
    """A spreadsheet must not take a name from outside for a formula; figures may be negative."""
    try:
        float(text)
    except ValueError:
        return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
    return text
