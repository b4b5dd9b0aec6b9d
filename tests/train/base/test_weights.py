"""Weights in shards, in pickles and in a bad state; and how little memory they take."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ochat_ray.config import Recipe
from ochat_ray.errors import CheckpointError
from ochat_ray.train.base import extend
from tests.train.base.models import foreign, llama, load, qwen2, rows_of

INDEX = "model.safetensors.index.json"


def sharded(folder: Path) -> Path:
    source = foreign(folder / "source", llama(hidden_size=32, num_hidden_layers=4), shard_size="30KB")
    assert len(list(source.glob("*.safetensors"))) > 3
    return source


def pickled(source: Path, *, zipped: bool = True) -> None:
    """Weights as they were before safetensors, with the same names and shards."""
    for file in source.glob("*.safetensors"):
        name = file.name.replace("model", "pytorch_model").replace(".safetensors", ".bin")
        torch.save(load_file(file), source / name, _use_new_zipfile_serialization=zipped)
        file.unlink()
    if (source / INDEX).exists():
        index = json.loads((source / INDEX).read_text())
        places = index["weight_map"]
        for name, file in places.items():
            places[name] = file.replace("model", "pytorch_model").replace(".safetensors", ".bin")
        (source / INDEX).unlink()
        (source / "pytorch_model.bin.index.json").write_text(json.dumps(index))


def same(one: Path, two: Path) -> None:
    """Two folders hold the same model."""
    states = [load(folder).state_dict() for folder in (one, two)]
    assert states[0].keys() == states[1].keys() and len(states[0]) > 10
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    for file in ("config.json", "tokenizer.json"):
        assert (one / file).read_bytes() == (two / file).read_bytes()


def test_shards_stay_shards_and_those_without_tables_stay_bytes(tmp_path: Path, recipe: Recipe) -> None:
    source = sharded(tmp_path)
    extend(str(source), tmp_path / "out", recipe)
    old, new = (json.loads((folder / INDEX).read_text()) for folder in (source, tmp_path / "out"))
    assert new["weight_map"] == old["weight_map"]
    row_bytes = 2 * 32 * 2  # two tables, 32 numbers of two bytes
    assert new["metadata"]["total_size"] == old["metadata"]["total_size"] + row_bytes
    tables = {new["weight_map"][name] for name in ("model.embed_tokens.weight", "lm_head.weight")}
    files = sorted(path.name for path in source.glob("*.safetensors"))
    assert files == sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    for file in files:
        assert (tmp_path / "out" / file).stat().st_mode == (tmp_path / "out/config.json").stat().st_mode
        equal = (source / file).read_bytes() == (tmp_path / "out" / file).read_bytes()
        assert equal == (file not in tables)
    whole = foreign(tmp_path / "whole", llama(hidden_size=32, num_hidden_layers=4))
    extend(str(whole), tmp_path / "one-file", recipe)
    same(tmp_path / "out", tmp_path / "one-file")


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_dtypes_are_kept(tmp_path: Path, recipe: Recipe, dtype: torch.dtype) -> None:
    source = foreign(tmp_path / "source", llama(), dtype=dtype)
    extend(str(source), tmp_path / "out", recipe)
    assert {tensor.dtype for tensor in load_file(tmp_path / "out/model.safetensors").values()} == {dtype}
    assert load(tmp_path / "out").dtype == dtype


def test_tied_tables_that_are_stored_twice_stay_equal(tmp_path: Path, recipe: Recipe) -> None:
    source = foreign(tmp_path / "source", qwen2())
    tensors = load_file(source / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, source / "model.safetensors")
    extend(str(source), tmp_path / "out", recipe)
    tensors = load_file(tmp_path / "out/model.safetensors")
    assert len(tensors["lm_head.weight"]) == rows_of(source) + 1
    assert torch.equal(tensors["lm_head.weight"], tensors["model.embed_tokens.weight"])


@pytest.mark.parametrize(("shards", "zipped"), [(True, True), (False, True), (False, False)])
def test_pickles_are_read_if_allowed_and_become_safetensors(
    tmp_path: Path, recipe: Recipe, shards: bool, zipped: bool
) -> None:
    source = sharded(tmp_path) if shards else foreign(tmp_path / "source", llama())
    extend(str(source), tmp_path / "wanted", recipe)
    pickled(source, zipped=zipped)
    with pytest.raises(CheckpointError, match=r"pickles.*--allow-pickle"):
        extend(str(source), tmp_path / "out", recipe)
    extend(str(source), tmp_path / "out", recipe, allow_pickle=True)
    assert not list((tmp_path / "out").glob("*.bin*"))
    names = [{path.name for path in (tmp_path / folder).iterdir()} for folder in ("out", "wanted")]
    assert names[0] == names[1]
    same(tmp_path / "out", tmp_path / "wanted")


class Evil:
    def __reduce__(self) -> object:
        return os.mkdir, ("ran",)


def test_code_in_a_pickle_does_not_run(
    tmp_path: Path, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = foreign(tmp_path / "source", llama())
    (source / "model.safetensors").unlink()
    torch.save({"model.embed_tokens.weight": Evil()}, source / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="holds other things than tensors") as raised:
        extend(str(source), tmp_path / "out", recipe, allow_pickle=True)
    assert f"{source}/pytorch_model.bin: " in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "ran").exists()


def refusal(source: Path, recipe: Recipe) -> str:
    output = source.parent / "out"
    with pytest.raises(CheckpointError) as raised:
        extend(str(source), output, recipe)
    assert "\n" not in str(raised.value)
    assert not output.exists() and not list(source.parent.glob(".out*"))
    return str(raised.value)


def test_damaged_shards_are_named(tmp_path: Path, recipe: Recipe) -> None:
    source = sharded(tmp_path)
    places = json.loads((source / INDEX).read_text())["weight_map"]
    for name in ("model.embed_tokens.weight", "model.layers.1.mlp.up_proj.weight"):
        file = source / places[name]
        good = file.read_bytes()
        file.write_bytes(good[:-100])
        assert f"{file}: damaged, or cut off" in refusal(source, recipe)
        file.unlink()
        assert f"{source}/{INDEX}: names '{file.name}', which is not there" in refusal(source, recipe)
        file.write_bytes(good)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"x": "../../outside.safetensors"}, "names '../../outside.safetensors', which is not there"),
        ({"x": 3}, "not an index of weights"),
        ({}, "not an index of weights"),
        ({"x": "model.safetensors"}, "the index says that it holds x, which it does not"),
    ],
)
def test_bad_indexes(tmp_path: Path, recipe: Recipe, weight_map: dict[str, object], message: str) -> None:
    (tmp_path / "outside.safetensors").touch()
    source = foreign(tmp_path / "source", llama())
    (source / "model.safetensors").rename(source / "other.safetensors")
    weight_map = {
        name: "other.safetensors" if file == "model.safetensors" else file
        for name, file in weight_map.items()
    }
    (source / INDEX).write_text(json.dumps({"weight_map": weight_map}))
    assert message in refusal(source, recipe)


def test_weights_of_another_config_are_refused(tmp_path: Path, recipe: Recipe) -> None:
    source = foreign(tmp_path / "source", llama())
    config = json.loads((source / "config.json").read_text())
    (source / "config.json").write_text(json.dumps({**config, "vocab_size": 1000}))
    assert "rows, but vocab_size is 1,000" in refusal(source, recipe)
    (source / "config.json").write_text(json.dumps(config))
    tensors = load_file(source / "model.safetensors")
    whole = dict(tensors)
    del tensors["lm_head.weight"]
    save_file(tensors, source / "model.safetensors")
    assert "hold no tensor lm_head.weight" in refusal(source, recipe)
    whole["lm_head.weight"] = whole["lm_head.weight"].to(torch.int8)
    save_file(whole, source / "model.safetensors")
    assert "lm_head.weight is quantised to torch.int8" in refusal(source, recipe)


@contextmanager
def peak_memory() -> Iterator[list[int]]:
    """Bytes of this process's own memory (without mapped files) at most, above those at the start."""

    def now() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))

    def watch() -> None:
        while not done.is_set():
            peak[0] = max(peak[0], now() - start)
            time.sleep(0.001)

    peak, start, done = [0], now(), threading.Event()
    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("kind", ["one file", "shards", "pickle"])
def test_memory_is_that_of_the_tables(tmp_path: Path, recipe: Recipe, kind: str) -> None:
    wide = llama(hidden_size=512, intermediate_size=16384, num_attention_heads=8)
    source = foreign(tmp_path / "source", wide, shard_size="20MB" if kind == "shards" else "1GB")
    if kind == "pickle":
        pickled(source)
    size = sum(path.stat().st_size for path in source.iterdir())
    assert size > 100_000_000
    with peak_memory() as peak:
        extend(str(source), tmp_path / "out", recipe, allow_pickle=True)
    assert peak[0] < size / 3
