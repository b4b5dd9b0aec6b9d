"""`ochat-ray keys`."""

from __future__ import annotations

import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ochat_ray.cli import main
from ochat_ray.serve.access.keys import Keys, read_keys
from ochat_ray.serve.access.keys_file import add_key, list_keys, remove_key


def test_a_key_is_shown_once_and_only_its_hash_is_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "new" / "keys.yaml"
    words = ["--requests-per-minute", "60", "--tokens-per-minute", "90000", "--expires", "2999-12-31"]
    assert main(["keys", "add", str(path), "alice", *words]) == 0
    shown = capsys.readouterr()
    key = shown.out.strip()
    assert key not in path.read_text() and key not in shown.err
    found = Keys(read_keys(path).keys).find(key.encode())
    assert found is not None and found.name == "alice"
    assert (found.key.requests_per_minute, found.key.tokens_per_minute) == (60, 90000)
    assert main(["keys", "list", str(path)]) == 0
    assert capsys.readouterr().out == "alice  60 requests/min, 90,000 tokens/min, until 2999-12-31\n"
    assert main(["keys", "remove", str(path), "alice"]) == 0
    assert read_keys(path).keys == {}


@pytest.mark.parametrize("name", ["keys.yaml", "keys.json"])
def test_only_the_owner_may_read_the_file_and_nothing_is_left_beside_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch(0o644)
    path.unlink()
    keys = [add_key(path, user) for user in ("alice", "bob")]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    remove_key(path, "alice")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    found = Keys(read_keys(path).keys)
    assert found.find(keys[0].encode()) is None and found.find(keys[1].encode()) is not None


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    path = tmp_path / "keys.yaml"
    path.symlink_to(tmp_path / "real" / "keys.yaml")
    add_key(path, "alice")
    assert path.is_symlink() and list_keys(tmp_path / "real" / "keys.yaml") == ["alice  no limits"]


def test_keys_that_are_added_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    names = [f"user-{number}" for number in range(12)]
    threads = [threading.Thread(target=add_key, args=(tmp_path / "keys.yaml", name)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_keys(tmp_path / "keys.yaml").keys) == set(names)


YESTERDAY = str(datetime.now(UTC).date() - timedelta(days=2))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["add", "FILE", "alice"], "alice has a key already"),
        (["add", "FILE", "a b"], "'a b': a name is"),
        (["add", "FILE", ""], "'': a name is"),
        (["add", "FILE", "bob", "--expires", "soon"], "--expires soon: is no date"),
        (["add", "FILE", "bob", "--expires", YESTERDAY], "is past"),
        (["remove", "FILE", "eve"], "no key of eve; there are alice"),
        (["remove", "NONE", "eve"], "cannot be read"),
        (["list", "NONE"], "cannot be read"),
    ],
)
def test_mistakes_are_told_in_a_line(
    tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "keys.yaml"
    add_key(path, "alice")
    before = path.read_bytes()
    places = {"FILE": str(path), "NONE": str(tmp_path / "none.yaml")}
    assert main(["keys", *(places.get(word, word) for word in words)]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
    assert path.read_bytes() == before


def test_numbers_below_one_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["keys", "add", str(tmp_path / "k"), "alice", "--requests-per-minute", "0"])
    assert "'0' is no number from 1 up" in capsys.readouterr().err
