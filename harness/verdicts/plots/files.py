"""Pictures on disk: SVG as it is drawn, PNG of the same SVG by resvg, which needs no browser."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from ...errors import HarnessError, MissingDependency
from ...files.cache import write_atomically

__all__ = ["ENDINGS", "png_of", "require_picture", "write_picture"]

ENDINGS = (".svg", ".png")
_ZOOM = 3
"""Pixels of a PNG to each of the SVG: 2,300 across for a plot of 760."""
_BLANK = '<svg xmlns="http://www.w3.org/2000/svg" width="40" height="20">{}</svg>'


def require_picture(path: Path) -> None:
    """Raises HarnessError for a name with neither of ENDINGS, and for PNG where resvg is not installed."""
    if path.suffix.lower() not in ENDINGS:
        raise HarnessError(f"{path} ends in none of {', '.join(ENDINGS)}, which say what kind of picture it is")
    if path.suffix.lower() == ".png":
        _resvg()


def write_picture(path: Path, svg: str) -> Path:
    """Write an SVG that stands alone to `path`, as its ending says.

    Raises HarnessError as `require_picture` and `png_of` do, and for a disk that does not take it.
    """
    require_picture(path)
    try:
        write_atomically(path, png_of(svg) if path.suffix.lower() == ".png" else svg)
    except OSError as error:
        raise HarnessError(f"cannot write {path}: {error.strerror or error}") from None
    return path


def png_of(svg: str) -> bytes:
    """The SVG as PNG. Raises HarnessError where resvg is not installed, or finds no font, for then it leaves words out."""
    draw = _resvg()
    if not _has_font(draw):
        raise HarnessError(
            "this machine has no font, so a PNG would have no words: install one (fonts-dejavu-core on Debian), or write .svg"
        )
    # Words of a hint are for a pointer over the picture, and a PNG has none.
    return bytes(draw(svg_string=re.sub(r"<title>[^<]*</title>", "", svg), zoom=_ZOOM))


@cache
def _has_font(draw: Callable[..., bytes]) -> bool:
    word = '<text x="2" y="15" font-size="12" font-family="sans-serif">0</text>'
    return bytes(draw(svg_string=_BLANK.format(word))) != bytes(draw(svg_string=_BLANK.format("")))


def _resvg() -> Callable[..., bytes]:
    try:
        from resvg_py import svg_to_bytes
    except ImportError:
        install = "pip install 'rerank-harness[plots]'; .svg needs nothing"
        raise MissingDependency("a picture as PNG", "resvg-py", install) from None
    return svg_to_bytes
