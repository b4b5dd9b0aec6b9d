"""Which run an output folder holds, so that it is resumed by the same inputs and by nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ochat_ray.config import Recipe
from ochat_ray.errors import CheckpointError
from ochat_ray.manifest import digest, file_sha256, manifest_hash, write_json
from ochat_ray.template import ChatTemplate
from ochat_ray.train.folders import Folders

# Fields of `train` that change how a run is carried out but not what it computes.
FREE = {"num_workers", "use_gpu", "threads", "activation_checkpointing", "checkpoint_every", "max_failures"}


def identify(recipe: Recipe, template: ChatTemplate, manifest: dict[str, Any], base: Path) -> dict[str, Any]:
    """Everything that decides a run's result, by name."""
    train = recipe.train.model_dump(mode="json", exclude=FREE)
    return {
        **{f"train.{name}": value for name, value in train.items()},
        "the chat template": template.hash,
        "the prepared data": manifest_hash(manifest),
        "the base model": _base_hash(base),
    }


def claim(folders: Folders, identity: dict[str, Any]) -> None:
    """Make the output this run's. Raises CheckpointError if it is another's or holds other things."""
    remedy = "give another output folder, or delete this one to start over"
    try:
        found = json.loads(folders.identity.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if folders.output.exists() and any(folders.output.iterdir()):
            raise CheckpointError(
                f"{folders.output}: not empty, and not a training output; {remedy}"
            ) from None
        write_json(folders.identity, identity)
        return
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folders.identity}: cannot be read ({error}); {remedy}") from error
    for name in identity | found:
        if identity.get(name) != found.get(name):
            raise CheckpointError(
                f"{folders.output}: holds a run with another value of {name} "
                f"({_short(found.get(name))}, now {_short(identity.get(name))}); {remedy}"
            )


def _short(value: Any) -> str:
    return value[:12] if isinstance(value, str) else json.dumps(value)


def _base_hash(base: Path) -> str:
    files = [base / "config.json", base / "tokenizer.json", *base.glob("*.safetensors"), *base.glob("*.bin")]
    return digest({path.name: file_sha256(path) for path in files if path.exists()})
