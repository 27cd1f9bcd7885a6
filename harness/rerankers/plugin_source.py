"""The code of a plug-in: its file, and those beside it that it imports, by what stands in them.

Read from the import statements, wherever they stand, so that it is the same in every process. What a plug-in
loads by a name that it makes up, and data it reads, nobody sees.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.machinery
import importlib.util
import sys
import weakref
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import HarnessError

__all__ = ["imported_files", "load_file", "source_digest"]

_OURS: weakref.WeakSet[ModuleType] = weakref.WeakSet()
"""The modules that were loaded with plug-ins: those of another plug-in may be called the same."""


def source_digest(file: Path) -> str:
    """40 hex digits over the file's bytes and, where it imports any, those of the files beside it. Raises OSError."""
    digest = hashlib.blake2b(file.read_bytes(), digest_size=20)
    for name, path in sorted(imported_files(file).items()):
        digest.update(f"\0{name}\0{hashlib.blake2b(path.read_bytes(), digest_size=20).hexdigest()}".encode())
    return digest.hexdigest()


def imported_files(file: Path) -> dict[str, Path]:
    """Module name → file of what `file` imports, and what that imports, out of its own folder and those below it.

    For a module of a package it is the package's too. Nothing of what is installed.
    """
    file = file.resolve()
    if _is_installed(file):
        return {}
    root, package = _package_of(file)
    found: dict[str, Path] = {}
    waiting = [(file, package)]
    while waiting:
        for parts in map(_parts, _imports(*waiting.pop())):
            for end in range(1, len(parts) + 1):
                name = ".".join(parts[:end])
                path = _file_of(parts[:end], (file.parent, root))
                if path not in (None, file) and name not in found:
                    found[name] = path
                    waiting.append((path, parts[: end if path.name == "__init__.py" else end - 1]))
    return found


def _parts(name: str) -> list[str]:
    return name.split(".")


def _package_of(file: Path) -> tuple[Path, list[str]]:
    """The package that a file is in, and the folder where that lies: its own one where it is in none."""
    root, package = file.parent, list[str]()
    while (root / "__init__.py").is_file():
        package.insert(0, root.name)
        root = root.parent
    return root, package


def _is_installed(file: Path) -> bool:
    own = Path(__file__).parents[1]
    return any(file.is_relative_to(place) for place in (Path(sys.prefix), Path(sys.base_prefix), own))


def _file_of(parts: Sequence[str], roots: Sequence[Path]) -> Path | None:
    """The file of a module in the first of `roots` that has one."""
    places = [root.joinpath(*parts) for root in roots]
    files = [file for place in places for file in (place / "__init__.py", place.with_name(f"{place.name}.py"))]
    return next((file for file in files if file.is_file() and not _is_installed(file)), None)


def _imports(file: Path, package: Sequence[str]) -> Iterator[str]:
    """The names of modules that the file may import; that of a thing in a module among them."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return  # importing it says what is wrong, and where
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            base = [*above, *(node.module.split(".") if node.module else ())]
            yield from (".".join([*base, alias.name]) for alias in node.names)


def load_file(file: Path, title: str) -> ModuleType:
    """The module of a plug-in's file, run anew with the files beside it that it imports, as they are now.

    Raises HarnessError where another module has the name of one of them, and whatever its code raises.
    """
    file = file.resolve()
    spec = importlib.util.spec_from_file_location(title, file, loader=_FromSource(title, str(file)))
    if spec is None or spec.loader is None:
        raise HarnessError(f"{file} cannot be imported as Python")
    module = sys.modules[title] = importlib.util.module_from_spec(spec)
    with _anew(imported_files(file)), _importing_beside(file.parent):
        spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def _anew(beside: dict[str, Path]) -> Iterator[None]:
    """Has these modules loaded from their files, whoever loaded them before; the caller's own come back afterwards.

    Raises HarnessError where one of the names is another module's.
    """
    loaded = {name: sys.modules[name] for name in beside if name in sys.modules}
    theirs = {name: module for name, module in loaded.items() if module not in _OURS}
    for name, module in theirs.items():
        place = getattr(module, "__file__", None)
        if place is None or Path(place).resolve() != beside[name].resolve():
            raise HarnessError(
                f"it imports {name}, and {beside[name]} lies beside it, but another module of that name is loaded here "
                f"already ({place or 'a part of Python'}): give the file a name of its own"
            )
    for name in loaded:
        del sys.modules[name]
    try:
        yield
    finally:
        _OURS.update(sys.modules[name] for name in beside if name in sys.modules)
        sys.modules.update(theirs)


@contextlib.contextmanager
def _importing_beside(folder: Path) -> Iterator[None]:
    finder, place = _Beside(folder), str(folder)
    kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.meta_path.insert(_before_the_path(), finder)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
        sys.meta_path.remove(finder)
        sys.dont_write_bytecode = kept


def _before_the_path() -> int:
    finders: list[Any] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter]
    return max((place + 1 for place, finder in enumerate(sys.meta_path) if finder in finders), default=0)


class _Beside(MetaPathFinder):
    """Finds what lies in a folder and below it, and has it read from its source."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As Python asks for it: `path` is that of the package, None for a module of the top."""
        for place in path or [str(self._folder)]:
            if Path(place).is_relative_to(self._folder) and not _is_installed(Path(place)):
                finder = importlib.machinery.FileFinder(place, (_FromSource, [".py"]))
                spec = finder.find_spec(fullname, target)
                if spec is not None and spec.loader is not None:
                    return spec
        return None


class _FromSource(importlib.machinery.SourceFileLoader):
    """Reads the file itself: Python's cache takes an edit of equal size within the same second for the old code."""

    def get_code(self, fullname: str) -> Any:
        """The code of the file as it is now."""
        return self.source_to_code(self.get_data(self.path), self.path)
