"""Files of JSON lines that a thread writes."""

from __future__ import annotations

import json
import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.errors import ConfigError
from ochat_ray.serve.access import log_file
from ochat_ray.serve.access.log_file import LogFile


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_written_in_order_and_files_put_aside(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log.jsonl", max_mb=0.001, backups=3)
    for number in range(200):
        file.write({"number": number, "text": "x" * 50})
    file.close()
    rotated = [file.path, *(Path(f"{file.path}.{n}") for n in (1, 2, 3))]
    written = [line["number"] for path in reversed(rotated) for line in lines(path)]
    assert written == list(range(200 - len(written), 200)) and len(written) > 30
    assert all(path.stat().st_size <= 1000 for path in rotated)
    assert not Path(f"{file.path}.4").exists()


def test_any_text_is_a_line_of_utf8(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "log.jsonl", max_mb=1, backups=1)
    texts = ["two\nlines", "Gr\u00fc\u00dfe \U0001f600", "lone \ud83d surrogate", "nul \0"]
    for text in texts:
        file.write({"text": text})
    file.close()
    assert [line["text"] for line in lines(file.path)] == texts


def test_files_are_never_shared_and_taken_up_again(tmp_path: Path) -> None:
    first, second = (LogFile(tmp_path / "log.jsonl", max_mb=1, backups=1) for _ in range(2))
    assert first.path != second.path
    first.write({"run": 1})
    first.close()
    third = LogFile(tmp_path / "log.jsonl", max_mb=1, backups=1)
    third.write({"run": 3})
    third.close()
    second.close()
    assert third.path == first.path and lines(first.path) == [{"run": 1}, {"run": 3}]


def test_a_disk_that_stands_still_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(log_file, "WAITING", 5)
    moving = threading.Event()
    real = log_file._Handler.emit
    monkeypatch.setattr(log_file._Handler, "emit", lambda *args: moving.wait(60) and real(*args))
    file = LogFile(tmp_path / "log.jsonl", max_mb=1, backups=1)
    with caplog.at_level(logging.ERROR, "ray.serve"):
        for number in range(50):
            file.write({"number": number})
    assert len(caplog.records) == 1 and "lines are lost" in caplog.text
    moving.set()
    file.close()
    assert 5 <= len(lines(file.path)) <= 6


def test_a_line_that_cannot_be_written_is_told_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_file._Handler, "shouldRollover", full)
    file = LogFile(tmp_path / "log.jsonl", max_mb=1, backups=1)
    with caplog.at_level(logging.ERROR, "ray.serve"):
        for number in range(5):
            file.write({"number": number})
        file.close()
    assert len(caplog.records) == 1 and "a line is lost" in caplog.text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="cannot be written"):
        LogFile(tmp_path / "log.jsonl", max_mb=1, backups=1)


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"log\.path .*cannot be written"):
        LogFile(tmp_path / "file" / "log.jsonl", max_mb=1, backups=1)
