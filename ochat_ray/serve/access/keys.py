"""API keys: their file, and finding whose key a request carries. Only sha256 of keys is kept anywhere."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, StringConstraints, model_validator

from ochat_ray.errors import ConfigError
from ochat_ray.strict import StrictModel, parse, read_yaml

PREFIX = "sk-ochat-"
SECRET_BYTES = 32
NAME = r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}$"
SHA256 = re.compile(r"[0-9a-f]{64}")
SHOWN_KEY = re.compile(rf"{PREFIX}[\w-]+")


class ApiKey(StrictModel):
    """What a keys file says of a key."""

    sha256: str
    """sha256 of the key, hexadecimal."""
    requests_per_minute: int | None = Field(None, gt=0)
    """Requests in any minute; null for no limit."""
    tokens_per_minute: int | None = Field(None, gt=0)
    """Tokens of prompts and answers in any minute; null for no limit."""
    expires: date | None = None
    """Last day on which it works, in UTC; null for ever."""

    def expired(self, today: date | None = None) -> bool:
        """Whether its last day is over."""
        return self.expires is not None and (today or datetime.now(UTC).date()) > self.expires


class KeysFile(StrictModel):
    """The keys file."""

    keys: dict[Annotated[str, StringConstraints(pattern=NAME)], ApiKey]
    """Keys by the names of those who hold them."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        names: dict[str, str] = {}
        for name, key in self.keys.items():
            if key.sha256 in names:
                raise ValueError(f"{names[key.sha256]} and {name} have the same key; make another for one")
            names[key.sha256] = name
        return self


@dataclass(frozen=True, slots=True)
class Holder:
    """A key that was found, and the name of who holds it."""

    name: str
    key: ApiKey


class Keys:
    """All keys, to find one."""

    def __init__(self, keys: Mapping[str, ApiKey]) -> None:
        self._all = [(bytes.fromhex(key.sha256), Holder(name, key)) for name, key in keys.items()]

    def find(self, presented: bytes) -> Holder | None:
        """Whose key it is. Takes as long whichever it is: each is looked at, in constant time."""
        digest = hashlib.sha256(presented).digest()
        found = None
        for known, holder in self._all:
            if hmac.compare_digest(digest, known):
                found = holder
        return found


def new_key() -> str:
    """A key of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def sha256_of(key: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def read_keys(path: Path) -> KeysFile:
    """What a keys file (YAML, and so JSON too) says.

    Raises ConfigError naming line and field, never a key that somebody wrote into it.
    """
    try:
        data, lines = read_yaml(path)
        _check_hashes(data, lines, path)
        return parse(KeysFile, data, str(path), lines)
    except ConfigError as error:
        raise ConfigError(SHOWN_KEY.sub(f"{PREFIX}...", str(error))) from None


def _check_hashes(data: dict[str, object], lines: Mapping[tuple[str | int, ...], int], path: Path) -> None:
    """Before `parse`, which repeats wrong values: one may be the key itself."""
    keys = data.get("keys")
    for name, key in keys.items() if isinstance(keys, dict) else ():
        value = key.get("sha256") if isinstance(key, dict) else None
        if value is not None and not (isinstance(value, str) and SHA256.fullmatch(value)):
            line = lines.get(("keys", name, "sha256"))
            raise ConfigError(
                f"{path}:{line}: `keys.{name}.sha256` is not 64 hexadecimal digits; "
                "write the sha256 of the key, or use `ochat-ray keys add`"
            )
