"""JSON that other programs wrote: with halves of cut emoji, in other encodings, or none at all."""

from __future__ import annotations

import json
from typing import Any

import orjson

from ochat_ray.data.read.errors import SourceError
from ochat_ray.surrogates import sound


def load_json(data: bytes) -> Any:
    """The value in JSON bytes, all of its strings valid Unicode. Raises SourceError."""
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    try:
        # json takes lone surrogates (halves of a cut emoji), which orjson does not.
        return _replace_surrogates(json.loads(data.decode()))
    except UnicodeDecodeError as error:
        raise SourceError("not_text", f"the data is not UTF-8 text (byte {error.start:,} of it)") from None
    except (ValueError, RecursionError) as error:
        raise SourceError("bad_json", f"the data is not valid JSON: {error}") from None


def _replace_surrogates(value: Any) -> Any:
    """Strings in a JSON value as valid Unicode: halves that belong together joined, others replaced."""
    if isinstance(value, str):
        return sound(value)
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(item) for key, item in value.items()}
    return value


def dump_json(value: Any) -> bytes:
    """JSON bytes of a value, the same on every machine."""
    return json.dumps(value, ensure_ascii=False, default=str).encode("utf-8", "backslashreplace")
