"""An existing model made fit for a model type, file by file, in the memory of its embeddings."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ochat_ray.config import Recipe
from ochat_ray.errors import CheckpointError, one_line
from ochat_ray.exported import write_tokenizer
from ochat_ray.manifest import write_json
from ochat_ray.model_types import load_model_type
from ochat_ray.positions import position_limit
from ochat_ray.progress import Progress
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.base.folder import appearing, require_empty
from ochat_ray.train.base.positions import extend_positions
from ochat_ray.train.base.rows import Rows
from ochat_ray.train.base.source import (
    CONFIG,
    GENERATION,
    SAFETENSORS,
    TERMS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    Source,
    Weights,
    open_source,
)
from ochat_ray.train.base.tokens import add_tokens

if TYPE_CHECKING:  # torch takes seconds to load, and most mistakes are told without it
    from ochat_ray.train.base.tables import Tables


@dataclass(frozen=True)
class Extended:
    """What was made of a model; pairs are before and after."""

    added: dict[str, int]
    """Ids of the tokens that it lacked."""
    rows: tuple[int, int]
    """Of the embeddings."""
    positions: tuple[int | None, int | None]
    """None where it names no limit."""

    def summary(self, method: str) -> str:
        """What changed, for people, with the method by which positions were extended."""
        said = [f"added {token} as {id:,}" for token, id in self.added.items()]
        if self.rows[0] != self.rows[1]:
            said.append(f"embeddings {self.rows[0]:,} to {self.rows[1]:,} rows")
        if self.positions[0] != self.positions[1]:
            said.append(f"positions {self.positions[0]:,} to {self.positions[1]:,} ({method})")
        return "; ".join(said) or "tokens and positions were all there"


def extend(
    source: str,
    output: Path,
    recipe: Recipe,
    *,
    allow_pickle: bool = False,
    trust_remote_code: bool = False,
) -> Extended:
    """A copy of a Hugging Face model with the tokens and positions of the model type.

    `source` is a folder, an s3:// or gs:// URI, or a name on the hub. Missing special tokens are added to
    the tokenizer. Their rows of the input and output embeddings are the mean of the existing rows, or drawn
    from N(0, 0.02) for StarCoder's family; so are rows that pad the vocabulary (`base.vocab_multiple`).
    Positions are raised to the model type's context (`base.positions`). Nothing else changes: dtype,
    other tensors and shards stay as they are.

    Raises CheckpointError if `output` is not empty, or `source` is no model of which this can be made.
    """
    require_empty(output)
    origin = open_source(source, allow_pickle=allow_pickle, trust_remote_code=trust_remote_code)
    files = origin.files()
    for file in (CONFIG, TOKENIZER):
        if file not in files:
            raise CheckpointError(f"{source}: no {file}; {_remedy(file, files)}")
    weights = origin.weights(files, allow_pickle=allow_pickle)
    kind, shape = load_model_type(recipe.model_type), recipe.base

    with appearing(output) as folder, origin.copied(folder / ".source") as staging:
        here = _facts(origin, files, staging, trust_remote_code=trust_remote_code)
        known = ChatTokenizer.load(here)
        template = ChatTemplate(kind, add_tokens(known, [*kind.specials]))
        config = _config(here, trust_remote_code=trust_remote_code)
        names = _table_names(config, here, trust_remote_code=trust_remote_code)
        from ochat_ray.train.base.tables import Tables

        before, limit = config.vocab_size, position_limit(config.to_dict())
        rows = Rows.plan(known.vocab_size, template.tokenizer.vocab_size, before, shape.vocab_multiple)
        tables = Tables(names, rows, model_type=config.model_type, vocab_size=before, seed=shape.seed)
        extend_positions(config, kind.context, shape.positions, source)
        config.vocab_size = rows.total
        _copy_weights(origin, weights, folder, staging, tables)
        for file in files:
            if TERMS.fullmatch(file) or (trust_remote_code and file.endswith(".py")):
                origin.copy(file, folder / file)
        _write_configs(folder, here, config, template)
        write_tokenizer(folder, template)
    added = {t: i for t, i in template.tokenizer.special_ids.items() if t not in known.special_ids}
    return Extended(added, (before, rows.total), (limit, position_limit(config.to_dict())))


def _remedy(file: str, files: list[str]) -> str:
    if file == TOKENIZER and "tokenizer.model" in files:
        return "write one with transformers: AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER)"
    return "give a complete Hugging Face model folder"


def _facts(origin: Source, files: list[str], staging: Path, *, trust_remote_code: bool) -> Path:
    """The folder on this machine in which config and tokenizer are, and trusted code."""
    for file in files:
        if file in (GENERATION, TOKENIZER, TOKENIZER_CONFIG) or (trust_remote_code and file.endswith(".py")):
            origin.get(file, staging)
    return origin.get(CONFIG, staging).parent


def _config(folder: Path, *, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            folder, local_files_only=True, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError) as error:
        needs = "trust_remote_code" in str(error)
        remedy = "read its code, and run it with --trust-remote-code" if needs else "get the model again"
        raise CheckpointError(f"{folder}/{CONFIG}: cannot be used ({one_line(error)}); {remedy}") from error
    if config.get_text_config() is not config:
        raise CheckpointError(
            f"{folder}/{CONFIG}: {config.model_type} is a model of several parts; "
            "take one of text alone, such as Llama or Mistral"
        )
    return config


def _table_names(config: Any, folder: Path, *, trust_remote_code: bool) -> list[set[str]]:
    from ochat_ray.train.base.tables import table_names

    try:
        return table_names(config, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{folder}/{CONFIG}: transformers makes no language model of it ({one_line(error)}); "
            "take a causal language model, such as Llama or Mistral"
        ) from error


def _copy_weights(origin: Source, weights: Weights, folder: Path, staging: Path, tables: Tables) -> None:
    """Write all shards to `folder`, with new tables, and the index, if there is one."""
    from ochat_ray.train.base.shards import Contents, contents, convert, rewrite

    placed: dict[str, str] = weights.index["weight_map"] if weights.index else {}
    found: dict[str, Contents] = {}
    with Progress("base", total=len(weights.files), unit="files") as progress:
        for file in weights.files:
            target = folder / _safetensors_name(file)
            held = {name for name, where in placed.items() if where == file}
            try:
                if weights.pickled:
                    convert(origin.get(file, staging), target, tables.change)
                elif held and not held & tables.names:
                    origin.copy(file, target)
                else:
                    rewrite(origin.get(file, staging), target, tables.change)
                found[target.name] = contents(target)
                if missing := held - found[target.name].names:
                    raise ValueError(f"the index says that it holds {min(missing)}, which it does not")
            except CheckpointError:
                raise
            except ValueError as error:
                raise CheckpointError(
                    f"{origin.name}/{file}: {one_line(error)}; get the model again, whole"
                ) from error
            (staging / file).unlink(missing_ok=True)
            progress.update(1)
    tables.require_all(origin.name)
    if weights.index:
        places = {name: file for file, shard in found.items() for name in sorted(shard.names)}
        total = sum(shard.bytes for shard in found.values())
        write_json(folder / SAFETENSORS[1], {"metadata": {"total_size": total}, "weight_map": places})


def _safetensors_name(file: str) -> str:
    if file.endswith(".bin"):
        return file.removesuffix(".bin").replace("pytorch_model", "model") + ".safetensors"
    return file


def _write_configs(folder: Path, source: Path, config: Any, template: ChatTemplate) -> None:
    ids = {
        "bos_token_id": template.bos_ids[0] if template.bos_ids else None,
        "eos_token_id": template.eot_id,
        "pad_token_id": None,
    }
    config.update(ids)
    # Both as JSON: transformers loads configs that it refuses to save, such as Llama 2's of generation.
    config.to_json_file(folder / CONFIG)
    path = source / GENERATION
    try:
        generation = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        generation.update(ids)
    except (ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: cannot be read ({one_line(error)}); mend it, or delete it") from error
    write_json(folder / GENERATION, generation)
