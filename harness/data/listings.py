"""The files of a data set, wherever it lies: a folder, a zip archive of one, a repository of the hub."""

from __future__ import annotations

from pathlib import Path

from ..errors import HarnessError
from ..files.cache import file_digest, folder_digest
from ..files.digest import Digest
from ..files.packed import ZIP, members, opened
from .layout import Listing

__all__ = ["folder_listing", "folder_revision", "folder_splits", "hub_listing", "is_archive", "top_of"]

_CARD = "README.md"


def folder_revision(folder: Path, cache: Path, files: str = "") -> str:
    """40 hex digits over the folder's data files, all splits and configs, and its card's `configs` or `files`.

    That of an archive is over the archive. Raises HarnessError for a folder that is not there or holds no data.
    """
    listing = folder_listing(folder, files)
    names = listing.data_files()
    if not names:
        raise HarnessError(f"{folder} holds no data: BEIR's layout is corpus.jsonl, queries.jsonl, qrels/<split>.tsv")
    if is_archive(folder):
        whole = Digest(size=20).add("archive", file_digest(folder, cache))
        return whole.add(listing.rules()).hex()
    digest = folder_digest(folder, names, cache)
    return Digest(size=20).add(digest, listing.rules()).hex() if listing.rules() else digest


def folder_splits(folder: Path, config: str = "") -> list[str]:
    """The splits of a folder that have qrels, sorted."""
    return folder_listing(folder).splits(config)


def folder_listing(folder: Path, files: str = "") -> Listing:
    """The files of a folder, or of a zip archive, and what its README.md says of them, or a task's card by `files`.

    Raises HarnessError where it is not there.
    """
    if is_archive(folder):
        return _archive_listing(folder, files)
    if folder.is_file():
        raise HarnessError(
            f"{folder} is a file, and data is a folder, or a zip archive of one: unpack it and name the folder"
        )
    if not folder.is_dir():
        raise HarnessError(f"there is no folder {folder}")
    # Three folders down is as deep as the layout goes.
    found = (path for pattern in ("*", "*/*", "*/*/*", "*/*/*/*") for path in folder.glob(pattern) if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in found]
    return Listing(names, _text_of(folder / _CARD) if _CARD in names else "", f"folder {folder}", files)


def is_archive(path: Path) -> bool:
    """Whether the path is a zip archive, which is read as the folder that it holds."""
    return path.suffix.lower() == ZIP and path.is_file()


def _archive_listing(archive: Path, files: str) -> Listing:
    top = top_of(archive)
    names = [path.relative_to(top).as_posix() for path in members(archive)]
    if "task.yaml" in names:
        raise HarnessError(
            f"{archive} holds a task.yaml, which is read in a folder only: unpack it, and name the folder"
        )
    card = ""
    if _CARD in names:
        with opened(top / _CARD) as stream:
            card = stream.read().decode("utf-8", "replace")
    return Listing(names, card, f"archive {archive}", files)


def top_of(folder: Path) -> Path:
    """Where the names of a listing start: in an archive of one folder within that folder."""
    if not is_archive(folder):
        return folder
    tops = {path.relative_to(folder).parts[0] for path in members(folder)}
    alone = tops.pop() if len(tops) == 1 else ""
    return folder if (folder / alone) in members(folder) else folder / alone


def hub_listing(name: str, commit: str, cache: Path, files: str = "") -> Listing:
    """The files of a hub data set and what its card says of them; fetches the card alone."""
    from ..files.hub import fetch_file, repository_files

    names = repository_files("dataset", name, commit, cache)
    card = _text_of(fetch_file("dataset", name, commit, _CARD)) if _CARD in names else ""
    return Listing(names, card, f"data set {name} at {commit[:8]}", files)


def _text_of(card: Path) -> str:
    try:
        return card.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise HarnessError(f"{card} is not UTF-8") from error
