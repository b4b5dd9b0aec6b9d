"""Which token files are trained on: those of the manifest, whatever else lies in the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ochat_ray.errors import DataError
from ochat_ray.manifest import file_facts, read_manifest, write_manifest
from ochat_ray.model_types import load_model_type
from ochat_ray.storage import storage
from ochat_ray.train.tokens import token_files


def test_what_the_manifest_does_not_name_is_not_read(tmp_path: Path) -> None:
    folder = storage(tmp_path)
    names = [f"tokens/openchat/{part}" for part in ("eval/b.arrow", "tokenizer.json", "train/a.arrow")]
    for name in names:
        folder.write(name, b"x")
    write_manifest(folder, {name: file_facts(b"x") for name in names}, {})
    folder.write("tokens/openchat/train/.a.arrow.12-0badcafe", b"half")
    folder.write("tokens/chatml/train/c.arrow", b"of something else")
    manifest = read_manifest(folder, remedy="")
    assert token_files(folder, manifest, load_model_type("openchat"), "train") == [
        "tokens/openchat/train/a.arrow"
    ]
    with pytest.raises(DataError, match="prepared for openchat, not for chatml"):
        token_files(folder, manifest, load_model_type("chatml"), "train")
