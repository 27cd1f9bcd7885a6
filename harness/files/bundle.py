"""A bundle: a folder with all that a run needs, for machines without network.

`fetch` fills it and `run --offline` reads it. It holds `hub/`, the hub client's cache with data and
models; `cache/`, what our own cache remembers of them (commits, file lists, models' small files,
collections that only mteb's classes can read); and, written last, `bundle.json`, which says what is
in it.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from pathlib import Path

from ..errors import HarnessError
from .cache import write_atomically, writing
from .units import TAG, mark

__all__ = ["MANIFEST", "fill", "use_offline"]

MANIFEST = "bundle.json"


def fill(folder: Path) -> Path:
    """Turns this process to a bundle that is being filled: downloads go into it. Returns its own cache folder.

    Raises HarnessError for a folder that cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise HarnessError(f"--to {folder} is a file: a bundle is a folder, made where it is missing")
    with writing(folder):
        (folder / "hub").mkdir(parents=True, exist_ok=True)
        (folder / "cache").mkdir(exist_ok=True)
        mark(folder / "cache")
    _turn_client(folder / "hub", offline=False)
    return folder / "cache"


def use_offline(folder: Path, cache: Path) -> None:
    """Turns this process to a whole bundle and away from any network.

    What the bundle remembers goes into `cache`, before what was known there: the bundle itself may
    lie on a medium that cannot be written. Raises HarnessError for a folder that is no bundle.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        manifest = None
    if not isinstance(manifest, dict):
        raise HarnessError(
            f"--offline {folder} is no bundle: it has no whole {MANIFEST}. Make one where there is network, with "
            "fetch TASK --reranker MODEL --to DIR"
        )
    _turn_client(folder.absolute() / "hub", offline=True)
    with writing(cache):
        _seed(folder / "cache", cache)


def _turn_client(hub: Path, *, offline: bool) -> None:
    os.environ["HF_HUB_CACHE"] = str(hub.absolute())
    if offline:
        os.environ["HF_HUB_OFFLINE"] = os.environ["HF_DATASETS_OFFLINE"] = "1"
    if "huggingface_hub" in sys.modules:
        # The client has read its environment already.
        from huggingface_hub import constants

        constants.HF_HUB_CACHE = str(hub.absolute())
        constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE or offline


def _seed(remembered: Path, cache: Path) -> None:
    """Small files anew, since a commit of `main` may have moved; prepared collections only where they are missing.

    In the order of names, so that a collection's manifest, which makes it whole, comes last.
    """
    for path in sorted(remembered.rglob("*.*")):
        name = path.relative_to(remembered)
        # The tag says what the bundle's own folder is, and nothing of another.
        if path.is_dir() or name.name.startswith(".") or name.name == TAG:
            continue
        if name.parts[0] != "collections":
            write_atomically(cache / name, path.read_bytes())
        elif not (cache / name).exists():
            (cache / name).parent.mkdir(parents=True, exist_ok=True)
            part = (cache / name).with_name(f".{name.name}.{secrets.token_hex(6)}.part")
            shutil.copyfile(path, part)
            part.rename(cache / name)
