"""Rerankers behind the rerank request that providers and servers share; see providers.yaml for which.

    remote:cohere/rerank-v3.5
    remote:vllm/BAAI/bge-reranker-v2-m3 --set url=http://localhost:8000
    remote:mine/some-model --set providers=mine.yaml

A query's documents travel in one request, but each is scored on its own, so scores are kept pair by
pair; for the few that see them together (`context=list`) the whole list is the key. Keys are read from the
environment when the first request is made. A provider can change a model without a word, so only
scores of a stated `revision` serve other runs; without one they serve to resume this run.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from ...engine.options import Options
from ...errors import HarnessError, did_you_mean
from ...files.digest import digest_of_settings
from ...models.settings import Reader, one_of, read_settings, whole_number
from ...text import JOIN_RULE
from ..base import Reranker, RerankerSpec
from ..services.cost import Prices
from ..services.providers import Provider, read_providers
from ..services.scorer import RemoteList, RemotePairs, RemoteScorer, Sending

__all__ = [
    "FAMILY",
    "Provider",
    "RemoteList",
    "RemotePairs",
    "RemoteScorer",
    "is_remote",
    "open_remote",
    "read_providers",
]

FAMILY = "remote"
VERSION = 1
_PREFIX = "remote:"
_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*\Z")


def _price(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e9:
        raise ValueError("an amount of money, such as 0.05")
    return found


def _names(text: str) -> tuple[str, ...]:
    return tuple(sorted({part.strip() for part in text.split(",") if part.strip()}))


_READERS: dict[str, Reader] = {
    "concurrency": whole_number,
    "context": one_of("pair", "list"),
    "documents_per_request": whole_number,
    "instruction": str,
    "instruction_field": str,
    "key_variable": str,
    "leave_out": _names,
    "max_chars": whole_number,
    "price_per_million_tokens": _price,
    "price_per_thousand_units": _price,
    "providers": lambda text: Path(text).expanduser(),
    "revision": str,
    "timeout": whole_number,
    "tokens_per_request": whole_number,
    "tries": whole_number,
    "url": str,
}


def is_remote(name: str) -> bool:
    """Whether a `--reranker` word names a provider's model."""
    return name.startswith(_PREFIX)


def open_remote(name: str, options: Options) -> Reranker:
    """The reranker that `remote:PROVIDER/MODEL` means. Sends nothing and needs no key yet.

    Settings: url (the address of a server of one's own), providers (a YAML file with more of them, in the form of
    providers.yaml), key_variable (the environment variable with the key), revision (states that scores may be kept under
    this word), instruction (for queries that bring none; `card`: the task's sentence), instruction_field (where it stands
    in the request, or `none`: joined to the query), leave_out (fields not to be sent, with commas), max_chars (documents
    are sent whole without it), context (list for a model that sees a query's documents together), documents_per_request,
    tokens_per_request, concurrency, timeout (seconds for a whole answer), tries, price_per_million_tokens,
    price_per_thousand_units. Raises HarnessError for an unknown provider, or an address that is missing or not usable.
    """
    provider_name, _, model = name.removeprefix(_PREFIX).partition("/")
    chosen: dict[str, Any] = read_settings(FAMILY, options.settings, _READERS)
    own: Path | None = chosen.get("providers")
    providers = read_providers(own)
    if provider_name not in providers or not model:
        raise HarnessError(
            f"{name}: a provider's model is written remote:PROVIDER/MODEL, with a provider of {', '.join(providers)}; "
            f"--set providers=FILE.yaml adds others.{did_you_mean(provider_name, providers)}"
        )
    packed = read_providers().get(provider_name)
    published = providers[provider_name]
    return _open(name, model, published, _adapted(name, published, chosen), chosen, own=published != packed)


def _open(
    name: str, model: str, published: Provider, provider: Provider, chosen: Mapping[str, Any], *, own: bool
) -> Reranker:
    base = _base_address(name, chosen.get("url") or provider.url)
    variable = _key_variable(chosen.get("key_variable") or provider.key_variable)
    usual: Literal["pair", "list"] = "list" if provider.sees_lists(model) else "pair"
    context: Literal["pair", "list"] = chosen.get("context", usual)
    revision, instruction = chosen.get("revision"), str(chosen.get("instruction", ""))
    settings: dict[str, Any] = {
        "host": base.partition("://")[2],
        "join": JOIN_RULE,
        "max_chars": chosen.get("max_chars"),
        "model": model,
        "provider": name.removeprefix(_PREFIX).partition("/")[0],
        "revision": revision,
        "version": VERSION,
    }
    # What is not as it was when scores were first kept has a key of its own.
    if instruction:
        settings["instruction"] = instruction
    if provider.instruction is not None or published.instruction is not None:
        settings["instruction_field"] = provider.instruction
    if provider.more != published.more:
        settings["left_out"] = ",".join(chosen["leave_out"])
    if own:
        settings["request"] = digest_of_settings(asdict(published).items())
    spec = RerankerSpec(
        name,
        FAMILY,
        hashlib.blake2b((revision or "not stated").encode(), digest_size=20).hexdigest(),
        tuple(sorted(settings.items())),
        context,
        declared=revision is not None,
    )
    prices = Prices(chosen.get("price_per_million_tokens"), chosen.get("price_per_thousand_units"))
    sending = Sending(chosen.get("max_chars"), "" if instruction == "card" else instruction, prices)

    def load() -> RemoteScorer:
        from ..services.transport import Patience, Poster, Service

        patience = Patience(chosen.get("tries", Patience.tries), chosen.get("timeout", Patience.timeout))
        address = base + provider.path.replace("{model}", quote(model, safe=""))
        poster = Poster(Service(name, address, variable, provider.headers), _key(name, variable), patience)
        scorer = RemoteList if context == "list" else RemotePairs
        return scorer(provider, model, poster, chosen.get("concurrency", 4), sending)

    opened = Reranker(spec, load, one_load=True)
    opened.estimate = partial(sending.estimate, provider, context)
    if instruction == "card":
        opened.bind = lambda sentence: _open(
            name, model, published, provider, {**chosen, "instruction": sentence}, own=own
        )
    return opened


def _adapted(name: str, provider: Provider, chosen: Mapping[str, Any]) -> Provider:
    """The provider with the user's limits and fields. Raises HarnessError for a field to leave out that is not sent."""
    sent = dict(provider.more)
    for field in chosen.get("leave_out", ()):
        if field not in sent:
            raise HarnessError(
                f"{name} sends no field {field} that could be left out; beside query, documents and the like it sends: "
                f"{', '.join(sent) or 'none'}.{did_you_mean(field, sent)}"
            )
        del sent[field]
    place = chosen.get("instruction_field", provider.instruction)
    return replace(
        provider,
        more=sent,
        instruction=None if place == "none" else place,
        at_most=chosen.get("documents_per_request", provider.at_most),
        at_most_tokens=chosen.get("tokens_per_request", provider.at_most_tokens),
    )


def _base_address(name: str, url: str | None) -> str:
    """The address without a path to the request. Nothing of an unusable one is repeated: it may hold a secret."""
    if url is None:
        raise HarnessError(f"{name} runs on a server of your own: --set url=http://HOST:PORT")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise HarnessError(f"{name}: url is written http://HOST:PORT or https://HOST")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise HarnessError(
            f"{name}: url holds more than an address (a user, a password, a query); a key belongs in an "
            f"environment variable, named with --set key_variable=NAME"
        )
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _key_variable(variable: str | None) -> str | None:
    if variable is not None and not _VARIABLE.match(variable):
        # What was typed is not repeated: it may be the key itself.
        raise HarnessError("key_variable is the name of an environment variable, in capitals, such as MY_API_KEY")
    return variable


def _key(name: str, variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise HarnessError(f"{name} needs a key: set the environment variable {variable}")
    if not re.fullmatch(r"[!-~]+", key):
        raise HarnessError(f"{name}: the environment variable {variable} holds characters that no key has")
    return key
