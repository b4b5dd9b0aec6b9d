"""What workers read is found again where the data and the checkpoints are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ochat_ray.config import CheckpointConfig, Recipe, load_recipe
from ochat_ray.errors import CheckpointError
from ochat_ray.train.folders import Folders
from ochat_ray.train.identity import claimed
from ochat_ray.train.inputs import input_files, make_inputs
from ochat_ray.train.prepared import Prepared
from ochat_ray.train.run import _anywhere


def test_data_that_moved_is_read_where_it_is(data: Path, base: Path, recipe: Recipe, tmp_path: Path) -> None:
    folders = Folders(tmp_path / "out")

    def read(place: str) -> None:
        prepared = Prepared.open(tmp_path / place, base, recipe.model_type)
        make_inputs(prepared, base, folders, recipe.train)

    shutil.copytree(data, tmp_path / "before")
    read("before")
    plan = (folders.tokens / "train" / "plan.npz").read_bytes()
    (tmp_path / "before").rename(tmp_path / "after")
    read("after")
    files = input_files(folders.tokens / "train")
    assert files and all(file.exists() and tmp_path / "after" in file.parents for file in files)
    assert (folders.tokens / "train" / "plan.npz").read_bytes() == plan


def test_paths_do_not_depend_on_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train.strategy=zero2", "train.deepspeed=ds.json", "train.checkpoint.folder=kept"]
    recipe = _anywhere(load_recipe("tiny-cpu", [*words, "model_type=mine.yaml"]))
    assert recipe.train.deepspeed == str(tmp_path / "ds.json")
    assert recipe.train.checkpoint.folder == str(tmp_path / "kept")
    assert recipe.model_type == str(tmp_path / "mine.yaml")
    far = load_recipe("tiny-cpu", ["train.checkpoint.folder=s3://bucket/kept"])
    assert _anywhere(far) == far


def test_runs_that_share_a_checkpoint_folder_do_not_meet(tmp_path: Path) -> None:
    shared = CheckpointConfig(folder=f"{tmp_path}/kept{os.sep}")
    places = set()
    for name in ("one", "two"):
        folders = Folders(tmp_path / name)
        with claimed(folders, {"the same": "run"}):
            places.add(folders.checkpoints_of(shared))
            folders.attempts.touch()  # its workers have begun
        with claimed(folders, {"the same": "run"}):
            assert folders.checkpoints_of(shared) in places
    assert len(places) == 2 and all(place.startswith(f"{tmp_path}/kept/") for place in places)


def test_a_start_without_a_step_binds_nobody(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "out")
    with claimed(folders, {"train.epochs": 1}):
        folders.tokens.mkdir()
    with claimed(folders, {"train.epochs": 2}):
        assert not folders.tokens.exists()
        folders.attempts.touch()
    refused = pytest.raises(CheckpointError, match=r"another value of train\.epochs \(2, now 3\)")
    with refused, claimed(folders, {"train.epochs": 3}):
        pass
