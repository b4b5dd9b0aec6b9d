"""The output folder and its hidden `.work`: what is finished, what can be resumed, what is not ours."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ochat_ray.config import DataConfig
from ochat_ray.data.sources import PageFile
from ochat_ray.data.stages import FOLDERS, counts_file
from ochat_ray.errors import DataError
from ochat_ray.manifest import NAME, digest, lock_file, read_manifest, versions, write_json

WORK = ".work"
PLAN = "plan.json"
# What a finished folder must agree on to be the one that is asked for, and what each is to the user.
DECIDING = {
    "inputs": "the saved pages",
    "model_type": "the model type",
    "max_tokens": "data.max_tokens",
    "template_hash": "the model type",
    "tokenizer_hash": "the base model's tokenizer",
    "recipe": "the recipe's data settings",
}


def open_output(output: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """The manifest if `output` is finished and made of the same facts; else None.

    Raises DataError for a folder that is finished with other facts, or holds anything else.
    """
    work = output / WORK
    if output.exists() and not output.is_dir():
        raise DataError(f"{output}: is a file; choose another output folder")
    if (output / NAME).exists():
        manifest = _finished(output, facts)
        if manifest is not None:
            shutil.rmtree(work, ignore_errors=True)
            return manifest
    elif output.is_dir() and any(entry != work for entry in output.iterdir()) and not (work / PLAN).exists():
        raise DataError(f"{output}: is not empty and not a prepared folder; choose another one, or empty it")
    return None


@contextmanager
def filling(output: Path, facts: dict[str, Any]) -> Iterator[str]:
    """The output ready to be filled, for this run alone; yields the name of the plan that the facts make.

    What an earlier, unfinished run with the same plan has done is kept. Raises DataError if another run
    is filling it, or it cannot be written to.
    """
    work, plan = output / WORK, digest([facts, code_version()])
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = lock_file(work / "lock")
    except OSError as error:
        raise DataError(
            f"{output}: cannot be written to ({error.strerror}); choose another folder"
        ) from error
    if lock is None:
        raise DataError(f"{output}: another run is preparing into it; wait for it, or end it")
    with lock:
        if _read(work / PLAN) != {"plan": plan}:
            if (work / PLAN).exists():
                say(f"{output}: an unfinished run with other settings is replaced")
            _clear(output)
            write_json(work / PLAN, {"plan": plan})
        yield plan


def finished_partitions(work: Path, plan: str, partitions: int) -> frozenset[int]:
    """Numbers of the partitions whose files are written."""
    return frozenset(number for number in range(partitions) if counts_file(work, plan, number).exists())


def part_name(pages: Sequence[PageFile], config: DataConfig) -> str:
    """The name of the part that a chunk is cleaned into: other pages, settings or code, another name."""
    settings = config.model_dump(mode="json", include={"blocked_words", "min_messages"})
    return f"clean-{digest([pages, settings, code_version()])[:32]}.parquet"


def output_files(output: Path) -> list[Path]:
    """The finished files; what crashed writers left aside is removed."""
    for folder in FOLDERS:
        for aside in (output / folder).glob(".*"):
            aside.unlink()
    return [path for folder in FOLDERS for path in sorted((output / folder).glob("*.parquet"))]


@cache
def code_version() -> str:
    """Changes with the code of this package and the libraries that decide its results."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    used = {name: versions().get(name) for name in ("lxml", "markdownify", "orjson", "pyarrow", "tokenizers")}
    return digest([[path.name, path.read_text(encoding="utf-8")] for path in sources] + [used])


def say(line: str) -> None:
    """A line for the person at the terminal."""
    print(line, file=sys.stderr)


def _finished(output: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    found = _read(output / NAME) or {}
    other = [meaning for key, meaning in DECIDING.items() if found.get(key) != facts[key]]
    if found.get("kind") != "prepared":
        raise DataError(f"{output}: holds something else than prepared data; choose another output folder")
    if other:
        raise DataError(
            f"{output}: already prepared, but {' and '.join(dict.fromkeys(other))} changed since; "
            "choose another output folder, or delete this one"
        )
    try:
        return read_manifest(output, remedy="`ochat-ray prepare`")
    except DataError as error:
        say(f"{error}: doing so")
        return None


def _clear(output: Path) -> None:
    """Remove what an earlier plan wrote, but for cleaned parts, whose names say what they hold."""
    (output / NAME).unlink(missing_ok=True)
    for folder in FOLDERS:
        shutil.rmtree(output / folder, ignore_errors=True)
    for counts in (output / WORK).glob("finished-*.json"):
        counts.unlink()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
