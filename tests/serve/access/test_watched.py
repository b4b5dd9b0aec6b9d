"""A keys file that changes under a running server."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from ochat_ray.errors import ConfigError
from ochat_ray.serve.access import watched
from ochat_ray.serve.access.keys_file import add_key, remove_key
from ochat_ray.serve.access.watched import WatchedKeys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.yaml"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched, "CHECK_EVERY_S", 0.0)


def knows(keys: WatchedKeys, key: str) -> bool:
    return keys.current().find(key.encode()) is not None


@pytest.mark.usefixtures("at_once")
def test_keys_come_and_go(path: Path) -> None:
    alice = add_key(path, "alice")
    keys = WatchedKeys(path)
    bob = add_key(path, "bob")
    assert knows(keys, alice) and knows(keys, bob)
    remove_key(path, "alice")
    assert not knows(keys, alice) and knows(keys, bob)


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("fault", ["keys: [", "", None])
def test_a_broken_file_changes_nothing_and_is_told_of_once(
    path: Path, fault: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    alice = add_key(path, "alice")
    keys = WatchedKeys(path)
    good = path.read_text()
    if fault is None:
        path.unlink()
    else:
        path.write_text(fault)
    with caplog.at_level(logging.ERROR, "ray.serve"):
        assert all(knows(keys, alice) for _ in range(3))
    assert [str(path) in record.getMessage() for record in caplog.records] == [True]
    path.write_text(good)
    bob = add_key(path, "bob")
    assert knows(keys, alice) and knows(keys, bob)


def test_the_file_is_looked_at_once_a_second(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(watched.time, "monotonic", lambda: now)
    add_key(path, "alice")
    keys = WatchedKeys(path)
    bob = add_key(path, "bob")
    now = 100.9
    assert not knows(keys, bob)
    now = 101.0
    assert knows(keys, bob)


@pytest.mark.parametrize("text", [None, "keys: ["])
def test_a_server_does_not_start_without_keys(path: Path, text: str | None) -> None:
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=r"keys\.yaml"):
        WatchedKeys(path)
