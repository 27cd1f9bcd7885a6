"""Results → the model-index block in the YAML front matter of a README.md, which is otherwise left as it is.

The block is as mteb's users know it from model cards, FollowIR-7B's among them: for each task and
subset the task's type and name, the data set's type (its path on the hub), name, config, split and
revision, and its metrics, whose values are times 100, as is the custom there and as each metric's
name says. huggingface_hub's own parser reads it.

The text is edited, not written anew: the places of the front matter's nodes are known from the YAML
parser, so that every byte outside of what belongs to these results stays: comments, the order of
keys, line ends, other models' entries, and other results of this model. A second export replaces
what the first one wrote.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import HarnessError
from ..files.cache import write_atomically
from ..results.result import Identity, Result
from ..verdicts.pairing import Entry
from .mteb_out import figures_of, stage_of
from .names import mteb_key

__all__ = ["card_with", "export_card"]

_FRONT = re.compile(
    r"\s*---(?P<end>\r\n|\r|\n)(?P<yaml>.*?)(?<![^\r\n])---[ \t]*(?:\r\n|\r|\n|\Z)",
    re.DOTALL,
)
"""Front matter as huggingface_hub sees it."""

_KEY = "model-index"
_TASK_TYPE = "text-ranking"


def export_card(entries: Sequence[Entry], output: Path) -> list[str]:
    """Write the results of one reranker into the card `output`; returns what was left out, one line each.

    A card that is not there is made. Raises HarnessError for results of more than one reranker, two
    first stages of one task, nothing to write, and a card whose front matter cannot be edited.
    """
    left_out = [f"{e.path}: {reason}" for e in entries if (reason := _left_out(e.result))]
    kept = [entry.result for entry in entries if not _left_out(entry.result)]
    names = {result.identity.reranker for result in kept}
    if len(names) != 1:
        which = ", ".join(sorted(map(str, names))) or "; ".join(left_out[:3]) or "no result"
        raise HarnessError(f"a model card tells of one reranker, and these are {which}: name the folder of one")
    _refuse_twice(kept)
    try:
        before = output.read_bytes() if output.exists() else b""
        text = card_with(before.decode("utf-8"), str(names.pop()).rpartition("/")[2], [_block(r) for r in kept])
        write_atomically(output, text.encode())
    except UnicodeDecodeError:
        raise HarnessError(f"{output} is not UTF-8, as a model card must be") from None
    except OSError as error:
        raise HarnessError(f"cannot write {output}: {error.strerror or error}") from None
    except _NotEditable as reason:
        raise HarnessError(f"{output}: {reason}") from None
    return left_out


def _left_out(result: Result) -> str:
    """Why a result does not belong into a card; empty where it does."""
    identity = result.identity
    if identity.reranker is None:
        return "a first stage alone"
    if identity.limit is not None:
        return f"the first {identity.limit} queries alone"
    if identity.until:
        return "a part of the queries alone"
    if not identity.by_the_card:
        return "made by rules of its own (--relevance-level, --qrels-layer, --missing-text or --instructions)"
    return "" if _metrics(result) else "no value to write"


def _refuse_twice(results: Sequence[Result]) -> None:
    seen: dict[tuple[str, ...], Identity] = {}
    for result in results:
        identity = result.identity
        key = (identity.dataset, identity.subset, identity.split, identity.dataset_revision, identity.task)
        if key in seen:
            raise HarnessError(
                f"{identity.task} {identity.subset} has two results, over {stage_of(seen[key])} and "
                f"{stage_of(identity)}: a card has room for one; name the folder of one"
            )
        seen[key] = identity


def _metrics(result: Result) -> list[tuple[str, str, float]]:
    """(type, name, value × 100) of what was asked for, but for what says nothing of the reranker."""
    asked = {f"{name}{side}" for name in result.asked for side in ("", " og", " changed")}
    same = {f"R@{result.identity.top_k}", "Judged@10"}
    found = []
    for name, value in figures_of(result).items():
        key = mteb_key(name)
        if key is not None and name in asked and name.partition(" ")[0] not in same:
            side, metric = key
            found.append((f"{metric}_{side}" if side else metric, f"{name} (times 100)", value * 100))
    return found


def _block(result: Result) -> dict[str, Any]:
    """One entry of model-index's results."""
    identity = result.identity
    subset = "" if identity.subset == "default" else f" ({identity.subset})"
    return {
        "task": {"type": _TASK_TYPE, "name": f"Reranking of {stage_of(identity)}"},
        "dataset": {
            "type": identity.dataset, "name": f"{identity.task}{subset}", "config": identity.subset,
            "split": identity.split, "revision": identity.dataset_revision,
        },
        "metrics": [{"type": kind, "value": value, "name": name} for kind, name, value in _metrics(result)],
    }  # fmt: skip


# -- editing the text


class _NotEditable(Exception):  # noqa: N818  (becomes a HarnessError that names the file)
    """Why a card cannot be edited without touching what others wrote."""


def card_with(text: str, model: str, results: Sequence[dict[str, Any]]) -> str:
    """`text`, a whole README.md, with `results` among those of `model` in its model-index.

    Raises _NotEditable for front matter that is no block of YAML with a model-index in block style.
    """
    if text.startswith("\ufeff"):
        raise _NotEditable("begins with a byte order mark, behind which the hub sees no front matter: save it without")
    found = _FRONT.match(text)
    if found is None:
        end = "\r\n" if "\r\n" in text else "\n"
        return f"---{end}{_lines(_index(model, results), 0, end)}---{end}{text}"
    front, end = found["yaml"], found["end"]
    if end == "\r":
        raise _NotEditable("its lines end in CR alone: save it with LF or CR LF")
    edited = _edit(front, model, results, end)
    _check(front, edited, model, results)
    return text[: found.start("yaml")] + edited + text[found.end("yaml") :]


def _index(model: str, results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {_KEY: [{"name": model, "results": list(results)}]}


def _edit(front: str, model: str, results: Sequence[dict[str, Any]], end: str) -> str:
    """The front matter with the results in it: replaced where they are, else added as deep as their neighbours."""
    root = _composed(front)
    index = _child(root, _KEY) if root is not None else None
    if index is None:
        gap = "" if not front or front.endswith("\n") else end
        return front + gap + _lines(_index(model, results), 0, end)
    _require_block(index, yaml.SequenceNode, _KEY)
    own = next((each for each in index.value if _scalar(each, "name") == model), None)
    if own is None:
        return _appended(front, index, [{"name": model, "results": list(results)}], end)
    listed = _child(own, "results")
    _require_block(listed, yaml.SequenceNode, f"the results of {model}")
    new = {_identity(result): result for result in results}
    for item in reversed(listed.value):
        known = _identity(yaml.safe_load(yaml.serialize(item)))
        if known in new:
            front = _replaced(front, item, new.pop(known), end)
    # The replaced items have moved what comes after them: the places are read anew.
    rest = list(new.values())
    if rest:
        again = next(each for each in _child(_composed(front), _KEY).value if _scalar(each, "name") == model)
        front = _appended(front, _child(again, "results"), rest, end)
    return front


def _identity(result: Any) -> tuple[object, ...]:
    """What one result of a card is of: huggingface_hub's own rule, and the task's name, where our first stage stands."""
    try:
        task, data = result["task"], result["dataset"]
        keys = ("type", "name", "config", "split", "revision")
        return (task.get("type"), task.get("name"), *(data.get(key) for key in keys))
    except (TypeError, KeyError, AttributeError):
        return ()


def _composed(front: str) -> Any:
    try:
        root = yaml.compose(front, yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _NotEditable(f"its front matter is not YAML: {str(error).splitlines()[0]}") from None
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise _NotEditable("its front matter is no mapping of keys")
    if root is not None and root.flow_style:
        raise _NotEditable("its front matter is one {…}: write a key on each line")
    return root


def _child(node: Any, key: str) -> Any:
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for name, value in node.value if name.value == key), None)


def _scalar(node: Any, key: str) -> str | None:
    found = _child(node, key)
    return found.value if isinstance(found, yaml.ScalarNode) else None


def _require_block(node: Any, kind: type, what: str) -> None:
    if not isinstance(node, kind) or node.flow_style or not node.value:  # type: ignore[attr-defined]
        raise _NotEditable(f"{what} is no list of lines that begin with -: write it so, or remove it")


def _last_index(node: Any) -> int:
    """Where a node's text ends: its own end mark lies behind the comments that follow it."""
    if isinstance(node, yaml.ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _last_index(last[1] if isinstance(last, tuple) else last)


def _line_end(front: str, index: int) -> int:
    """Behind the line that holds `index`; a scalar of several lines may have ended on the next line's begin."""
    if index and front[index - 1] == "\n":
        return index
    found = front.find("\n", index)
    return len(front) if found < 0 else found + 1


def _dash(front: str, item: Any) -> int:
    """Where the `-` of an item stands."""
    return front.rindex("-", 0, item.start_mark.index)


def _appended(front: str, sequence: Any, items: Sequence[dict[str, Any]], end: str) -> str:
    place = _line_end(front, _last_index(sequence))
    dash = _dash(front, sequence.value[0])
    indent = dash - (front.rfind("\n", 0, dash) + 1)
    gap = "" if front[:place].endswith("\n") else end
    return front[:place] + gap + _lines(list(items), indent, end) + front[place:]


def _replaced(front: str, item: Any, result: dict[str, Any], end: str) -> str:
    dash, behind = _dash(front, item), _line_end(front, _last_index(item))
    indent = dash - (front.rfind("\n", 0, dash) + 1)
    # The text before the dash stays: the first item of a list may stand behind another dash.
    return front[:dash] + _lines([result], indent, end)[indent:] + front[behind:]


class _Dumper(yaml.SafeDumper):
    """Writes strings that hold line ends of any kind in double quotes, with escapes: each key stays on one line."""


def _string(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if text.isprintable() else '"')


_Dumper.add_representer(str, _string)


def _lines(value: Any, indent: int, end: str) -> str:
    text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)
    return "".join(f"{' ' * indent}{line}{end}" for line in text.split("\n")[:-1])


@dataclass(frozen=True)
class _Same:
    """What an edit must leave: every key but model-index, every other model, every other result."""

    others: Any
    models: Any
    results: Any


def _check(before: str, after: str, model: str, results: Sequence[dict[str, Any]]) -> None:
    """Raises _NotEditable where the edited YAML does not say what it said and the new results: never written then."""
    try:
        old, new = yaml.safe_load(before) or {}, yaml.safe_load(after)
    except yaml.YAMLError:
        raise _NotEditable("its model-index is written in a way that cannot be edited: remove it, or tidy it") from None
    ours = {_identity(result) for result in results}
    kept = [_without(record, model, ours) for record in (old, new)]
    index = [own for own in new.get(_KEY, []) if own.get("name") == model]
    there = [result for own in index for result in own.get("results", []) if _identity(result) in ours]
    if kept[0] != kept[1] or sorted(map(str, there)) != sorted(map(str, results)):
        raise _NotEditable("its model-index is written in a way that cannot be edited: remove it, or tidy it")


def _without(record: Any, model: str, ours: set[tuple[object, ...]]) -> _Same:
    index = record.get(_KEY) or []
    mine = [own for own in index if own.get("name") == model]
    return _Same(
        {key: value for key, value in record.items() if key != _KEY},
        [own for own in index if own.get("name") != model],
        [result for own in mine for result in own.get("results", []) if _identity(result) not in ours],
    )
