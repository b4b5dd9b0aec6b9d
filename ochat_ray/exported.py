"""The exported model folder: a Hugging Face folder with `ochat.json`, which says how it was trained.

Training writes it, serving reads it and refuses a folder whose template or tokenizer is not the one
that the model was trained with.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from ochat_ray.errors import CheckpointError
from ochat_ray.manifest import versions, write_json
from ochat_ray.model_types import ModelType
from ochat_ray.strict import parse
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer

NAME = "ochat.json"
JINJA = "chat_template.jinja"
FORMAT = 1
ENDS = 1 << 20  # bytes at the end of a file of weights


@dataclass(frozen=True)
class Exported:
    """What `ochat.json` says, checked against the folder."""

    folder: Path
    template: ChatTemplate
    facts: dict[str, Any]

    @property
    def model_type(self) -> ModelType:
        return self.template.model_type


def write_chat_files(folder: Path, template: ChatTemplate, facts: dict[str, Any]) -> None:
    """Write tokenizer, chat template and `ochat.json` (last) beside the weights in `folder`.

    `facts`: the resolved recipe, the hash of the data's manifest, counts, losses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_tokenizer(folder, template)
    write_json(
        folder / NAME,
        {
            "format": FORMAT,
            "model_type": template.model_type.model_dump(),
            "template_hash": template.hash,
            "tokenizer_hash": template.tokenizer.hash,
            "versions": versions(),
            **facts,
        },
    )


def write_tokenizer(folder: Path, template: ChatTemplate) -> None:
    """Write tokenizer and chat template, as any program that loads a Hugging Face folder reads them."""
    template.tokenizer.save(folder)
    special = {"bos_token": template.bos, "eos_token": template.model_type.eot}
    write_json(
        folder / "tokenizer_config.json",
        {
            # This class takes tokenizer.json as it is; model-specific ones rebuild parts of it.
            "tokenizer_class": "PreTrainedTokenizerFast",
            **{name: token for name, token in special.items() if token},
            "model_max_length": template.model_type.context,
            "clean_up_tokenization_spaces": False,
        },
    )
    (folder / JINJA).write_text(template.to_jinja(), encoding="utf-8")


def load_exported(folder: str | Path) -> Exported:
    """Read and check an exported folder.

    Raises CheckpointError, naming file, value and remedy, for a folder that was not exported by us or
    whose model type, tokenizer or chat template was changed since.
    """
    folder = Path(folder)
    path = folder / NAME
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; give the one that `ochat-ray train` exported")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder}: no {NAME}, so the chat template it was trained with is unknown; "
            "give the folder that `ochat-ray train` exported"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); export the model again") from error
    found_format = facts.get("format") if isinstance(facts, dict) else None
    if found_format != FORMAT:
        raise CheckpointError(f"{path}: format {found_format!r}, expected {FORMAT}; export it again")
    tokenizer = ChatTokenizer.load(folder)
    template = ChatTemplate(parse(ModelType, facts.get("model_type") or {}, str(path)), tokenizer)
    checks = [
        ("template_hash", template.hash, "the model type in ochat.json was changed"),
        ("tokenizer_hash", tokenizer.hash, "tokenizer.json was changed"),
    ]
    for name, found, cause in checks:
        recorded = str(facts.get(name))
        if recorded != found:
            raise CheckpointError(
                f"{folder}: {name} is {found[:12]}, but the model was trained with {recorded[:12]} ({cause}, "
                "or the renderer is another version); export it again with `ochat-ray train`"
            )
    jinja = folder / JINJA
    if not jinja.exists() or jinja.read_text(encoding="utf-8") != template.to_jinja():
        raise CheckpointError(
            f"{jinja}: is not the template that the model was trained with; restore it, "
            "or export the model again with `ochat-ray train`"
        )
    return Exported(folder, template, facts)


def weights_mark(folder: str | Path) -> str:
    """What tells a model from others, also from a later one in the same folder, hex; empty for no model.

    sha256 over the names and sizes of its weights, and the ends of them, which every training changes; all of
    them would take minutes.
    """
    path = Path(folder)
    try:
        return _weights_mark(path, (path / NAME).stat().st_mtime_ns)
    except OSError:
        return ""


@lru_cache(maxsize=256)
def _weights_mark(folder: Path, _changed: int) -> str:
    mark = hashlib.sha256((folder / NAME).read_bytes())
    for file in sorted(folder.glob("*.safetensors")):
        mark.update(f"{file.name} {file.stat().st_size}".encode())
        with file.open("rb") as weights:
            weights.seek(max(0, file.stat().st_size - ENDS))
            mark.update(weights.read())
    return mark.hexdigest()
