"""Changes to a keys file: `ochat-ray keys`."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import yaml

from ochat_ray.errors import ConfigError
from ochat_ray.serve.access.keys import NAME, ApiKey, new_key, read_keys, sha256_of
from ochat_ray.storage import writing

HEAD = (
    "# Keys of the endpoint, kept as sha256. Written by `ochat-ray keys`, read by `serve` when it changes.\n"
)


def add_key(
    path: Path,
    name: str,
    *,
    requests_per_minute: int | None = None,
    tokens_per_minute: int | None = None,
    expires: str | None = None,
) -> str:
    """Add a key to a file, which is made where there is none; returns the key, which is kept nowhere.

    `expires` is a date, the last day on which it works. Raises ConfigError for a name that is taken or
    cannot be one, a date that is none or past, and a file that cannot be used.
    """
    if not re.fullmatch(NAME, name):
        raise ConfigError(
            f"{name!r}: a name is up to 64 letters, digits and ._@+-, the first a letter or digit"
        )
    last = None if expires is None else _date(expires)
    with _locked(path) as target:
        keys = dict(read_keys(target).keys) if target.exists() else {}
        if name in keys:
            raise ConfigError(f"{path}: {name} has a key already; remove it first, or choose another name")
        key = new_key()
        keys[name] = ApiKey(
            sha256=sha256_of(key),
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            expires=last,
        )
        _write(target, keys)
    return key


def remove_key(path: Path, name: str) -> None:
    """Remove a key. Raises ConfigError where there is none of this name."""
    with _locked(path) as target:
        keys = dict(read_keys(target).keys)
        if name not in keys:
            raise ConfigError(f"{path}: no key of {name}; there are {', '.join(keys) or 'none'}")
        del keys[name]
        _write(target, keys)


def list_keys(path: Path) -> list[str]:
    """The keys of a file, a line each. Raises ConfigError for a file that cannot be used."""
    lines = []
    keys = read_keys(path).keys
    width = max((len(name) for name in keys), default=0)
    for name, key in keys.items():
        limits = [
            f"{limit:,} {unit}/min"
            for limit, unit in ((key.requests_per_minute, "requests"), (key.tokens_per_minute, "tokens"))
            if limit is not None
        ]
        until = "" if key.expires is None else f"{'expired' if key.expired() else 'until'} {key.expires}"
        lines.append(f"{name:{width}}  {', '.join(limits) or 'no limits'}{until and f', {until}'}")
    return lines


def _date(text: str) -> date:
    try:
        last = date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--expires {text}: is no date; write e.g. 2030-12-31") from None
    if last < datetime.now(UTC).date():
        raise ConfigError(f"--expires {text}: is past; give the last day on which the key is to work")
    return last


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[Path]:
    """The file behind the path, for one process at a time: two that add would lose one's key."""
    target = path.resolve()
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield target
    finally:
        os.close(folder)


def _write(target: Path, keys: dict[str, ApiKey]) -> None:
    data = {"keys": {name: key.model_dump(exclude_none=True) for name, key in keys.items()}}
    if target.suffix == ".json":
        text = json.dumps(data, indent=2, default=str) + "\n"
    else:
        text = HEAD + yaml.safe_dump(data, sort_keys=False)
    with writing(target) as aside:
        file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(file, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(file)
            if target.exists():  # root may change what the server's user reads
                facts = target.stat()
                with contextlib.suppress(PermissionError):
                    os.fchown(file, facts.st_uid, facts.st_gid)
