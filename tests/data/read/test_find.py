"""What the user names, to files: all of them, in one order, and one clear line where there are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.formats import Kind
from ochat_ray.data.read.units import Piece, splits, units, whole
from ochat_ray.errors import DataError
from ochat_ray.manifest import write_manifest
from ochat_ray.storage import storage


def write(folder: Path, *names: str, data: str = "x") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(data)


def paths(*inputs: Path | str, kind: Kind | None = None, leave_out: tuple[Path, ...] = ()) -> list[str]:
    return [file.path for file in find_inputs([str(text) for text in inputs], kind, leave_out).files]


def test_files_are_found_at_any_depth_in_one_order(tmp_path: Path) -> None:
    write(
        tmp_path,
        "b.html",
        "a/z.HTML",
        "a/b/c.jsonl.gz",
        "readme.txt",
        "a.html.txt",
        ".hidden/d.html",
        ".e.html",
    )
    found = find_inputs([str(tmp_path)])
    assert [file.path for file in found.files] == ["a/b/c.jsonl.gz", "a/z.HTML", "b.html"]
    assert found.left_out == ["a.html.txt", "readme.txt"]
    assert found.files[2].size == 1


def test_the_output_inside_the_source_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, "b.html", "out/c.html")
    assert paths(tmp_path, leave_out=(tmp_path / "out",)) == ["b.html"]


def test_a_sharegpt_folder_inside_is_the_source(tmp_path: Path) -> None:
    write(tmp_path, "ShareGPT/a.html", "other.html")
    assert paths(tmp_path) == ["a.html"]
    found = find_inputs([str(tmp_path)])
    assert found.folder.location == str(tmp_path / "ShareGPT")
    assert found.left_out == [str(tmp_path / "other.html")]
    both = find_inputs([str(tmp_path), str(tmp_path / "other.html")])
    assert [file.path for file in both.files] == ["ShareGPT/a.html", "other.html"] and not both.left_out


def test_an_output_that_is_not_finished_is_no_input(tmp_path: Path) -> None:
    write(tmp_path, "chats/a.jsonl", "packed/pages/0.parquet", "packed/.work/plan.json")
    for inputs in (tmp_path, tmp_path / "packed", f"{tmp_path}/p*"):
        with pytest.raises(DataError, match=f"{tmp_path}/packed: not finished"):
            paths(inputs)
    assert paths(tmp_path / "chats") == paths(tmp_path / "chats/a.jsonl") == ["a.jsonl"]
    assert paths(tmp_path / "packed/pages") == ["0.parquet"]  # but may be meant
    assert paths(tmp_path, leave_out=(tmp_path / "packed",)) == ["chats/a.jsonl"]


def test_files_and_globs(tmp_path: Path) -> None:
    write(tmp_path, "a1.jsonl", "a2.jsonl", "b.jsonl", "sub/a3.jsonl", "sub/deep/a4.jsonl", "x[1].jsonl")
    assert paths(tmp_path / "b.jsonl") == ["b.jsonl"]
    assert paths(f"{tmp_path}/a*.jsonl") == ["a1.jsonl", "a2.jsonl"]
    assert paths(f"{tmp_path}/**/a?.jsonl") == ["a1.jsonl", "a2.jsonl", "sub/a3.jsonl", "sub/deep/a4.jsonl"]
    assert paths(f"{tmp_path}/s*") == ["a3.jsonl", "deep/a4.jsonl"] or paths(f"{tmp_path}/s*") == [
        "sub/a3.jsonl",
        "sub/deep/a4.jsonl",
    ]
    assert paths(f"{tmp_path}/a[!1].jsonl") == ["a2.jsonl"]
    assert paths(tmp_path / "x[1].jsonl") == ["x[1].jsonl"]  # a file of that name is not a pattern


def test_a_glob_finds_what_its_folder_has(tmp_path: Path) -> None:
    write(tmp_path, "g/a.html", "g/._a.html", "g/.hid/b.html")
    assert paths(tmp_path / "g") == paths(f"{tmp_path}/g/*") == paths(f"{tmp_path}/g/**/*.html") == ["a.html"]
    assert paths(tmp_path / "g/._a.html") == ["._a.html"]  # one that is named is meant


def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    write(tmp_path, "a.html")
    os.mkfifo(tmp_path / "pipe")
    assert find_inputs([str(tmp_path)]).left_out == ["pipe"]
    with pytest.raises(DataError, match="pipe: is a pipe or a device"):
        paths(tmp_path / "pipe")


def test_what_was_asked_for_is_named(tmp_path: Path) -> None:
    write(tmp_path, "big/x.html", "pages/ShareGPT/y.html", "b.jsonl")
    asked = [str(tmp_path / "pages"), str(tmp_path / "big"), f"{tmp_path}/*.jsonl"]
    assert find_inputs(asked).named == [
        f"{tmp_path}/*.jsonl",
        f"{tmp_path}/big",
        f"{tmp_path}/pages/ShareGPT",
    ]


def test_several_inputs_have_one_root(tmp_path: Path) -> None:
    write(tmp_path, "a/x.html", "b/y.html", "b/z.html")
    found = find_inputs([str(tmp_path / "b"), str(tmp_path / "a"), str(tmp_path / "b/y.html")])
    assert [file.path for file in found.files] == ["a/x.html", "b/y.html", "b/z.html"]
    assert found.folder.location == str(tmp_path)


def test_a_kind_takes_every_file(tmp_path: Path) -> None:
    write(tmp_path, "a.txt", "b", "c.html.gz")
    found = find_inputs([str(tmp_path)], "jsonl")
    assert [(file.path, *file.format) for file in found.files] == [
        ("a.txt", "jsonl", None),
        ("b", "jsonl", None),
        ("c.html.gz", "jsonl", "gz"),
    ]


def test_files_without_a_suffix_are_looked_into(tmp_path: Path) -> None:
    write(tmp_path, "QWJhYvA", data="<!DOCTYPE html>")
    write(tmp_path, "LICENSE", data="Apache")
    assert paths(tmp_path) == ["QWJhYvA"]


def test_models_and_prepared_folders_inside_are_no_chats(tmp_path: Path) -> None:
    write(tmp_path, "chats/a.jsonl", "base/tokenizer.json", "base/config.json", "done/clean/part-0.parquet")
    write_manifest(storage(tmp_path / "done"), {}, {"kind": "prepared"})
    assert paths(tmp_path) == ["chats/a.jsonl"]
    assert paths(tmp_path / "done" / "clean") == ["part-0.parquet"]  # but may be meant


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["none"], "none: no such file or folder"),
        (["empty"], r"empty: no files to read; give saved pages"),
        (["texts"], r"no files to read \(1 of other kinds, such as a.txt\)"),
        (["*.html"], r"\*.html: no files to read"),
        (["s3://a/b", "empty"], "inputs in several places"),
        (["s3://a/b/*.html", "s3://c/d/*.html"], "inputs in several places"),
    ],
)
def test_wrong_inputs_are_told_in_one_line(tmp_path: Path, names: list[str], words: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path, "texts/a.txt")
    inputs = [name if name.startswith("s3:") else str(tmp_path / name) for name in names]
    with pytest.raises(DataError, match=words) as caught:
        find_inputs(inputs)
    assert "\n" not in str(caught.value)


def test_a_dangling_link_is_still_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.html").symlink_to(tmp_path / "gone")
    assert paths(tmp_path) == ["a.html"]


def test_units_hold_every_piece_once_and_are_about_one_size(tmp_path: Path) -> None:
    write(tmp_path, *(f"{i:03}.html" for i in range(50)), data="x" * 10)
    pieces = [whole(file) for file in find_inputs([str(tmp_path)]).files]
    found = units(pieces, 100)
    assert [piece for unit in found for piece in unit] == pieces
    assert [len(unit) for unit in found] == [10] * 5
    assert [len(unit) for unit in units(pieces, 10**9, max_files=20)] == [20, 20, 10]
    assert units([], 100) == []
    assert [len(unit) for unit in units(pieces[:2], 1)] == [1, 1]  # one that is too large is a unit by itself


def test_which_files_are_cut_up(tmp_path: Path) -> None:
    write(tmp_path, "a.jsonl", "b.jsonl.gz", "c.json", "d.tar", "e.zip", "f.parquet", data="x" * 1000)
    cut = {file.path for file in find_inputs([str(tmp_path)]).files if splits(file, 400)}
    assert cut == {"a.jsonl", "e.zip", "f.parquet"}
    assert isinstance(pieces_of(tmp_path)[0], Piece)


def pieces_of(folder: Path) -> list[Piece]:
    return [whole(file) for file in find_inputs([str(folder)]).files]
