"""Existing models get the tokens of a model type exactly, and keep everything else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import PretrainedConfig

from ochat_ray.cli import main
from ochat_ray.config import Recipe, load_recipe
from ochat_ray.errors import CheckpointError
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.base import extend
from tests.train.base.models import foreign, gemma, llama, load, mistral, qwen2, rows_of, starcoder

IDS = torch.tensor([[5, 60, 7, 100, 200, 33]])


def padded(recipe: Recipe, multiple: int) -> Recipe:
    return recipe.replace(base=recipe.base.replace(vocab_multiple=multiple))


@pytest.mark.parametrize(
    ("config", "spare_rows"),
    [
        (llama(), 0),
        (llama(), 10),
        (llama(tie_word_embeddings=True), 0),
        (mistral(), 0),
        (qwen2(), 7),
        (gemma(), 0),
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_new_rows_are_the_mean_of_the_old_and_the_rest_is_untouched(
    tmp_path: Path, recipe: Recipe, config: PretrainedConfig, spare_rows: int
) -> None:
    source = foreign(tmp_path / "source", config, spare_rows=spare_rows)
    old_rows = rows_of(source)
    made = extend(str(source), tmp_path / "out", recipe)
    before, after = load(source), load(tmp_path / "out")
    assert after.dtype == before.dtype == torch.bfloat16
    assert after.config.max_position_embeddings == 2048
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(before, layer)().weight, getattr(after, layer)().weight
        assert rows_of(tmp_path / "out") == old_rows + 1
        assert len(new) == after.config.vocab_size == max(old_rows + 1, len(old))
        assert torch.equal(new[:old_rows], old[:old_rows])
        assert torch.equal(new[old_rows + 1 :], old[old_rows + 1 :])
        assert torch.equal(new[old_rows], old[:old_rows].double().mean(0).to(torch.bfloat16))
    old_state, new_state = before.state_dict(), after.state_dict()
    assert old_state.keys() == new_state.keys()
    inner = [name for name in old_state if ".layers." in name]
    assert len(inner) > 10 and all(torch.equal(old_state[name], new_state[name]) for name in inner)
    # Logits of old tokens are bit for bit the old ones: positions were extrapolated.
    assert torch.equal(after(IDS).logits[..., :old_rows], before(IDS).logits[..., :old_rows])
    template = ChatTemplate(load_model_type("openchat"), ChatTokenizer.load(tmp_path / "out"))
    assert template.eot_id == old_rows == after.config.eos_token_id == after.generation_config.eos_token_id
    assert made.added == {"<|end_of_turn|>": old_rows}
    assert made.rows == (len(old), len(new)) and made.positions == (512, 2048)


def test_starcoder_rows_are_drawn_and_drawn_alike(tmp_path: Path) -> None:
    recipe = padded(load_recipe("opencoder"), 64)
    source = foreign(tmp_path / "source", starcoder())
    old_rows = rows_of(source)
    for name in ("one", "two"):
        extend(str(source), tmp_path / name, recipe)
    one, two = (load(tmp_path / name).get_input_embeddings().weight for name in ("one", "two"))
    assert torch.equal(one, two)
    assert torch.equal(one[:old_rows], load(source).get_input_embeddings().weight)
    new = one[old_rows:].float()
    assert len(one) % 64 == 0 and len(new) > 20 and 0.018 < new.std() < 0.022 and abs(new.mean()) < 0.002


@pytest.mark.parametrize("spare_rows", [0, 100])
def test_padding_starts_as_new_tokens_do_and_is_put_once(
    tmp_path: Path, recipe: Recipe, spare_rows: int
) -> None:
    source = foreign(tmp_path / "source", llama(), spare_rows=spare_rows)
    old_rows, present = rows_of(source), rows_of(source) + spare_rows
    extend(str(source), tmp_path / "out", padded(recipe, 64))
    before, after = load(source), load(tmp_path / "out")
    total = after.config.vocab_size
    assert total % 64 == 0 and present < total < present + 64
    for layer in ("get_input_embeddings", "get_output_embeddings"):
        old, new = getattr(before, layer)().weight, getattr(after, layer)().weight
        mean = old[:old_rows].double().mean(0).to(torch.bfloat16)
        assert torch.equal(new[old_rows], mean)
        assert torch.equal(new[old_rows + 1 : present], old[old_rows + 1 :])
        assert torch.equal(
            new[max(present, old_rows + 1) :], mean.expand(total - max(present, old_rows + 1), -1)
        )
    made = extend(str(tmp_path / "out"), tmp_path / "again", padded(recipe, 64))
    assert made.summary("extrapolate") == "tokens and positions were all there"
    again = load(tmp_path / "again").state_dict()
    assert all(torch.equal(again[name], value) for name, value in after.state_dict().items())


def test_a_model_that_has_all_tokens_and_positions_keeps_every_weight(tmp_path: Path, base: Path) -> None:
    extend(str(base), tmp_path / "out", load_recipe("tiny-cpu"))
    assert (tmp_path / "out/tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    before, after = load(base).state_dict(), load(tmp_path / "out").state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_model_with_fewer_rows_than_its_tokenizer_grows(tmp_path: Path, base: Path, recipe: Recipe) -> None:
    source = foreign(tmp_path / "source", llama(), spare_rows=-10)
    for name in ("tokenizer.json", "tokenizer_config.json"):  # it lacks no special token
        (source / name).write_bytes((base / name).read_bytes())
    rows = len(load(source).get_input_embeddings().weight)
    extend(str(source), tmp_path / "out", recipe)
    after = load(tmp_path / "out")
    assert rows < rows_of(source) == after.config.vocab_size
    for layer in (after.get_input_embeddings(), after.get_output_embeddings()):
        mean = layer.weight[:rows].double().mean(0).to(torch.bfloat16)
        assert torch.equal(layer.weight[rows:], mean.expand(rows_of(source) - rows, -1))


def test_settings_of_generation_and_terms_are_handed_on(tmp_path: Path, recipe: Recipe) -> None:
    source = foreign(tmp_path / "source", llama())
    # As Llama 2's: transformers loads it with a warning, and refuses to save it.
    (source / "generation_config.json").write_text(
        '{"temperature": 0.9, "do_sample": false, "pad_token_id": 0}'
    )
    (source / "LICENSE.txt").write_text("terms")
    (source / "README.md").write_text("of another model")
    extend(str(source), tmp_path / "out", recipe)
    found = json.loads((tmp_path / "out/generation_config.json").read_text())
    assert found["temperature"] == 0.9 and found["pad_token_id"] is None
    assert found["eos_token_id"] == rows_of(source)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "LICENSE.txt",
        "chat_template.jinja",
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]


def refusal(source: Path, output: Path, recipe: Recipe) -> str:
    with pytest.raises(CheckpointError) as raised:
        extend(str(source), output, recipe)
    assert "\n" not in str(raised.value)
    assert not output.exists() and not list(output.parent.glob(".out*"))
    return str(raised.value)


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_incomplete_source_is_refused_by_the_missing_file(
    tmp_path: Path, recipe: Recipe, missing: str
) -> None:
    source = foreign(tmp_path / "source", llama())
    (source / missing).unlink()
    name = "weights" if missing == "model.safetensors" else missing
    assert f"{source}: no {name}" in refusal(source, tmp_path / "out", recipe)


def test_a_tokenizer_in_the_old_format_is_refused_with_the_way_out(tmp_path: Path, recipe: Recipe) -> None:
    source = foreign(tmp_path / "source", llama())
    (source / "tokenizer.json").rename(source / "tokenizer.model")
    assert "AutoTokenizer.from_pretrained" in refusal(source, tmp_path / "out", recipe)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", "{", "cannot be used"),
        ("config.json", '{"model_type": "vit"}', "makes no language model of it"),
        ("config.json", '{"model_type": "paligemma"}', "is a model of several parts"),
        ("tokenizer.json", "{}", "cannot be read as a tokenizer"),
        ("generation_config.json", "[]", "cannot be read"),
    ],
)
def test_files_that_do_not_fit_are_named(
    tmp_path: Path, recipe: Recipe, file: str, content: str, message: str
) -> None:
    source = foreign(tmp_path / "source", llama())
    (source / file).write_text(content)
    found = refusal(source, tmp_path / "out", recipe)
    assert found.startswith(f"{source}/{file}: ") and message in found


def test_a_full_output_is_refused(base: Path, recipe: Recipe) -> None:
    with pytest.raises(CheckpointError, match="not empty"):
        extend(str(base), base, recipe)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = foreign(tmp_path / "source", llama())
    words = ["base", str(tmp_path / "out"), "base.vocab_multiple=64", "--from", str(source)]
    assert main([*words, "--recipe", "openchat_8192"]) == 0
    out = capsys.readouterr().out
    assert f"added <|end_of_turn|> as {rows_of(source)}; embeddings {rows_of(source)} to 320 rows;" in out
    assert "positions 512 to 8,192 (extrapolate)" in out
    assert main(["base", str(tmp_path / "tiny"), "--allow-pickle"]) == 2
    assert "name it with --from" in capsys.readouterr().err
    assert main(["base", str(tmp_path / "x"), "--from", str(source), "base.positions=dynamic"]) == 2
    err = capsys.readouterr().err
    assert "`base.positions` = 'dynamic': its angles change" in err and err.count("\n") == 1


CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM
Path(__file__).with_name("ran").touch()
class MineConfig(LlamaConfig):
    model_type = "mine"
class MineForCausalLM(LlamaForCausalLM):
    config_class = MineConfig
"""


def test_code_of_a_model_runs_only_if_it_is_trusted(tmp_path: Path) -> None:
    source = foreign(tmp_path / "source", llama())
    config = json.loads((source / "config.json").read_text())
    classes = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.MineForCausalLM"}
    (source / "config.json").write_text(json.dumps({**config, "model_type": "mine", "auto_map": classes}))
    (source / "mine.py").write_text(CODE)

    def run(output: str, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ochat_ray", "base", str(tmp_path / output), "--from", str(source)]
        return subprocess.run(
            [*command, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, "HF_HOME": str(tmp_path / "cache")},
        )

    refused = run("one")
    assert refused.returncode == 2 and "--trust-remote-code" in refused.stderr
    assert refused.stderr.count("\n") == 1 and not list(tmp_path.rglob("ran"))
    trusted = run("two", "--trust-remote-code")
    assert trusted.returncode == 0, trusted.stderr
    assert list(tmp_path.rglob("ran"))
    assert (tmp_path / "two/mine.py").read_text() == CODE
    assert json.loads((tmp_path / "two/config.json").read_text())["auto_map"] == classes
