"""Which label of a classifier means relevant: by the model's own words, or by the user's, never by habit.

config.json's `id2label` often says it (relevant and irrelevant, yes and no, LABEL_0 and LABEL_1). Where it does not,
or a model has three labels, a guess would be a wrong ranking that looks like a right one, so it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import HarnessError, did_you_mean
from ...models.source import ModelSource

__all__ = ["Labels", "read_labels"]

_RELEVANT = frozenset({"1", "label 1", "relevant", "is relevant", "relevance", "yes", "true", "match", "相关", "是"})
_IRRELEVANT = frozenset(
    {"0", "label 0", "irrelevant", "not relevant", "non relevant", "nonrelevant", "unrelevant", "is not relevant"}
    | {"no", "false", "no match", "not match", "non match", "nonmatch", "不相关", "无关", "否"}
)
_NUMBERED = frozenset({"0", "label 0", "1", "label 1"})
"""Words that say it of a pair only, as one of two."""
_UNNAMED = frozenset({"0", "label 0"})
"""What a single label is called where nobody named it."""


@dataclass(frozen=True)
class Labels:
    """A classifier's labels and the one that is scored."""

    names: tuple[str, ...]
    scored: int

    @property
    def count(self) -> int:
        return len(self.names)

    @property
    def setting(self) -> dict[str, int]:
        """What a fingerprint needs: nothing where the last of at most two is scored, which has always been the rule."""
        usual = self.count <= 2 and self.scored == self.count - 1
        return {} if usual else {"label": self.scored}

    @property
    def note(self) -> str | None:
        """What is said of several labels."""
        if self.count == 1:
            return None
        return f'label {self.scored} ("{self.names[self.scored]}") of {_listed(self.names)} is scored'

    def margins(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """The log-odds of the scored label, shape (rows,), of logits (rows, labels): its sigmoid is softmax[label].

        Of a single label its logit; of two the difference of their logits. Raises HarnessError where the weights have
        another number of labels than config.json.
        """
        if logits.shape[1] != self.count:
            raise HarnessError(
                f"the model gives {logits.shape[1]} logits a pair, and config.json has {_listed(self.names)}"
            )
        if self.count == 1:
            return logits[:, 0]
        others = np.delete(logits, self.scored, axis=1)
        if self.count == 2:
            rest = others[:, 0]
        else:
            top = others.max(axis=1, keepdims=True)
            rest = top[:, 0] + np.log(np.exp(others - top).sum(axis=1))
        found: NDArray[np.float32] = (logits[:, self.scored] - rest).astype(np.float32)
        return found


def read_labels(source: ModelSource, asked: str | None = None, usual: int | None = None) -> Labels:
    """The labels of config.json, and which of them is scored: `asked` (a number from 0, or a name), else by their names.

    `usual` is the one that the family's authors score, where the names do not say it. Raises HarnessError where `asked`
    is none of them, and where nothing says which one means relevant.
    """
    names = _names(source.config)
    if asked is not None:
        return Labels(names, _asked(source.name, names, asked))
    relevant = [place for place, name in enumerate(names) if _words(name) in _RELEVANT]
    irrelevant = [place for place, name in enumerate(names) if _words(name) in _IRRELEVANT]
    if len(names) == 1 and (not irrelevant or _words(names[0]) in _UNNAMED):
        return Labels(names, 0)
    # Of two labels one word is enough where the other is no grade of it; of more every label must be spoken for.
    clear = len(irrelevant) == len(names) - 1 or (len(names) == 2 and not any(map(_is_grade, names)))
    if len(relevant) == 1 and clear:
        return Labels(names, relevant[0])
    if usual is not None and usual < len(names):
        return Labels(names, usual)
    raise HarnessError(
        f"{source.name} has {_listed(names)}, and their names do not say which one means relevant: "
        f"--set label={len(names) - 1} scores the last (a number from 0, or a name); its card or its authors' code tells"
    )


def _names(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Each label's name. transformers' own where config.json has none: LABEL_0 and LABEL_1."""
    stated: Mapping[str, Any] = config.get("id2label") or {}
    count = int(config.get("num_labels") or len(stated) or 2)
    return tuple(str(stated.get(str(place), stated.get(place, f"LABEL_{place}"))) for place in range(count))  # type: ignore[call-overload]


def _asked(model: str, names: tuple[str, ...], asked: str) -> int:
    word = asked.strip()
    if word in names:
        if names.count(word) == 1:
            return names.index(word)
    elif word.isascii() and word.isdigit() and len(word) < 10 and int(word) < len(names):
        return int(word)
    raise HarnessError(f"--set label={asked}: {model} has {_listed(names)}; name one.{did_you_mean(word, names)}")


def _is_grade(name: str) -> bool:
    """Whether a name is one of a scale (`LABEL_2`, `3 stars`, `highly relevant`), whose other end may be the better one."""
    words = _words(name)
    scale = re.search(r"[0-9]", words) or re.search(r"relevan|相关", words)
    return bool(scale) and words not in _RELEVANT - _NUMBERED | _IRRELEVANT - _NUMBERED


def _words(name: str) -> str:
    """`LABEL_1`, `Not-Relevant`, `notRelevant` → label 1, not relevant, not relevant."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return " ".join(re.split(r"[\W_]+", apart.strip(" .!?_-"))).casefold()


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(f"{place} {name}" for place, name in enumerate(names[:8]))
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{len(names)} label{'s' if len(names) > 1 else ''} ({shown}{more})"
