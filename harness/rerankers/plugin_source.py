"""The code of a plug-in: its file, and those beside it that it imports, by what stands in them.

Read from the import statements, wherever they stand, so that it is the same in every process. What a plug-in
loads by a name that it makes up, and data it reads, nobody sees.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import hashlib
import importlib.machinery
import importlib.util
import sys
import weakref
from collections.abc import Iterator, Mapping, Sequence
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

    Its import statements find these files also later, when it scores. Raises HarnessError where another module has
    the name of one of them, and whatever its code raises.
    """
    file = file.resolve()
    beside = imported_files(file)
    own = _Own(file.parent, beside)
    spec = importlib.util.spec_from_file_location(title, file, loader=_FromSource(title, str(file), own))
    if spec is None or spec.loader is None:
        raise HarnessError(f"{file} cannot be imported as Python")
    module = sys.modules[title] = importlib.util.module_from_spec(spec)
    with _anew(beside), own.at_hand():
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
        sys.modules.update(theirs)


class _Own:
    """The modules of one plug-in: what its import statements find, and those of no other, whatever they are called."""

    def __init__(self, folder: Path, beside: Mapping[str, Path]) -> None:
        self._folder = folder
        self._names = {name.partition(".")[0] for name in beside}
        self._modules: dict[str, ModuleType] = {}
        self._in_hand = False

    def statement(
        self,
        name: str,
        of: Mapping[str, Any] | None = None,
        local: Mapping[str, Any] | None = None,
        what: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        """What an import statement does: Python's `__import__`, in the plug-in's code."""
        asked = str((of or {}).get("__package__")) if level else name
        own = asked.partition(".")[0] in self._names and not self._in_hand
        with self.at_hand() if own else contextlib.nullcontext():
            return builtins.__import__(name, of, local, what, level)

    @contextlib.contextmanager
    def at_hand(self) -> Iterator[None]:
        """Has them in the place of those that other plug-ins loaded by their names."""
        others = self._there()
        for name in others:
            del sys.modules[name]
        sys.modules.update(self._modules)
        self._in_hand = True
        finder, place = _Beside(self._folder, self), str(self._folder)
        kept, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        sys.meta_path.insert(_before_the_path(), finder)
        sys.path.insert(0, place)
        try:
            yield
        finally:
            sys.path.remove(place)
            sys.meta_path.remove(finder)
            sys.dont_write_bytecode = kept
            self._in_hand = False
            self._modules = self._there()
            _OURS.update(self._modules.values())
            sys.modules.update(others)

    def _there(self) -> dict[str, ModuleType]:
        return {name: module for name, module in list(sys.modules.items()) if name.partition(".")[0] in self._names}


def _before_the_path() -> int:
    finders: list[Any] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter]
    return max((place + 1 for place, finder in enumerate(sys.meta_path) if finder in finders), default=0)


class _Beside(MetaPathFinder):
    """Finds what lies in a folder and below it, and has it read from its source."""

    def __init__(self, folder: Path, own: _Own) -> None:
        self._folder, self._loader = folder, functools.partial(_FromSource, own=own)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """As Python asks for it: `path` is that of the package, None for a module of the top."""
        for place in path or [str(self._folder)]:
            if Path(place).is_relative_to(self._folder) and not _is_installed(Path(place)):
                loader: Any = self._loader
                spec = importlib.machinery.FileFinder(place, (loader, [".py"])).find_spec(fullname, target)
                if spec is not None and spec.loader is not None:
                    return spec
        return None


class _FromSource(importlib.machinery.SourceFileLoader):
    """Reads the file itself: Python's cache takes an edit of equal size within the same second for the old code."""

    def __init__(self, fullname: str, path: str, own: _Own) -> None:
        super().__init__(fullname, path)
        self._own = own

    def get_code(self, fullname: str) -> Any:
        """The code of the file as it is now."""
        return self.source_to_code(self.get_data(self.path), self.path)

    def exec_module(self, module: ModuleType) -> None:
        """Runs the code; its import statements are the plug-in's."""
        vars(module)["__builtins__"] = {**vars(builtins), "__import__": self._own.statement}
        super().exec_module(module)
