"""The exported folder is refused when it is not what the model was trained with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ochat_ray.errors import CheckpointError
from ochat_ray.exported import load_exported, write_chat_files
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from tests.tokenizers import byte_level, specials_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    kind = load_model_type("openchat")
    write_chat_files(
        tmp_path, ChatTemplate(kind, byte_level(specials_of(kind), "<s>")), {"recipe": {"name": "x"}}
    )
    return tmp_path


def test_what_is_written_loads(folder: Path) -> None:
    exported = load_exported(folder)
    assert exported.model_type.name == "openchat"
    assert exported.facts["recipe"] == {"name": "x"}
    assert exported.facts["versions"]["python"]


def test_transformers_loads_it_to_the_same_ids(folder: Path) -> None:
    from transformers import AutoTokenizer

    from ochat_ray.conversation import Message

    theirs = AutoTokenizer.from_pretrained(folder)
    ours = load_exported(folder).template.render_prompt([Message("user", "  Hi </s>")])
    chat = [{"role": "user", "content": "  Hi </s>"}]
    assert theirs.apply_chat_template(chat, tokenize=True, add_generation_prompt=True)["input_ids"] == ours
    assert theirs.eos_token == "<|end_of_turn|>"


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("ochat.json", "Human: ", "Human:", "template_hash"),
        ("tokenizer.json", "</s>", "</S>", "tokenizer_hash"),
        ("chat_template.jinja", "Human", "human", "not the template that the model was trained with"),
        ("ochat.json", '"format": 1', '"format": 9', "format 9, expected 1"),
        ("ochat.json", "{", "", "cannot be read"),
    ],
)
def test_changed_folders_are_refused(folder: Path, name: str, old: str, new: str, message: str) -> None:
    edit(folder / name, old, new)
    with pytest.raises(CheckpointError) as raised:
        load_exported(folder)
    assert message in str(raised.value)
    assert str(folder) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no ochat.json.*ochat-ray train"):
        load_exported(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        load_exported(tmp_path / "none")


def test_ochat_json_is_for_people(folder: Path) -> None:
    facts = json.loads((folder / "ochat.json").read_text())
    assert list(facts)[:2] == ["format", "model_type"]
