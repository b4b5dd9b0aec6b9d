"""The weights of a base model, read tensor by tensor and slice by slice: no worker holds all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from ochat_ray.errors import CheckpointError


class Weights:
    """Tensors of the safetensors files in a Hugging Face folder, by name, mapped into memory.

    Raises CheckpointError where there are none or one is damaged.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        files = sorted(base.glob("*.safetensors"))
        if not files:
            raise CheckpointError(
                f"{base}: no *.safetensors; make them with `ochat-ray base OUTPUT --from {base}`"
            )
        self._file_of: dict[str, Any] = {}
        for path in files:
            try:
                file: Any = safe_open(path, framework="pt")
            except (OSError, SafetensorError) as error:
                raise CheckpointError(
                    f"{path}: cut short or no safetensors file ({error}); copy it again"
                ) from error
            self._file_of |= dict.fromkeys(file.keys(), file)

    @property
    def names(self) -> set[str]:
        """Of all tensors."""
        return set(self._file_of)

    def shape(self, name: str) -> torch.Size:
        """Of a tensor."""
        return torch.Size(self._file_of[name].get_slice(name).get_shape())

    def rows(self, name: str, start: int, end: int) -> torch.Tensor:
        """Rows `start` to `end` along the first dimension of a tensor, in the dtype of the file."""
        found: torch.Tensor = self._file_of[name].get_slice(name)[start:end]
        return found

    def read(self, name: str) -> torch.Tensor:
        """A whole tensor, in the dtype of the file."""
        found: torch.Tensor = self._file_of[name].get_tensor(name)
        return found
