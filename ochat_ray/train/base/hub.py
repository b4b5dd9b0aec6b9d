"""Models of the Hugging Face hub, through its own client, cache and settings (HF_TOKEN, HF_HOME)."""

from __future__ import annotations

import json
from pathlib import Path

import httpx2
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

from ochat_ray.errors import CheckpointError, one_line
from ochat_ray.train.base.source import (
    CONFIG,
    GENERATION,
    PICKLES,
    SAFETENSORS,
    TOKENIZER,
    TOKENIZER_CONFIG,
)

FACTS = (CONFIG, GENERATION, TOKENIZER, TOKENIZER_CONFIG, "LICENSE*", "NOTICE*", "USE_POLICY*")


def download(name: str, *, allow_pickle: bool, trust_remote_code: bool) -> Path:
    """The folder in the hub's cache of OWNER/NAME or OWNER/NAME@REVISION, with what a base model needs.

    Repositories often hold their weights several times over: only the ones that transformers would load
    come, and pickles only where there is nothing else and `allow_pickle`. Code comes only if it is trusted.
    Without a network what the cache has is used. Raises CheckpointError.
    """
    indexes = [file for file in (*SAFETENSORS, *PICKLES) if file.endswith(".json")]
    code = ["*.py"] if trust_remote_code else []
    folder = _snapshot(name, [*FACTS, *indexes, *code])
    # The same revision from here on, even if the hub gets another meanwhile.
    pinned = f"{name.partition('@')[0]}@{folder.name}"
    for kind in (SAFETENSORS, PICKLES) if allow_pickle else (SAFETENSORS,):
        _snapshot(pinned, [kind[0]])
        if (folder / kind[0]).exists():
            break
        index = folder / kind[1]
        if index.exists():
            _snapshot(pinned, _shards(index))
            break
    else:
        if not allow_pickle:
            raise CheckpointError(
                f"{name}: no safetensors; take another model, or, if it has pickles, read only tensors "
                "out of them with --allow-pickle"
            )
    return folder


def _snapshot(name: str, patterns: list[str]) -> Path:
    repository, _, revision = name.partition("@")
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=patterns))
    except GatedRepoError as error:
        raise CheckpointError(
            f"{name}: its owner asks for consent; give it at {constants.ENDPOINT}/{repository}, "
            "and set HF_TOKEN"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{name}: neither a folder here nor a model at {constants.ENDPOINT} that may be seen; "
            "mend the name, or set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{name}: the model has no revision {revision!r}") from error
    except (OSError, ValueError, httpx2.HTTPError) as error:
        raise CheckpointError(
            f"{name}: not a folder here, and cannot be had from {constants.ENDPOINT} ({one_line(error)}); "
            "download it where there is a network, and give the folder"
        ) from error


def _shards(index: Path) -> list[str]:
    try:
        return sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return []  # whoever reads the folder tells of it
