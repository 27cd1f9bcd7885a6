"""What mteb itself knows of its tasks: main scores, subsets and their languages. Imports mteb, once it is asked."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..data.mteb_task import open_mteb, quiet
from ..errors import MissingDependency
from ..files.cache import write_atomically

__all__ = ["MtebTask", "main_scores", "task_of_mteb"]


@dataclass(frozen=True)
class MtebTask:
    """One task of mteb's registry."""

    main_score: str
    """mteb's key of it, as `ndcg_at_10`."""
    revision: str
    languages: Mapping[str, list[str]]
    """hf_subset → its languages, as `deu-Latn`."""


def task_of_mteb(name: str) -> MtebTask | None:
    """The task of that name; None where mteb has none. Raises MissingDependency without mteb."""
    mteb = open_mteb()
    with quiet(), contextlib.suppress(KeyError):
        metadata = mteb.get_task(name).metadata
        languages = {subset: list(spoken) for subset, spoken in metadata.hf_subsets_to_langscripts.items()}
        return MtebTask(metadata.main_score, metadata.revision, languages)
    return None


def main_scores(cache: Path) -> dict[str, tuple[str, str]]:
    """Each task's name in small letters → its name, and the key of its main score.

    Remembered in the cache by mteb's version, since mteb takes seconds to load. Raises
    MissingDependency without mteb.
    """
    try:
        memory = cache / "mteb" / importlib.metadata.version("mteb") / "main-scores.json"
        return {key: (str(name), str(main)) for key, (name, main) in json.loads(memory.read_bytes()).items()}
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependency("reading mteb's results", "mteb", "pip install mteb") from None
    except (OSError, ValueError, TypeError, AttributeError):
        pass
    with quiet():
        tasks = open_mteb().get_tasks(exclude_superseded=False, exclude_private=False)
    found = {task.metadata.name.lower(): (task.metadata.name, task.metadata.main_score) for task in tasks}
    with contextlib.suppress(OSError):
        write_atomically(memory, json.dumps(found))
    return found
