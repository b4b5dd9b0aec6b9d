"""Inputs that do not fit together are refused before anything starts, in one line with the remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig

from ochat_ray import runtime
from ochat_ray.cli import main
from ochat_ray.config import Recipe, TrainConfig
from ochat_ray.errors import CheckpointError, ConfigError, DataError
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.base import make_tiny
from ochat_ray.train.loop import forward_dtype
from ochat_ray.train.model import build, refuse_dynamic_rope, refuse_scaled_logits
from ochat_ray.train.run import train
from tests.train.prepared import write_prepared


@pytest.fixture
def begun(tmp_path: Path, data: Path, base: Path, recipe: Recipe) -> Path:
    """An output whose run was begun and stopped in its first step."""
    from ochat_ray.manifest import read_manifest
    from ochat_ray.train.folders import Folders
    from ochat_ray.train.identity import claimed, identify

    template = ChatTemplate(load_model_type(recipe.model_type), ChatTokenizer.load(base))
    manifest = read_manifest(data, remedy="")
    with claimed(Folders(tmp_path / "begun"), identify(recipe, template, manifest, base)):
        Folders(tmp_path / "begun").attempts.touch()
    return tmp_path / "begun"


def refusal(kind: type[Exception], data: Path, base: Path, output: Path, recipe: Recipe) -> str:
    with pytest.raises(kind) as raised:
        train(data, base, output, recipe)
    message = str(raised.value)
    assert "\n" not in message
    return message


def test_an_unfinished_data_folder(tmp_path: Path, base: Path, recipe: Recipe) -> None:
    (tmp_path / "data").mkdir()
    assert "`ochat-ray prepare`" in refusal(DataError, tmp_path / "data", base, tmp_path / "out", recipe)


def test_another_model_type(tmp_path: Path, data: Path, base: Path, recipe: Recipe) -> None:
    other = recipe.replace(model_type="openchat_v2")
    message = refusal(DataError, data, base, tmp_path / "out", other)
    assert "prepared for openchat, not for openchat_v2" in message and "--base openchat_v2=DIR" in message


def test_the_command_refuses_before_ray_starts(
    tmp_path: Path,
    data: Path,
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(runtime, "cluster", lambda *_, **__: pytest.fail("Ray was started"))
    words = ["train", str(data), str(tmp_path / "out"), "--base", str(base), "model_type=openchat_v2"]
    assert main(words) == 2
    assert "prepared for openchat, not for openchat_v2" in capsys.readouterr().err


def test_tokens_by_another_template(tmp_path: Path, data: Path, base: Path, recipe: Recipe) -> None:
    kind = load_model_type("openchat").replace(user_prefix="Person: ")
    (tmp_path / "mine.yaml").write_text(json.dumps(kind.model_dump(mode="json")))
    message = refusal(
        DataError, data, base, tmp_path / "out", recipe.replace(model_type=str(tmp_path / "mine.yaml"))
    )
    assert "made with chat template" in message and "prepare the data again" in message


def test_another_tokenizer(tmp_path: Path, data: Path, recipe: Recipe) -> None:
    make_tiny(tmp_path / "base", recipe.replace(base=recipe.base.replace(vocab_size=350)))
    message = refusal(DataError, data, tmp_path / "base", tmp_path / "out", recipe)
    assert "tokenizer" in message and str(tmp_path / "base") in message


def test_a_base_without_the_end_of_turn_token(tmp_path: Path, data: Path, base: Path, recipe: Recipe) -> None:
    other = recipe.replace(model_type="chatml")
    message = refusal(CheckpointError, data, base, tmp_path / "out", other)
    assert "<|im_end|>" in message and "ochat-ray base" in message


def test_a_conversation_longer_than_a_bin(
    tmp_path: Path, template: ChatTemplate, base: Path, recipe: Recipe
) -> None:
    write_prepared(tmp_path / "data", template, [["a b " * 100, "c"]])
    message = refusal(DataError, tmp_path / "data", base, tmp_path / "out", recipe)
    assert "train.max_tokens = 128" in message and "data.max_tokens" in message


def test_nothing_to_train_on(tmp_path: Path, template: ChatTemplate, base: Path, recipe: Recipe) -> None:
    write_prepared(tmp_path / "data", template, [], [["a", "b"]])
    message = refusal(DataError, tmp_path / "data", base, tmp_path / "out", recipe)
    assert "no training rows" in message


def test_a_base_with_fewer_rows_than_its_tokenizer(
    tmp_path: Path, data: Path, base: Path, recipe: Recipe
) -> None:
    shutil.copytree(base, tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    (tmp_path / "base/config.json").write_text(json.dumps({**config, "vocab_size": 300}))
    message = refusal(CheckpointError, data, tmp_path / "base", tmp_path / "out", recipe)
    assert "vocab_size 300" in message and "400 entries" in message


def test_an_output_of_another_recipe(begun: Path, data: Path, base: Path, recipe: Recipe) -> None:
    other = recipe.replace(train=recipe.train.replace(learning_rate=5e-3))
    message = refusal(CheckpointError, data, base, begun, other)
    assert "train.learning_rate (0.01, now 0.005)" in message and "another output folder" in message


def test_an_output_of_other_data(
    tmp_path: Path, begun: Path, template: ChatTemplate, base: Path, recipe: Recipe
) -> None:
    write_prepared(tmp_path / "data", template, [["a", "b"]])
    assert "the prepared data" in refusal(CheckpointError, tmp_path / "data", base, begun, recipe)


def test_an_output_that_holds_other_things(tmp_path: Path, data: Path, base: Path, recipe: Recipe) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("mine")
    assert "not empty" in refusal(CheckpointError, data, base, tmp_path / "out", recipe)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.txt"]


def test_what_a_kill_left_before_the_first_file_is_no_other_thing(
    tmp_path: Path, template: ChatTemplate, base: Path, recipe: Recipe
) -> None:
    write_prepared(tmp_path / "data", template, [], [["a", "b"]])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.run.json.123").write_text("{")
    message = refusal(DataError, tmp_path / "data", base, tmp_path / "out", recipe)
    assert "no training rows" in message  # so the output was taken
    assert not (tmp_path / "out/.run.json.123").exists()


def test_another_base_of_the_same_shape(begun: Path, data: Path, base: Path, recipe: Recipe) -> None:
    other = begun.parent / "base"
    shutil.copytree(base, other)
    weights = bytearray((base / "model.safetensors").read_bytes())
    weights[len(weights) // 2] ^= 1
    (other / "model.safetensors").write_bytes(weights)
    assert "the base model" in refusal(CheckpointError, data, other, begun, recipe)


@pytest.mark.parametrize(
    "rope",
    [
        {"rope_type": "dynamic", "factor": 2.0},
        {"rope_type": "longrope", "factor": 2.0, "short_factor": [1.0] * 4, "long_factor": [2.0] * 4},
    ],
)
def test_positions_that_depend_on_the_pack(tmp_path: Path, base: Path, rope: dict[str, Any]) -> None:
    shutil.copytree(base, tmp_path / "base")
    config = LlamaConfig.from_pretrained(base)
    config.rope_parameters = {"rope_theta": 1e4, "original_max_position_embeddings": 1024, **rope}
    config.save_pretrained(tmp_path / "base")
    expected = rf"base/config\.json: rope_type '{rope['rope_type']}' changes"
    with pytest.raises(CheckpointError, match=expected):
        build(tmp_path / "base", TrainConfig())
    with pytest.raises(CheckpointError, match=expected):  # for one kind of layer
        refuse_dynamic_rope({"rope_parameters": {"full_attention": rope}}, tmp_path / "base")


def test_full_precision_on_gpus(recipe: Recipe) -> None:
    full = recipe.train.replace(dtype="float32")
    with pytest.raises(ConfigError, match=r"train\.dtype = float32.*bfloat16 or auto"):
        forward_dtype(full, torch.device("cuda"))
    assert forward_dtype(full, torch.device("cpu")) == torch.float32
    assert forward_dtype(recipe.train, torch.device("cuda")) == torch.bfloat16


def test_logits_that_the_loss_does_not_know(tmp_path: Path, base: Path) -> None:
    refuse_scaled_logits({"logit_scale": 1.0, "final_logit_softcapping": None}, base)
    with pytest.raises(CheckpointError, match=r"config\.json: final_logit_softcapping = 30\.0 changes"):
        refuse_scaled_logits({"final_logit_softcapping": 30.0}, base)
    (tmp_path / "config.json").write_text('{"model_type": "no-such-model"}')
    with pytest.raises(CheckpointError, match="not a model that can be trained here"):
        build(tmp_path, TrainConfig())
