"""Prepared data that fits a base model: looked into once, by whoever trains on it or plans to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ochat_ray.columns import SPLITS
from ochat_ray.manifest import read_manifest
from ochat_ray.model_types import load_model_type
from ochat_ray.storage import Storage, storage
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.tokens import check_origin, token_files


@dataclass(frozen=True)
class Prepared:
    """A finished folder, and the base model's own template, by which its token files were made."""

    data: Storage
    manifest: dict[str, Any]
    template: ChatTemplate

    @classmethod
    def open(cls, data: str | Path, base: Path, model_type: str) -> Self:
        """The folder at a path or URI.

        Raises DataError where it is not finished, or not for this model type and base, CheckpointError for a
        base without a usable tokenizer.
        """
        folder = storage(data)
        manifest = read_manifest(folder, remedy="`ochat-ray prepare`")
        template = ChatTemplate(load_model_type(model_type), ChatTokenizer.load(base))
        prepared = cls(folder, manifest, template)
        for split in SPLITS:
            check_origin(folder, prepared.files(split), template, base)
        return prepared

    def files(self, split: str) -> list[str]:
        """The token files of a split, below `data`, in order."""
        return token_files(self.data, self.manifest, self.template.model_type, split)
