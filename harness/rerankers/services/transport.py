"""Posting JSON over HTTP with patience: time-outs, retries, `Retry-After`.

An answer has a time for all of it, so one that drips is given up, and a size beyond which it is not read. Busy servers (429, 5xx), lost connections, time-outs and answers cut short are tried again, each
time after about twice the wait, shortened at random so that many clients do not return together.
The key is sent in a header and nowhere else: it is taken out of everything a server says before
that becomes a message, and redirects, which would carry it to another host, are not followed.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, IncompleteRead
from threading import Event, Thread
from time import monotonic
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ...errors import HarnessError

__all__ = ["LONGEST_WAIT", "Answered", "Patience", "Poster", "RefusedError", "Service", "StoppedError", "retry_after"]

LONGEST_WAIT = 300.0
"""Seconds; a server that asks for a longer wait ends the run, which can go on later."""


@dataclass(frozen=True)
class Patience:
    """How often a request is tried, how long a whole answer may take, and the first wait; in seconds."""

    tries: int = 6
    timeout: float = 60.0
    first_wait: float = 1.0


_MOST_BYTES = 64 * 2**20
"""An answer has some hundred bytes a document; what is larger is none."""
_BEARER: Mapping[str, str] = {"Authorization": "Bearer {key}"}


@dataclass(frozen=True)
class Service:
    """Whom the requests go to: the name for messages, the address, the variable that holds the key, and headers.

    `{key}` in a header is the key; where no header has it, it is sent as a bearer token.
    """

    name: str
    url: str
    key_variable: str | None
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusedError(HarnessError):
    """A request that a server refuses for what is in it: its status, and what the server said, without the key."""

    def __init__(self, name: str, status: int, said: str) -> None:
        super().__init__(f"{name} refused the request (HTTP {status}): {said[:200] or 'without a reason'}")
        self.status, self.said = status, said


class StoppedError(Exception):
    """Given up because another request has failed for good."""


class _NoRedirect(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


class _Failure(NamedTuple):
    """Why a try failed, and the wait in seconds that the server asked for."""

    reason: str
    asked: float | None = None


class Answered(NamedTuple):
    """The parsed answer, the seconds from sending to its last byte, and how often the request was tried before."""

    value: Any
    seconds: float
    retries: int


class Poster:
    """Posts to one service. `key` is sent as a bearer token where it is not None."""

    def __init__(self, service: Service, key: str | None, patience: Patience) -> None:
        self._service, self._key, self._patience = service, key, patience

    def post(self, payload: dict[str, Any], stop: Event) -> Answered:
        """The parsed JSON answer, and how long the try took that brought it.

        Raises HarnessError for an answer that trying again cannot mend, and after the last try;
        StoppedError where `stop` is set before a try.
        """
        body = json.dumps(payload).encode()
        failure = _Failure("")
        for attempt in range(self._patience.tries):
            if stop.wait(self._wait(attempt, failure) if attempt else 0):
                raise StoppedError
            started = monotonic()
            found = self._try(body)
            if not isinstance(found, _Failure):
                return Answered(found[0], monotonic() - started, attempt)
            failure = found
        raise HarnessError(
            f"{self._service.name} did not answer in {self._patience.tries} tries; the last: {failure.reason}. "
            f"What was scored before is kept; the same command goes on from there."
        )

    def _wait(self, attempt: int, failure: _Failure) -> float:
        if failure.asked is None:
            return float(min(LONGEST_WAIT, self._patience.first_wait * 2 ** (attempt - 1)) * random.uniform(0.5, 1))
        if failure.asked > LONGEST_WAIT:
            raise HarnessError(
                f"{self._service.name} asks to wait {failure.asked:.0f} seconds ({failure.reason}); what was scored "
                f"before is kept, so start the same command again after that"
            )
        return failure.asked * random.uniform(1, 1.1)

    def _try(self, body: bytes) -> tuple[Any] | _Failure:
        """The answer in a tuple (it may be null), or why there is none."""
        try:
            return (json.loads(self._within_time(body), parse_int=_whole),)
        except HTTPError as error:
            return self._refused(error.code, getattr(error, "beginning", b""), error.headers.get("Retry-After"))
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            return _Failure(self._clean(f"{type(reason).__name__}: {reason}"))
        except RecursionError:
            raise HarnessError(f"{self._service.name}: the answer is nested too deep to be one") from None
        except ValueError:
            return _Failure("the answer is not JSON, or was cut short")

    def _within_time(self, body: bytes) -> bytes:
        """The answer's bytes. Raises TimeoutError where not all of it comes in time, also where its head drips.

        A socket's own time-out begins anew with every byte, so the whole is waited for from outside.
        """
        found: list[bytes | Exception] = []
        deadline = monotonic() + self._patience.timeout

        def work() -> None:
            try:
                found.append(self._open(body, deadline))
            except Exception as error:  # noqa: BLE001  (handed to the thread that waits)
                if isinstance(error, HTTPError):
                    error.beginning = _body(error)  # type: ignore[attr-defined]
                found.append(error)

        thread = Thread(target=work, daemon=True)
        thread.start()
        thread.join(self._patience.timeout)
        if not found:
            raise TimeoutError(f"no whole answer in {self._patience.timeout:g} seconds")
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def _open(self, body: bytes, deadline: float) -> bytes:
        request = Request(self._service.url, body, {"Content-Type": "application/json", "User-Agent": "rerank-harness"})  # noqa: S310  (the address was checked to be http or https)
        headers = self._service.headers
        if not any("{key}" in text for text in headers.values()):
            headers = {**headers, **_BEARER}
        for name, text in headers.items():
            if self._key is not None or "{key}" not in text:
                # Unredirected headers are sent to this address alone.
                request.add_unredirected_header(name, text.replace("{key}", self._key or ""))
        with build_opener(_NoRedirect).open(request, timeout=self._patience.timeout) as answer:
            return self._whole_body(answer, deadline)

    def _whole_body(self, answer: Any, deadline: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        while part := answer.read1(2**16):
            parts.append(part)
            size += len(part)
            if size > _MOST_BYTES:
                raise HarnessError(f"{self._service.name}: the answer has more than {_MOST_BYTES // 2**20} MiB")
            if monotonic() > deadline:
                raise TimeoutError
        if answer.length:
            raise IncompleteRead(b"", answer.length)
        return b"".join(parts)

    def _refused(self, status: int, body: bytes, wait: str | None) -> _Failure:
        name, variable = self._service.name, self._service.key_variable
        said = self._clean(body.decode("utf-8", "replace"))
        if status == 429 or status >= 500:
            return _Failure(f"HTTP {status} {said}".strip(), retry_after(wait))
        if status in (401, 403):
            holder = f"is the key in {variable} right?" if variable else "if it needs a key, --set key_variable=NAME."
            raise HarnessError(f"{name} refused access (HTTP {status}): {holder}") from None
        if 300 <= status < 400:
            raise HarnessError(
                f"{name} answers with a redirect (HTTP {status}), which is not followed: check the url"
            ) from None
        raise RefusedError(name, status, self._clean(body.decode("utf-8", "replace"), 1000)) from None

    def _clean(self, text: str, longest: int = 200) -> str:
        """One short line of what a server or socket said, without the key."""
        if self._key:
            text = text.replace(self._key, "***")
        return " ".join(text.split())[:longest]


def _body(error: HTTPError) -> bytes:
    """The beginning of what came with an error; nothing where even that was cut short."""
    try:
        with error:
            return error.read(2000)
    except (OSError, HTTPException):
        return b""


def _whole(digits: str) -> int | float:
    """A whole number; one that no float can hold is infinite, and refused where it is known what it counts."""
    return int(digits) if len(digits) < 300 else math.copysign(math.inf, -1 if digits.startswith("-") else 1)


def retry_after(value: str | None) -> float | None:
    """The seconds that a `Retry-After` header asks for: a number, or an HTTP date (RFC 9110, 10.2.3).

    None where there is no header, or one that is neither.
    """
    if value is None:
        return None
    if re.fullmatch(r"\s*[0-9]+(\.[0-9]+)?\s*", value):
        return float(value)
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
