"""Input and output in an object store, over the real S3 protocol: a server on loopback."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ochat_ray import sample
from ochat_ray.data.read.find import find_inputs
from ochat_ray.errors import DataError
from ochat_ray.inspect import Choice, Style, inspect
from ochat_ray.manifest import read_manifest
from ochat_ray.storage import read, storage
from tests.tokenizers import byte_level


def test_files_of_a_bucket(bucket: str) -> None:
    folder = storage(f"{bucket}/files")
    folder.write("b/two", b"22")
    folder.write("a", b"1")
    assert [(entry.path, entry.size) for entry in folder.entries()] == [("a", 1), ("b/two", 2)]
    assert [entry.path for entry in folder.entries("b")] == ["b/two"]
    assert read(folder, "b/two") == b"22"
    with folder.open("b/two") as file:
        file.seek(1)
        assert file.read() == b"2"
    assert folder.exists("b") and folder.exists("a") and not folder.exists("c")
    folder.remove("b")
    folder.remove("c")
    assert [entry.path for entry in folder.entries()] == ["a"]
    with pytest.raises(FileNotFoundError):
        folder.open("b/two")


@pytest.mark.parametrize("name", ["my data", "caf\u00e9", "a%20b", "a#b"])
def test_names_are_taken_as_they_stand(bucket: str, name: str) -> None:
    storage(f"{bucket}/{name}").write("x.jsonl", b"x")
    assert read(storage(bucket), f"{name}/x.jsonl") == b"x"
    found = find_inputs([f"{bucket}/{name}"])
    assert (found.folder.location, [file.path for file in found.files]) == (f"{bucket}/{name}", ["x.jsonl"])


@pytest.mark.usefixtures("bucket")
def test_errors_name_the_object() -> None:
    with pytest.raises(OSError) as raised:
        storage("s3://no-such-bucket/x").write("y", b"1")
    assert "s3://no-such-bucket/x/y" in str(raised.value)
    with pytest.raises(DataError, match="no-such-bucket/x: no files to read"):
        find_inputs(["s3://no-such-bucket/x"])


def test_inputs_in_a_bucket(bucket: str) -> None:
    for name in ("in/ShareGPT/a.html", "in/x.jsonl", "in/y.jsonl.gz", "in/deep/z.jsonl"):
        storage(bucket).write(name, b"x")

    def paths(*inputs: str) -> list[str]:
        found = find_inputs(inputs)
        return [f"{found.folder.location}|{file.path}" for file in found.files]

    assert paths(f"{bucket}/in") == [f"{bucket}/in/ShareGPT|a.html"]
    assert paths(f"{bucket}/in/x.jsonl") == [f"{bucket}/in|x.jsonl"]
    assert paths(f"{bucket}/in/*.jsonl*") == [f"{bucket}/in|x.jsonl", f"{bucket}/in|y.jsonl.gz"]
    assert paths(f"{bucket}/in/**/*.jsonl") == [f"{bucket}/in|deep/z.jsonl", f"{bucket}/in|x.jsonl"]


def test_inputs_in_a_bucket_can_be_looked_at(bucket: str) -> None:
    line = {
        "id": "a",
        "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "Aye."}],
    }
    storage(bucket).write("look/x.jsonl", json.dumps(line).encode())
    for path in (f"{bucket}/look", f"{bucket}/look/x.jsonl"):
        assert "[assistant]\nAye." in "\n".join(inspect(path, Choice(), Style()))


def test_prepare_and_inspect_in_a_bucket_make_what_they_make_on_a_disk(bucket: str, tmp_path: Path) -> None:
    tokenizer = byte_level(["<s>", "</s>", "<|end_of_turn|>"], bos="<s>")
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "tokenizer.json").write_text(json.dumps(tokenizer.spec))
    sample.write_pages(tmp_path / "ShareGPT")
    for page in (tmp_path / "ShareGPT").iterdir():
        storage(f"{bucket}/pages").write(page.name, page.read_bytes())

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "ochat_ray", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    base = ["--base", str(tmp_path / "base")]
    run("prepare", f"{bucket}/pages", f"{bucket}/out", *base)
    run("prepare", str(tmp_path / "ShareGPT"), str(tmp_path / "out"), *base)
    remote, local = (
        read_manifest(storage(place), remedy="") for place in (f"{bucket}/out", tmp_path / "out")
    )
    assert remote["counts"] == local["counts"]
    parts = {name: facts for name, facts in local["files"].items() if not name.startswith("report")}
    assert parts.items() <= remote["files"].items() and len(parts) >= 5
    assert not any(entry.path.startswith(".work") for entry in storage(f"{bucket}/out").entries())
    shown = run("inspect", f"{bucket}/out", "-n", "1", "--as", "tokens")
    assert "<s>|" in shown and "with loss" in shown
