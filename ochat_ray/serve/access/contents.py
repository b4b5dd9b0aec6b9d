"""What the log holds of what is said."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Any, Literal

HASH_HEX = 32


class Contents:
    """Turns messages and replies of an account into fields of a log's line.

    Hashes are keyed with a secret that is written nowhere and ends with the process: without it, short texts
    could be found by trying. So equal texts are told for one process at a time.
    """

    def __init__(self, kind: Literal["none", "hashed", "full"]) -> None:
        self._kind = kind
        self._secret = secrets.token_bytes(32)

    def of(self, account: dict[str, Any]) -> dict[str, Any]:
        """The fields `messages` and `reply`, or none."""
        if self._kind == "none":
            return {}
        messages, reply = account.get("messages"), account.get("reply")
        if self._kind == "full":
            return {"messages": messages, "reply": reply}
        return {
            "messages": [self._hashed(one["content"], role=one["role"]) for one in messages or ()],
            "reply": [self._hashed(text) for text in ([reply] if isinstance(reply, str) else reply or ())],
        }

    def _hashed(self, text: str, **more: str) -> dict[str, Any]:
        digest = hmac.new(self._secret, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
        return {**more, "chars": len(text), "hash": digest[:HASH_HEX]}
