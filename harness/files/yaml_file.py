"""Reading a YAML file that a person wrote, strictly: cards, suites, boards, templates."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import HarnessError

if TYPE_CHECKING:
    import yaml

__all__ = ["read_yaml"]


def read_yaml(path: Path) -> Any:
    """What the file holds, read by a safe loader.

    Raises HarnessError, with the line where there is one, for a file that cannot be read, is not UTF-8 or not
    YAML, and for a key that stands twice: YAML's own loaders take the last and say nothing of the first.
    """
    import yaml

    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_loader())  # noqa: S506  (a safe loader)
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f", line {where.line + 1}" if where else ""
        raise HarnessError(f"{path}{line}: not valid YAML: {getattr(error, 'problem', error)}") from None
    except UnicodeDecodeError:
        raise HarnessError(f"{path}: not UTF-8 text") from None
    except OSError as error:
        raise HarnessError(f"cannot read {path}: {error.strerror or error}") from None


@cache
def _loader() -> type[yaml.SafeLoader]:
    """The safe loader, in C where there is one, that refuses a key that stands twice."""
    import yaml

    fast: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Strict(fast):  # type: ignore[misc, valid-type]
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            seen = set()
            for key, _ in node.value:
                if isinstance(key, yaml.ScalarNode):
                    if key.value in seen:
                        problem = f'the key "{key.value}" stands twice'
                        raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                    seen.add(key.value)
            found: dict[Any, Any] = super().construct_mapping(node, deep)
            return found

    return Strict
