"""The base model: a tiny one from scratch, or an existing one made fit for a model type."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from ochat_ray import sample
from ochat_ray.config import Recipe
from ochat_ray.errors import CheckpointError
from ochat_ray.exported import write_tokenizer
from ochat_ray.model_types import ModelType, load_model_type
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer

# Models whose makers extended them with freshly drawn rows; others get the mean of the existing ones.
NORMAL_INIT = ("gpt_bigcode", "starcoder2")
NORMAL_STD = 0.02
END = "</s>"


def make_tiny(output: Path, recipe: Recipe) -> None:
    """A random Llama of `recipe.base`'s shape in float32, and a byte-level BPE tokenizer of the sample.

    The same recipe gives the same files. Raises CheckpointError if `output` is not empty.
    """
    _require_empty(output)
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    kind, shape = load_model_type(recipe.model_type), recipe.base
    template = ChatTemplate(kind, _tiny_tokenizer(kind, shape.vocab_size))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(shape.seed)
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=template.tokenizer.vocab_size,
                hidden_size=shape.hidden_size,
                intermediate_size=shape.intermediate_size,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.kv_heads,
                max_position_embeddings=kind.context,
            )
        ).float()
    _save(model, template, output)


def extend(source: Path, output: Path, recipe: Recipe) -> None:
    """A copy of the Hugging Face folder `source` with the tokens and positions of the model type.

    Missing special tokens are added to the tokenizer. Their rows of the input and output embeddings are
    the mean of the existing rows, or drawn from N(0, 0.02) for StarCoder's family; nothing else changes.
    Positions are raised to the model type's context without rescaling (extrapolated RoPE).

    Raises CheckpointError if `output` is not empty, or `source` is no model of which this can be made.
    """
    _require_empty(output)
    for name, found in {
        "config.json": (source / "config.json").exists(),
        "weights (*.safetensors or *.bin)": any(source.glob("*.safetensors")) or any(source.glob("*.bin")),
        "tokenizer.json": (source / "tokenizer.json").exists(),
    }.items():
        if not found:
            raise CheckpointError(f"{source}: no {name}; give a complete Hugging Face model folder")
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    kind = load_model_type(recipe.model_type)
    known = ChatTokenizer.load(source)
    tokenizer = add_tokens(known, [*kind.specials])
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", local_files_only=True)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{source}: transformers cannot load it ({_line(error)})") from error
    extend_positions(model.config, kind.context, source)
    generator = torch.Generator().manual_seed(recipe.base.seed)
    extend_embeddings(model, known.vocab_size, tokenizer.vocab_size, generator)
    _save(model, ChatTemplate(kind, tokenizer), output)


def add_tokens(tokenizer: ChatTokenizer, tokens: list[str]) -> ChatTokenizer:
    """The tokenizer with those of `tokens` that it lacks as special tokens, in order, at new ids.

    A token that is only an ordinary vocabulary entry keeps its id and becomes special.
    """
    from tokenizers import AddedToken, Tokenizer

    spec: dict[str, Any] = dict(tokenizer.spec)
    missing = [token for token in tokens if token not in tokenizer.special_ids]
    if missing:
        extended = Tokenizer.from_str(json.dumps(spec))
        extended.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in missing])
        spec["added_tokens"] = json.loads(extended.to_str())["added_tokens"]
    return ChatTokenizer(spec, tokenizer.bos_token)


def extend_embeddings(model: Any, old_rows: int, new_rows: int, generator: Any) -> None:
    """Initialise rows `old_rows` to `new_rows` of input and output embeddings, growing them if needed.

    `old_rows` is the number of ids that the old tokenizer had: rows beyond it were never trained. The
    model may have fewer: then those of the tokenizer's last ids are made too.
    """
    import torch

    present = model.get_input_embeddings().weight.shape[0]
    trained = min(old_rows, present)
    if new_rows <= trained:
        return
    if new_rows > present:
        model.resize_token_embeddings(new_rows, mean_resizing=False)
    tables = {
        id(layer.weight): layer.weight
        for layer in (model.get_input_embeddings(), model.get_output_embeddings())
    }
    with torch.no_grad():
        for weight in tables.values():
            if model.config.model_type in NORMAL_INIT:
                drawn = torch.randn(new_rows - trained, weight.shape[1], generator=generator) * NORMAL_STD
                weight[trained:new_rows] = drawn.to(weight.dtype)
            else:
                weight[trained:new_rows] = weight[:trained].double().mean(0).to(weight.dtype)


def extend_positions(config: Any, context: int, source: Path) -> None:
    """Raise the position limit to `context`. Raises CheckpointError for learned positions, which end."""
    if config.max_position_embeddings >= context:
        return
    if not getattr(config, "rope_parameters", None):
        raise CheckpointError(
            f"{source}/config.json: {config.max_position_embeddings} learned positions cannot be extended to "
            f"the {context} of the model type; take a model with rotary positions"
        )
    config.max_position_embeddings = context


def _tiny_tokenizer(kind: ModelType, vocab_size: int) -> ChatTokenizer:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(dict.fromkeys([*kind.specials, END])),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(sample.texts(), trainer)
    return ChatTokenizer(json.loads(tokenizer.to_str()), kind.bos if kind.bos in kind.specials else None)


def _save(model: Any, template: ChatTemplate, output: Path) -> None:
    for config in (model.config, model.generation_config):
        config.bos_token_id = template.bos_ids[0] if template.bos_ids else None
        config.eos_token_id = template.eot_id
        config.pad_token_id = None
    # The folder appears whole or not at all: an interrupted one would pass for a base model.
    aside = output.with_name(f".{output.name}.{os.getpid()}")
    try:
        model.save_pretrained(aside)
        write_tokenizer(aside, template)
        if output.exists():
            output.rmdir()
        aside.rename(output)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _require_empty(output: Path) -> None:
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise CheckpointError(f"{output}: not empty, or no folder; give another one, or delete it")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
