"""Weights from file to file, one at a time. Tensors that do not change are never copied in memory."""

from __future__ import annotations

import errno
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

Change = Callable[[str, torch.Tensor], torch.Tensor]


class Contents(NamedTuple):
    """Names of a shard's tensors, and their size in bytes."""

    names: frozenset[str]
    bytes: int


def rewrite(source: Path, target: Path, change: Change) -> None:
    """Write a safetensors file with every tensor as `change` makes it.

    Tensors are mapped from `source`, so that only changed ones take memory. Raises ValueError for a file
    that is damaged, OSError where `target` cannot be written.
    """
    try:
        file: Any = safe_open(source, "pt")
    except SafetensorError as error:
        raise ValueError(f"damaged, or cut off: {error}") from error
    with file:
        names = file.keys()
        metadata = {"format": "pt", **(file.metadata() or {})}
        _save({name: change(name, file.get_tensor(name)) for name in names}, target, metadata)


def convert(source: Path, target: Path, change: Change) -> None:
    """`rewrite` of a pickle, of which nothing but tensors is read. Raises as `rewrite` does."""
    try:
        # Files from before torch 1.6 are no archives, and cannot be mapped.
        loaded = torch.load(source, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(source))
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(f"damaged, or holds other things than tensors: {error}") from error
    if not isinstance(loaded, dict) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ValueError("holds other things than tensors by name")
    tensors: dict[str, torch.Tensor] = {}
    seen: set[int] = set()
    for name, tensor in loaded.items():
        changed = change(name, tensor).contiguous()
        pointer = changed.untyped_storage().data_ptr()
        tensors[name] = changed.clone() if pointer in seen else changed  # safetensors have no shared memory
        seen.add(pointer)
    _save(tensors, target, {"format": "pt"})


def contents(path: Path) -> Contents:
    """What is in a safetensors file. Raises ValueError where it is damaged."""
    try:
        with safe_open(path, "pt") as tensors, path.open("rb") as file:
            header = 8 + int.from_bytes(file.read(8), "little")
            return Contents(frozenset(tensors.keys()), path.stat().st_size - header)
    except SafetensorError as error:
        raise ValueError(f"damaged, or cut off: {error}") from error


def _save(tensors: dict[str, torch.Tensor], target: Path, metadata: dict[str, str]) -> None:
    # safetensors' own files are for their owner alone; on a shared disk others read them.
    target.touch()
    mode = target.stat().st_mode
    try:
        save_file(tensors, target, metadata=metadata)
        target.chmod(mode)
    except SafetensorError as error:
        raise OSError(errno.EIO, f"cannot be written ({error})", str(target)) from error
