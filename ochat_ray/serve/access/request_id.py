"""Ids of requests: the client's own where it is fit to be repeated and logged, else a new one."""

from __future__ import annotations

import re
import secrets

SANE = re.compile(rb"[!-~]{1,128}")


def request_id(given: bytes | None) -> str:
    """The id of a request whose client gave this one."""
    if given is not None and SANE.fullmatch(given):
        return given.decode("ascii")
    return f"req_{secrets.token_hex(16)}"
