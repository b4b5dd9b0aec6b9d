"""Folders of a file system behind the interface; object stores are in tests/data/test_object_store.py."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ochat_ray.errors import DataError
from ochat_ray.storage import Entry, LocalStorage, is_remote, read, storage


def paths(entries: list[Entry]) -> list[str]:
    return [entry.path for entry in entries]


def test_files_are_written_whole_listed_in_order_and_removed(tmp_path: Path) -> None:
    folder = storage(tmp_path / "new")
    folder.write("b/two", b"22")
    folder.write("a", memoryview(b"1"))
    assert [(entry.path, entry.size) for entry in folder.entries()] == [("a", 1), ("b/two", 2)]
    assert paths(folder.entries("b")) == ["b/two"]
    assert read(folder, "b/two") == b"22"
    assert folder.exists("b") and not folder.exists("c")
    folder.remove("b")
    folder.remove("c")
    assert paths(folder.entries()) == ["a"]


def test_a_write_that_fails_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as raised:
        storage(tmp_path).write("file/below", b"x")
    assert str(tmp_path / "file" / "below") in str(raised.value)
    assert paths(storage(tmp_path).entries()) == ["file"]


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError) as raised:
        storage(tmp_path).write("x", b"1")
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(tmp_path / "x")


def test_linked_folders_are_followed_once_and_some_left_out(tmp_path: Path) -> None:
    for name in ("pages/a", "pages/out/c", "elsewhere/b"):
        storage(tmp_path).write(name, b"")
    (tmp_path / "pages/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "pages")
    (tmp_path / "pages/dangling").symlink_to(tmp_path / "gone")
    folder = storage(tmp_path / "pages")
    assert paths(folder.entries()) == ["a", "dangling", "link/b", "out/c"]
    assert paths(folder.entries(leave_out=frozenset({str(tmp_path / "pages/out")}))) == [
        "a",
        "dangling",
        "link/b",
    ]


@pytest.mark.parametrize("names", [("a", "z"), ("z", "a")])
def test_a_linked_folder_has_one_name_whatever_the_order_on_disk(
    tmp_path: Path, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scandir = os.scandir
    monkeypatch.setattr(
        os,
        "scandir",
        lambda path: sorted(scandir(path), key=lambda e: names.index(e.name) if e.name in names else 9),
    )
    for name in ("links/x", "real/m/x"):
        storage(tmp_path).write(name, b"")
    (tmp_path / "links/z").symlink_to(tmp_path / "real/m")
    (tmp_path / "links/a").symlink_to(tmp_path / "real/m")
    assert paths(storage(tmp_path / "links").entries()) == ["a/x", "x"]
    (tmp_path / "real/a").symlink_to(tmp_path / "real/m")
    assert paths(storage(tmp_path / "real").entries()) == ["m/x"]  # a real folder before a link to it


def test_a_pipe_is_no_file_and_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is a pipe"):
        storage(tmp_path).open("pipe")
    with pytest.raises(FileNotFoundError):
        storage(tmp_path).open("none")


def test_folders_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage(tmp_path).write("locked/b", b"")
    scandir = os.scandir

    def forbidden(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(DataError, match=r"locked: cannot be read \(Permission denied\); change its"):
        storage(tmp_path).entries()


def test_schemes() -> None:
    assert is_remote("s3://bucket/x") and is_remote("gs://b") and not is_remote("/s3:/x")
    assert isinstance(storage("relative"), LocalStorage)
    assert storage("s3://bucket/folder/").location == "s3://bucket/folder"
    with pytest.raises(DataError, match="unknown scheme; give a path, or s3://"):
        storage("ftp://host/x")
