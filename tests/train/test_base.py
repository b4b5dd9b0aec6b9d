"""Base models: made alike every time, and extended exactly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, GPTBigCodeConfig, LlamaConfig

from ochat_ray.config import Recipe, load_recipe
from ochat_ray.conversation import Message
from ochat_ray.errors import CheckpointError
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.base import extend, make_tiny

TEXT = "Human: hi there\u00e9\n Assistant: <s> 12345 \U0001f600"


def foreign(folder: Path, config: LlamaConfig | GPTBigCodeConfig, *, spare_rows: int = 0) -> Path:
    """A Hugging Face folder of somebody else: bfloat16, its own tokenizer, no end-of-turn token."""
    folder.mkdir()
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=270,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["some words, some more words, and so on"] * 3, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>"}))
    torch.manual_seed(1)
    config.vocab_size = tokenizer.get_vocab_size() + spare_rows
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    return folder


def rows_of(folder: Path) -> int:
    return ChatTokenizer.load(folder).vocab_size


def llama(**changes: Any) -> LlamaConfig:
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    return LlamaConfig(**{**shape, "max_position_embeddings": 512, **changes})


def test_tiny_is_the_same_every_time_and_loads_in_transformers(tmp_path: Path, recipe: Recipe) -> None:
    for name in ("one", "two"):
        make_tiny(tmp_path / name, recipe)
    for file in ("model.safetensors", "tokenizer.json", "config.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "one")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "one")
    kind = load_model_type(recipe.model_type)
    assert model.dtype == torch.float32
    assert model.config.max_position_embeddings == kind.context
    assert model.config.num_hidden_layers == recipe.base.layers
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer) == recipe.base.vocab_size
    assert tokenizer.eos_token == kind.eot
    ours = ChatTokenizer.load(tmp_path / "one")
    assert ours.decode(ours.encode(TEXT)) == TEXT


def test_tiny_tokenizer_and_template_agree_with_transformers(base: Path, template: ChatTemplate) -> None:
    messages = [Message("user", TEXT), Message("assistant", "yes"), Message("user", "<|end_of_turn|>")]
    chat = [{"role": m.role, "content": m.content} for m in messages]
    theirs = AutoTokenizer.from_pretrained(base).apply_chat_template(chat, add_generation_prompt=True)
    assert theirs["input_ids"] == template.render_prompt(messages)


@pytest.mark.parametrize(("tied", "spare_rows"), [(False, 0), (True, 0), (False, 10)])
def test_new_rows_are_the_mean_of_the_old_and_the_rest_is_untouched(
    tmp_path: Path, recipe: Recipe, tied: bool, spare_rows: int
) -> None:
    source = foreign(tmp_path / "source", llama(tie_word_embeddings=tied), spare_rows=spare_rows)
    old_rows = rows_of(source)
    extend(source, tmp_path / "out", recipe)
    before = AutoModelForCausalLM.from_pretrained(source, dtype="auto")
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert after.dtype == before.dtype == torch.bfloat16
    assert after.config.max_position_embeddings == 2048
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(before, layer)().weight, getattr(after, layer)().weight
        assert rows_of(tmp_path / "out") == old_rows + 1
        assert len(new) == after.config.vocab_size == max(old_rows + 1, len(old))
        assert torch.equal(new[:old_rows], old[:old_rows])
        assert torch.equal(new[old_rows + 1 :], old[old_rows + 1 :])
        assert torch.equal(new[old_rows], old[:old_rows].double().mean(0).to(torch.bfloat16))
    assert torch.equal(after.model.layers[0].mlp.up_proj.weight, before.model.layers[0].mlp.up_proj.weight)
    template = ChatTemplate(load_model_type("openchat"), ChatTokenizer.load(tmp_path / "out"))
    assert template.eot_id == old_rows == after.config.eos_token_id


def test_starcoder_rows_are_drawn_and_drawn_alike(tmp_path: Path) -> None:
    recipe = load_recipe("opencoder")
    source = foreign(
        tmp_path / "source",
        GPTBigCodeConfig(n_embd=64, n_layer=1, n_head=2, n_positions=8192),
    )
    old_rows = rows_of(source)
    for name in ("one", "two"):
        extend(source, tmp_path / name, recipe)
    one, two = (
        AutoModelForCausalLM.from_pretrained(tmp_path / name).get_input_embeddings().weight[old_rows:]
        for name in ("one", "two")
    )
    assert torch.equal(one, two)
    assert 0.01 < one.float().std() < 0.03


def test_a_model_that_has_all_tokens_and_positions_keeps_every_weight(tmp_path: Path, base: Path) -> None:
    extend(base, tmp_path / "out", load_recipe("tiny-cpu"))
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    before, after = (AutoModelForCausalLM.from_pretrained(f).state_dict() for f in (base, tmp_path / "out"))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_source_is_refused_by_the_missing_file(
    tmp_path: Path, recipe: Recipe, missing: str
) -> None:
    source = foreign(tmp_path / "source", llama())
    (source / missing).unlink()
    with pytest.raises(CheckpointError, match=r"source: no (config\.json|weights|tokenizer\.json)") as raised:
        extend(source, tmp_path / "out", recipe)
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()


def test_a_model_with_fewer_rows_than_its_tokenizer_grows(tmp_path: Path, base: Path, recipe: Recipe) -> None:
    source = foreign(tmp_path / "source", llama(), spare_rows=-10)
    for name in ("tokenizer.json", "tokenizer_config.json"):  # it lacks no special token
        (source / name).write_bytes((base / name).read_bytes())
    rows = len(AutoModelForCausalLM.from_pretrained(source).get_input_embeddings().weight)
    extend(source, tmp_path / "out", recipe)
    after = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert rows < rows_of(source) == after.config.vocab_size
    for layer in (after.get_input_embeddings(), after.get_output_embeddings()):
        mean = layer.weight[:rows].double().mean(0).to(torch.bfloat16)
        assert torch.equal(layer.weight[rows:], mean.expand(rows_of(source) - rows, -1))


def test_a_full_output_is_refused(base: Path, recipe: Recipe) -> None:
    for make in (lambda: make_tiny(base, recipe), lambda: extend(base, base, recipe)):
        with pytest.raises(CheckpointError, match="not empty"):
            make()


def test_learned_positions_are_not_extended(tmp_path: Path, recipe: Recipe) -> None:
    source = foreign(tmp_path / "source", GPTBigCodeConfig(n_embd=16, n_layer=1, n_head=2, n_positions=64))
    with pytest.raises(CheckpointError, match="64 learned positions"):
        extend(source, tmp_path / "out", recipe)
