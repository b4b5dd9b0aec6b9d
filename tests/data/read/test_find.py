"""Finding pages: all of them, in one order, and one clear line where there are none."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from ochat_ray.data.sources import PageFile, chunks, find_pages, pages_folder
from ochat_ray.errors import DataError


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def paths(folder: Path, leave_out: Path | None = None) -> list[str]:
    return [page.path for page in find_pages(folder, leave_out or folder / "none")]


def test_pages_are_found_at_any_depth_in_one_order(tmp_path: Path) -> None:
    write(tmp_path, "b.html", "a/z.HTML", "a/b/c.htm", "readme.txt", "a.html.txt")
    assert paths(tmp_path) == ["a/b/c.htm", "a/z.HTML", "b.html"]
    assert find_pages(tmp_path, tmp_path / "none")[2].size == 1


def test_the_output_inside_the_source_is_not_read(tmp_path: Path) -> None:
    write(tmp_path, "b.html", "out/c.html")
    assert paths(tmp_path, tmp_path / "out") == ["b.html"]


def test_a_sharegpt_folder_inside_is_the_source(tmp_path: Path) -> None:
    write(tmp_path, "ShareGPT/a.html", "other.html")
    assert pages_folder(tmp_path) == tmp_path / "ShareGPT"
    assert pages_folder(tmp_path / "ShareGPT") == tmp_path / "ShareGPT"


def test_a_dangling_link_is_still_a_page(tmp_path: Path) -> None:
    (tmp_path / "a.html").symlink_to(tmp_path / "gone")
    assert paths(tmp_path) == ["a.html"]


def test_wrong_folders_are_told_in_one_line(tmp_path: Path) -> None:
    write(tmp_path, "file.html", "empty/readme.txt")
    for call, words in [
        (lambda: pages_folder(tmp_path / "none"), "no such folder"),
        (lambda: pages_folder(tmp_path / "file.html"), "is a file"),
        (lambda: find_pages(tmp_path / "empty", tmp_path), "no saved pages"),
    ]:
        with pytest.raises(DataError, match=words) as caught:
            call()
        assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


def test_folders_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "a.html", "locked/b.html")
    scandir = os.scandir

    def forbidden(path: Path) -> object:
        if Path(path).name == "locked":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    for call in (
        lambda: find_pages(tmp_path, tmp_path / "none"),
        lambda: pages_folder(tmp_path / "locked"),
    ):
        with pytest.raises(DataError, match=r"locked: cannot be read \(Permission denied\); change its"):
            call()


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/b.html", "pages/a.html")
    (tmp_path / "pages/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/back").symlink_to(tmp_path / "pages")
    assert paths(tmp_path / "pages") == ["a.html", "link/b.html"]


def test_chunks_hold_every_page_once() -> None:
    pages = [PageFile(str(i), 0, 0) for i in range(7)]
    assert [len(chunk) for chunk in chunks(pages, 3)] == [3, 3, 1]
    assert [page for chunk in chunks(pages, 3) for page in chunk] == pages
