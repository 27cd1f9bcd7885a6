"""Files and commits of the Hugging Face hub, through its own client.

HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE mean what the client says they mean. Downloads
are retried quietly; what cannot be mended by trying again is one HarnessError that says how to
mend it. No code from a repository is ever run.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import re
import time
import urllib.parse
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from ..errors import HarnessError
from .cache import write_atomically
from .digest import digest_of

__all__ = [
    "Kind",
    "Resolved",
    "fetch_file",
    "fetch_files",
    "file_sizes",
    "path_here",
    "repository_files",
    "resolve_revision",
]

Kind = Literal["dataset", "model"]

_COMMIT = re.compile(r"[0-9a-f]{40}")
_QUICK_S = 5.0
_PATHS_A_REQUEST = 500
_TRIES = 5
_FIRST_WAIT_S = 0.2
_PATIENCE_S = 45.0
"""After this long the client, which resumes broken downloads by itself, has had tries enough too."""
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR)

Answer = TypeVar("Answer")


class Resolved(NamedTuple):
    """A repository's commit, 40 hex digits; `note` says so where it is not the hub's answer of now."""

    commit: str
    note: str | None = None


class _Repository(NamedTuple):
    kind: Kind
    name: str

    def __str__(self) -> str:
        return f"{'data set' if self.kind == 'dataset' else 'model'} {self.name}"


# -- what is asked of the hub


def resolve_revision(kind: Kind, name: str, revision: str | None, cache: Path) -> Resolved:
    """The commit that `revision` (a commit, the beginning of one, a tag, a branch; None is main) stands for.

    A whole commit needs no network. Anything else is one quick request, whose answer is remembered:
    where the hub cannot be reached the last known commit is used, and `note` names it. Raises
    HarnessError for an unknown, gated or private repository, an unknown revision, and a hub that
    cannot be reached with nothing remembered.
    """
    wanted = revision or "main"
    if _COMMIT.fullmatch(wanted):
        return Resolved(wanted)
    repository = _Repository(kind, name)
    memory = _memory(cache, "revisions", repository, wanted)
    known = _last_known(memory, repository, wanted)
    try:
        info = _patiently(lambda: _info(repository, wanted), 1 if known else _TRIES)
    except _hub_errors() as error:
        if known is None or _trouble(error) == "final":
            raise _explained(error, repository, wanted) from error
        commit, day = known
        return Resolved(commit, f"hub not reachable; using the last known commit {commit[:8]} of {day}")
    commit, today = str(info["sha"]), datetime.now(UTC).date().isoformat()
    if known != (commit, today):
        _remember(memory, {"kind": kind, "name": name, "revision": wanted, "commit": commit, "day": today})
        _remember_files(_memory(cache, "files", repository, commit), _names(info))
    return Resolved(commit)


def repository_files(kind: Kind, name: str, commit: str, cache: Path) -> list[str]:
    """The names of all files of a commit, sorted; asked once, since a commit never changes.

    Raises HarnessError as `resolve_revision` does.
    """
    repository = _Repository(kind, name)
    memory = _memory(cache, "files", repository, commit)
    files = _recall(memory).get("files")
    if isinstance(files, list):
        return [str(file) for file in files]
    try:
        names = _names(_patiently(lambda: _info(repository, commit), _TRIES))
    except _hub_errors() as error:
        listed = None if _trouble(error) == "final" else _client_files(repository, commit)
        if listed is None:
            raise _explained(error, repository, commit) from error
        names = listed
    _remember_files(memory, names)
    return names


def fetch_file(kind: Kind, name: str, commit: str, filename: str) -> Path:
    """The file on this machine, downloaded if it is not in the hub client's cache.

    A download that breaks off, or that the hub answers with a server error, is tried again, five
    times in all. Raises HarnessError when that does not help, naming file, endpoint and last reason.
    """
    from huggingface_hub import hf_hub_download

    repository = _Repository(kind, name)
    try:
        with _quiet():
            fetched = _patiently(lambda: hf_hub_download(name, filename, repo_type=kind, revision=commit), _TRIES)
    except _hub_errors() as error:
        raise _explained(error, repository, commit, filename) from error
    return Path(fetched)


def fetch_files(kind: Kind, name: str, commit: str, filenames: Iterable[str]) -> dict[str, Path]:
    """The path of each file, by its name in the repository; as `fetch_file`."""
    return {filename: fetch_file(kind, name, commit, filename) for filename in filenames}


def file_sizes(kind: Kind, name: str, commit: str, filenames: Sequence[str]) -> dict[str, int]:
    """The bytes of each file, as the hub says before anything is downloaded.

    Raises HarnessError as `fetch_file` does, and for a file that the hub does not list.
    """
    repository = _Repository(kind, name)
    sizes: dict[str, int] = {}
    for start in range(0, len(filenames), _PATHS_A_REQUEST):
        part = list(filenames[start : start + _PATHS_A_REQUEST])
        try:
            entries = _patiently(lambda part=part: _paths_info(repository, commit, part), _TRIES)  # type: ignore[misc]
        except _hub_errors() as error:
            raise _explained(error, repository, commit) from error
        sizes |= {str(entry["path"]): int(entry["size"]) for entry in entries if "size" in entry}
    for filename in filenames:
        if filename not in sizes:
            raise HarnessError(f'{repository} at {commit[:8]} has no file "{filename}" at {_endpoint()}')
    return sizes


def path_here(kind: Kind, name: str, commit: str, filename: str) -> Path | None:
    """The file of that commit in the hub client's cache; None where it would have to be fetched."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, filename, repo_type=kind, revision=commit)
    return Path(found) if isinstance(found, str) else None


def _paths_info(repository: _Repository, commit: str, paths: list[str]) -> list[dict[str, Any]]:
    client = _client()
    url = f"{_endpoint()}/api/{repository.kind}s/{repository.name}/paths-info/{commit}"
    with _quiet():
        response = client.get_session().post(
            url, json={"paths": paths}, headers=client.build_hf_headers(), timeout=_QUICK_S
        )
        client.hf_raise_for_status(response)
    try:
        entries = response.json()
    except ValueError:
        entries = None
    if not isinstance(entries, list):
        raise _NoHub
    return entries


def _info(repository: _Repository, revision: str) -> dict[str, Any]:
    """The hub's own description of a revision, with its commit and its files.

    One request with the client's session rather than `HfApi`, whose import alone takes twice as long.
    """
    client = _client()
    client.validate_repo_id(repository.name)
    quoted = urllib.parse.quote(revision, safe="")
    url = f"{_endpoint()}/api/{repository.kind}s/{repository.name}/revision/{quoted}"
    with _quiet():
        response = client.get_session().get(url, headers=client.build_hf_headers(), timeout=_QUICK_S)
        client.hf_raise_for_status(response)
    try:
        info = response.json()
    except ValueError:
        info = None
    if not isinstance(info, dict) or not _COMMIT.fullmatch(str(info.get("sha"))):
        raise _NoHub
    return info


def _names(info: dict[str, Any]) -> list[str]:
    return sorted(str(entry["rfilename"]) for entry in info.get("siblings") or [])


def _client() -> Any:
    """The client's public helpers; typed Any, since its `utils` re-exports them without saying so."""
    from huggingface_hub import utils

    return utils


def _endpoint() -> str:
    from huggingface_hub import constants

    return constants.ENDPOINT


# -- memory


def _memory(cache: Path, folder: str, repository: _Repository, revision: str) -> Path:
    slug = re.sub(r"[^A-Za-z0-9._-]+", "--", repository.name)[:80]
    # Not keyed by endpoint: a commit known from a mirror is better than none when no hub answers.
    key = digest_of(repository.kind, repository.name, revision)
    return cache / "hub" / folder / f"{slug}-{key[:16]}.json"


def _remember(memory: Path, what: dict[str, Any]) -> None:
    # Remembering spares a request; a cache that cannot be written only costs it.
    with contextlib.suppress(OSError):
        write_atomically(memory, json.dumps(what))


def _remember_files(memory: Path, names: list[str]) -> None:
    # A commit never changes, so a mirror that lists no files must not be remembered for ever.
    if names:
        _remember(memory, {"files": names})


def _recall(memory: Path) -> dict[str, Any]:
    try:
        known = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _last_known(memory: Path, repository: _Repository, revision: str) -> tuple[str, str] | None:
    """Commit and day: our last answer, else what the client's own cache holds."""
    from huggingface_hub import constants

    known = _recall(memory)
    if _COMMIT.fullmatch(str(known.get("commit"))):
        return str(known["commit"]), str(known.get("day"))
    folder = "--".join([f"{repository.kind}s", *repository.name.split("/")])
    reference = Path(constants.HF_HUB_CACHE, folder, "refs", revision)
    try:
        commit = reference.read_text().strip()
        day = datetime.fromtimestamp(reference.stat().st_mtime, UTC).date().isoformat()
    except (OSError, ValueError):
        return None
    return (commit, day) if _COMMIT.fullmatch(commit) else None


def _client_files(repository: _Repository, commit: str) -> list[str] | None:
    """The complete listing that the client keeps of a repository downloaded whole (`hf download`)."""
    try:
        from huggingface_hub import get_cached_repo_tree
        from huggingface_hub.errors import CachedRepoTreeNotFoundError
    except ImportError:  # the listing came with huggingface_hub 2
        return None
    try:
        return sorted(
            entry.path for entry in get_cached_repo_tree(repository.name, repo_type=repository.kind, revision=commit)
        )
    except CachedRepoTreeNotFoundError:
        return None


# -- patience


def _patiently(ask: Callable[[], Answer], tries: int) -> Answer:
    """Asks until it works, `tries` times, waiting longer each time. Raises the last error."""
    started, wait = time.monotonic(), _FIRST_WAIT_S
    for left in reversed(range(tries)):
        try:
            return ask()
        except _hub_errors() as error:
            if left == 0 or _trouble(error) != "passing" or time.monotonic() - started > _PATIENCE_S:
                raise
        time.sleep(wait)
        wait *= 2
    raise AssertionError(tries)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no warnings of the client's; puts its settings back afterwards."""
    client = _client()
    logger = logging.getLogger("huggingface_hub")
    level, bars = logger.level, not client.are_progress_bars_disabled()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        client.disable_progress_bars()
        try:
            yield
        finally:
            logger.setLevel(level)
            if bars:
                client.enable_progress_bars()


# -- every error of the client


class _NoHub(Exception):  # noqa: N818  (it never leaves this module)
    """The endpoint answered, but not as a hub does."""


def _hub_errors() -> tuple[type[Exception], ...]:
    """What the client raises when the world, not our code, is at fault; anything else is a defect."""
    from huggingface_hub import errors

    http_error: type[Exception] = errors.HfHubHTTPError.__mro__[1]  # httpx's, of whichever httpx the client uses
    return (http_error, OSError, errors.EntryNotFoundError, errors.HFValidationError, RuntimeError, _NoHub)


def _trouble(error: BaseException) -> Literal["passing", "unreachable", "final"]:
    """Whether trying again may help, whether the hub is merely out of reach, or neither."""
    from huggingface_hub import errors

    if isinstance(error, errors.OfflineModeIsEnabled):
        return "unreachable"
    if isinstance(error, errors.LocalEntryNotFoundError):
        # The client has tried for half a minute by itself.
        return "unreachable" if error.__cause__ is not None and _trouble(error.__cause__) != "final" else "final"
    status = _status(error)
    if status is not None:
        return "passing" if status >= 500 or status in (408, 416, 429) else "final"
    if isinstance(error, _NoHub | ValueError | errors.EntryNotFoundError | errors.FileMetadataError):
        return "final"
    return "final" if isinstance(error, OSError) and error.errno in _DISK else "passing"


def _status(error: BaseException) -> int | None:
    """The HTTP status that the hub answered with, if it did answer."""
    from huggingface_hub.errors import HfHubHTTPError

    return int(error.response.status_code) if isinstance(error, HfHubHTTPError) else None


def _explained(
    error: BaseException, repository: _Repository, revision: str, filename: str | None = None
) -> HarnessError:
    """The one line for any error of the client."""
    from huggingface_hub import constants, errors

    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__
    endpoint, status = _endpoint(), _status(error)
    page = f"{endpoint}/{'datasets/' if repository.kind == 'dataset' else ''}{repository.name}"
    what = f"{filename} of {repository}" if filename else f"{repository}"
    if isinstance(error, errors.OfflineModeIsEnabled | errors.LocalEntryNotFoundError):
        return HarnessError(
            f"{what} at {revision[:8]} is not on this machine, and nothing is asked of the network (--offline, "
            "HF_HUB_OFFLINE): fetch it first where there is network"
        )
    if isinstance(error, errors.HFValidationError):
        return HarnessError(f'"{repository.name}" cannot be a repository of the hub: a name is org/name')
    if isinstance(error, errors.RevisionNotFoundError):
        return HarnessError(
            f'{repository} has no revision "{revision}" at {endpoint}: give a commit, a tag or a branch'
        )
    if isinstance(error, errors.RemoteEntryNotFoundError):
        return HarnessError(f'{repository} has no file "{filename}" at revision {revision[:8]} ({page})')
    if isinstance(error, errors.RepositoryNotFoundError) and status == 404:
        return HarnessError(f"there is no {repository} at {endpoint}: check the name; a private one needs HF_TOKEN")
    if status in (401, 403):
        return HarnessError(
            f"{endpoint} does not give {what} (HTTP {status}): it is gated or private, or there is none of that name. "
            f"Accept its licence on its page, {page}, and set HF_TOKEN to a token that may read it"
        )
    if status == 404 or isinstance(error, _NoHub | errors.FileMetadataError):
        return HarnessError(f"{endpoint} does not answer as a Hugging Face hub does: check HF_ENDPOINT")
    if isinstance(error, OSError) and error.errno in _DISK:
        return HarnessError(
            f"cannot write {what} in {constants.HF_HUB_CACHE} ({error.strerror}): make room there, or set HF_HOME"
        )
    reason = f"HTTP {status}" if status else f"{error}".partition("\n")[0] or type(error).__name__
    return HarnessError(f"cannot get {what} from {endpoint}: {reason}. Check the network and HF_ENDPOINT, or try later")
