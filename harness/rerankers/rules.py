"""How a reranker is run and whether that rule was ever held against its authors' code: the lines of `check`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path

from ..files.yaml_file import read_yaml
from .base import Basis, Reranker
from .known import known_models

__all__ = ["basis_of", "known_rules", "lines_of"]

_NAMED_BY = ("template", "variant")


@cache
def known_rules() -> Mapping[str, Mapping[str, str]]:
    """rule → prompt, activation and verified, as far as rules.yaml has them."""
    table: dict[str, dict[str, str]] = read_yaml(Path(__file__).with_name("rules.yaml"))
    return table


def basis_of(reranker: Reranker) -> Basis:
    """What its family says of it, and where it says nothing what rules.yaml does."""
    basis, spec = reranker.basis, reranker.spec
    settings = dict(spec.settings)
    named = next((f"{spec.family}/{settings[key]}" for key in _NAMED_BY if settings.get(key)), spec.family)
    rule = basis.rule or named
    said = {**known_rules().get(spec.family, {}), **known_rules().get(rule, {})}
    return replace(
        basis,
        rule=rule,
        prompt=basis.prompt or said.get("prompt", ""),
        activation=basis.activation or said.get("activation", ""),
    )


def lines_of(reranker: Reranker) -> Iterator[tuple[str, str]]:
    """A name and a line each for what decided the family, the prompt, the activation, and what holds the rule."""
    basis = basis_of(reranker)
    family = known_rules().get(reranker.spec.family, {}) if "/" not in basis.rule else {}
    own = known_rules().get(basis.rule)
    verified = (own if own is not None else family).get("verified")
    yield "decided by", basis.decided_by or "the form of its name"
    yield "prompt", basis.prompt
    yield "published activation", basis.activation
    yield "rule", _held(basis.rule, verified, reranker.spec.name)


def _held(rule: str, verified: str | None, name: str) -> str:
    """What a rule was held against, and whether it is known to be that of the model `name`."""
    if not verified:
        return f"{rule}, inferred: never run beside its authors' code"
    beside = known_models().get(name, {}).get("rule") == "inferred"
    return f"{rule}, verified against {verified}" + ("; that this model is run by it is inferred" if beside else "")
