"""JSON Lines: an object a line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ochat_ray.errors import DataError
from ochat_ray.storage import writing


def read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number (from 1) and object of every line that is not empty. Raises DataError with file and line."""
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise DataError(f"{path}:{number}: expected a JSON object, found {line.strip()[:60]!r}")
                yield number, row
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); give the path of a file") from error
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{number}: not JSON ({error.msg}); every line is one object") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text ({error.reason})") from error


def json_line(row: Mapping[str, Any]) -> bytes:
    """An object as a line. Lone surrogates, which UTF-8 cannot hold, stay as escapes."""
    return json.dumps(row, ensure_ascii=False).encode(errors="backslashreplace") + b"\n"


def write_json_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write an object a line; the file appears whole."""
    with writing(path) as aside, aside.open("wb") as file:
        file.writelines(map(json_line, rows))
