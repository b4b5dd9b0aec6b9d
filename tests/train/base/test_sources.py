"""Where models come from: folders, object stores, the model hub."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ochat_ray.config import Recipe
from ochat_ray.errors import CheckpointError
from ochat_ray.storage import storage
from ochat_ray.train.base import extend
from ochat_ray.train.base.source import open_source
from tests.train.base.hub import GATED, hub
from tests.train.base.models import foreign, llama
from tests.train.base.test_weights import pickled

Run = Callable[..., subprocess.CompletedProcess[str]]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["one file", "shards", "pickle"])
def test_a_model_in_a_bucket_gives_what_it_gives_on_a_disk(
    tmp_path: Path, recipe: Recipe, bucket: str, kind: str
) -> None:
    source = foreign(tmp_path / "source", llama(), shard_size="10KB" if kind == "shards" else "1GB")
    if kind == "pickle":
        pickled(source)
    uri = f"{bucket}/models/{kind.replace(' ', '-')}"
    for path in source.iterdir():
        storage(uri).write(path.name, path.read_bytes())
    storage(uri).write("original/consolidated.00.pth", b"the same weights once more")
    for name, place in {"here": str(source), "there": f"{uri}/"}.items():
        extend(place, tmp_path / name, recipe, allow_pickle=kind == "pickle")
    found = files_of(tmp_path / "there")
    assert found == files_of(tmp_path / "here")
    assert len(found) > (8 if kind == "shards" else 5)


def test_errors_in_a_bucket_name_its_files(tmp_path: Path, recipe: Recipe, bucket: str) -> None:
    source = foreign(tmp_path / "source", llama())
    uri = f"{bucket}/models/bad"

    def refusal(place: str) -> str:
        with pytest.raises(CheckpointError) as raised:
            extend(place, tmp_path / "out", recipe)
        assert "\n" not in str(raised.value) and not list(tmp_path.glob("*out*"))
        return str(raised.value)

    assert f"{uri}: no config.json" in refusal(uri)
    for path in source.iterdir():
        storage(uri).write(path.name, path.read_bytes())
    storage(uri).write("tokenizer.json", b"{")
    assert f"{uri}/tokenizer.json: cannot be read as a tokenizer" in refusal(uri)
    storage(uri).write("tokenizer.json", (source / "tokenizer.json").read_bytes())
    storage(uri).write("model.safetensors", (source / "model.safetensors").read_bytes()[:-9])
    assert f"{uri}/model.safetensors: damaged, or cut off" in refusal(uri)
    assert "s3://no-such-bucket/model" in refusal("s3://no-such-bucket/model")


@pytest.mark.parametrize("name", ["work/no/such/folder", "/no/such", "../there", "a", "file.json"])
def test_what_is_neither_a_folder_nor_a_name_is_refused(tmp_path: Path, recipe: Recipe, name: str) -> None:
    with pytest.raises(CheckpointError, match=r"no such folder; give .*\(OWNER/NAME\)"):
        extend(name, tmp_path / "out", recipe)


@pytest.mark.parametrize("size", [10, 10_000_000])
def test_a_full_disk_and_a_file_that_cannot_be_read_are_told_apart(tmp_path: Path, size: int) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"x" * size)
    source = open_source(str(tmp_path), allow_pickle=False, trust_remote_code=False)
    with pytest.raises(OSError) as raised:
        source.copy("model.safetensors", Path("/dev/full"))
    assert raised.value.errno == errno.ENOSPC and raised.value.filename == "/dev/full"
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError, match=f"{tmp_path}/folder.safetensors: cannot be read"):
        source.copy("folder.safetensors", tmp_path / "copy")


def runner(folder: Path, url: str) -> Run:
    """Runs `ochat-ray base` with a cache of its own and the hub at `url`."""

    def run(output: str, model: str, *words: str) -> subprocess.CompletedProcess[str]:
        settings = {"HF_ENDPOINT": url, "HF_HOME": str(folder / "cache"), "HF_HUB_DISABLE_XET": "1"}
        return subprocess.run(
            [sys.executable, "-m", "ochat_ray", "base", str(folder / output), "--from", model, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            env={**os.environ, **settings},
        )

    return run


def test_models_of_the_hub_are_downloaded_once_and_only_as_far_as_needed(
    tmp_path: Path, recipe: Recipe
) -> None:
    source = foreign(tmp_path / "source", llama(), shard_size="10KB")
    extend(str(source), tmp_path / "local", recipe)
    for extra in ("consolidated.safetensors", "pytorch_model.bin", "evil.py", "LICENSE"):
        (source / extra).write_bytes(b"x" * 10)
    with hub({"owner/llama": source}) as (url, asked):
        run = runner(tmp_path, url)
        done = run("online", "owner/llama@v1")
        assert done.returncode == 0, done.stderr
        first = sorted(asked)
        assert first == sorted(set(asked)) and len(first) > 8
        assert not set(first) & {"consolidated.safetensors", "pytorch_model.bin", "evil.py"}
    done = run("offline", "owner/llama@v1")
    assert done.returncode == 0, done.stderr
    local = files_of(tmp_path / "local")
    for name in ("online", "offline"):
        assert files_of(tmp_path / name) == {**local, "LICENSE": b"x" * 10}


def test_pickles_of_the_hub_come_only_if_allowed(tmp_path: Path) -> None:
    source = foreign(tmp_path / "source", llama())
    pickled(source)
    with hub({"owner/old": source}) as (url, asked):
        run = runner(tmp_path, url)
        refused = run("out", "owner/old")
        last = refused.stderr.splitlines()[-1]
        assert refused.returncode == 2 and "owner/old: no safetensors" in last and "--allow-pickle" in last
        assert "pytorch_model.bin" not in asked
        done = run("out", "owner/old", "--allow-pickle")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/model.safetensors").exists()


def test_what_the_hub_does_not_give_is_said_in_a_line(tmp_path: Path) -> None:
    source = foreign(tmp_path / "source", llama())
    with hub({"owner/llama": source}) as (url, _):
        run = runner(tmp_path, url)
        for model, message in {
            "owner/nothing": "owner/nothing: neither a folder here nor a model at",
            GATED: f"{GATED}: its owner asks for consent; give it at {url}/{GATED}",
            "owner/llama@v9": "owner/llama@v9: the model has no revision 'v9'",
        }.items():
            done = run("out", model)
            assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
    done = run("out", "owner/llama")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"owner/llama: not a folder here, and cannot be had from {url}" in done.stderr
    assert not (tmp_path / "out").exists()
