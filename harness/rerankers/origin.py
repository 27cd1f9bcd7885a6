"""Where a reranker was opened from, so that a worker on another machine can open the same one.

What is opened there must have the fingerprint that it has here: other weights in a folder of the
same name, or another plug-in file, are an error and never a score.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..engine.options import Options
from ..models.source import ModelSource
from .plugin_source import imported_files

__all__ = ["Origin", "PluginFile"]


class PluginFile(NamedTuple):
    """A plug-in as it is sent to a worker: its name there, and the file's content where it is a file."""

    name: str
    content: bytes | None
    folder: str
    """The working directory of the process that sends it, which plug-ins may read from."""
    beside: tuple[tuple[str, bytes], ...] = ()
    """The files of its own folder that it imports: relative path, content."""

    @classmethod
    def read(cls, name: str) -> PluginFile:
        """The plug-in that `name` means in this process."""
        where, _, attribute = name.rpartition(":")
        if not where.endswith(".py"):
            return cls(name, None, str(Path.cwd()))
        path = Path(where).resolve()
        return cls(f"{path}:{attribute}", path.read_bytes(), str(Path.cwd()), _imported_beside(path))

    def here(self) -> str:
        """Its name on this machine: the same file where it is, with what it imports, else a copy of them."""
        if Path(self.folder).is_dir():
            os.chdir(self.folder)
        where, _, attribute = self.name.rpartition(":")
        if self.content is None:
            return self.name
        path = Path(where)
        files = dict(self.beside) | {path.name: self.content}
        if all(_holds(path.parent / name, content) for name, content in files.items()):
            return self.name
        folder = Path(tempfile.mkdtemp(prefix="rerank-harness-plugin-"))
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return f"{folder / path.name}:{attribute}"


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _imported_beside(plugin: Path) -> tuple[tuple[str, bytes], ...]:
    """The Python files in the plug-in's folder, or below it, that it or this process imports; not what is installed."""
    folder = plugin.parent
    installed = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[1]))
    files = {str(getattr(module, "__file__", None)) for module in list(sys.modules.values())}
    found = {
        Path(file).relative_to(folder).as_posix()
        for file in files - {str(plugin)}
        if file.startswith(f"{folder}{os.sep}") and file.endswith(".py")
        if not any(Path(file).is_relative_to(place) for place in installed)
    }
    needed = imported_files(plugin).values()
    found |= {path.relative_to(folder).as_posix() for path in needed if path.is_relative_to(folder)}
    return tuple((name, (folder / name).read_bytes()) for name in sorted(found) if (folder / name).is_file())


@dataclass(frozen=True)
class Origin:
    """What a reranker was opened from; `resolve.open_origin` opens it again. `options` say nothing of workers: a worker has none."""

    family: str
    source: ModelSource | PluginFile
    options: Options
    task_prompt: str = ""
    """The data set's task sentence that the reranker is bound to, empty where it takes none."""
