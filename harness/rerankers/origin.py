"""Where a reranker was opened from, so that a worker on another machine can open the same one.

What is opened there must have the fingerprint that it has here: other weights in a folder of the
same name, or another plug-in file, are an error and never a score.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..engine.options import Options
from ..models.source import ModelSource

__all__ = ["Origin", "PluginFile"]


class PluginFile(NamedTuple):
    """A plug-in as it is sent to a worker: its name there, and the file's content where it is a file."""

    name: str
    content: bytes | None
    folder: str
    """The working directory of the process that sends it, which plug-ins may read from."""

    @classmethod
    def read(cls, name: str) -> PluginFile:
        """The plug-in that `name` means in this process."""
        where, _, attribute = name.rpartition(":")
        if not where.endswith(".py"):
            return cls(name, None, str(Path.cwd()))
        path = Path(where).resolve()
        return cls(f"{path}:{attribute}", path.read_bytes(), str(Path.cwd()))

    def here(self) -> str:
        """Its name on this machine: the same file where it is, else a copy of it."""
        if Path(self.folder).is_dir():
            os.chdir(self.folder)
        where, _, attribute = self.name.rpartition(":")
        path = Path(where)
        if self.content is None or (path.is_file() and path.read_bytes() == self.content):
            return self.name
        copy = Path(tempfile.mkdtemp(prefix="rerank-harness-plugin-")) / path.name
        copy.write_bytes(self.content)
        return f"{copy}:{attribute}"


@dataclass(frozen=True)
class Origin:
    """What a reranker was opened from; `resolve.open_origin` opens it again. `options` say nothing of workers: a worker has none."""

    family: str
    source: ModelSource | PluginFile
    options: Options
    task_prompt: str = ""
    """The data set's task sentence that the reranker is bound to, empty where it takes none."""
