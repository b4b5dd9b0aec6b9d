"""Base models from scratch: made alike every time, and as transformers reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from ochat_ray.config import Recipe
from ochat_ray.conversation import Message
from ochat_ray.errors import CheckpointError
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.base import make_tiny
from tests.train.base.models import load

TEXT = "Human: hi there\u00e9\n Assistant: <s> 12345 \U0001f600"


def test_tiny_is_the_same_every_time_and_loads_in_transformers(tmp_path: Path, recipe: Recipe) -> None:
    for name in ("one", "two"):
        make_tiny(tmp_path / name, recipe)
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    model = load(tmp_path / "one")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    kind = load_model_type(recipe.model_type)
    assert model.dtype == torch.float32
    assert model.config.max_position_embeddings == kind.context
    assert model.config.num_hidden_layers == recipe.base.layers
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == recipe.base.vocab_size
    assert tokenizer.eos_token == kind.eot
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    ours = ChatTokenizer.load(tmp_path / "one")
    assert ours.decode(ours.encode(TEXT)) == TEXT


def test_tiny_tokenizer_and_template_agree_with_transformers(base: Path, template: ChatTemplate) -> None:
    messages = [Message("user", TEXT), Message("assistant", "yes"), Message("user", "<|end_of_turn|>")]
    chat = [{"role": m.role, "content": m.content} for m in messages]
    theirs = AutoTokenizer.from_pretrained(base).apply_chat_template(chat, add_generation_prompt=True)
    assert theirs["input_ids"] == template.render_prompt(messages)


def test_tiny_has_padding_if_asked(tmp_path: Path, recipe: Recipe) -> None:
    make_tiny(tmp_path / "out", recipe.replace(base=recipe.base.replace(vocab_multiple=64)))
    assert ChatTokenizer.load(tmp_path / "out").vocab_size == 400
    assert load(tmp_path / "out").get_input_embeddings().weight.shape[0] == 448


def test_a_full_output_is_refused(base: Path, recipe: Recipe) -> None:
    with pytest.raises(CheckpointError, match="not empty"):
        make_tiny(base, recipe)
