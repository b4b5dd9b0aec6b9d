"""Keys, and what their file may say."""

from __future__ import annotations

import hmac
import json
from datetime import date
from pathlib import Path

import pytest

from ochat_ray.errors import ConfigError
from ochat_ray.serve.access.keys import ApiKey, Keys, new_key, read_keys, sha256_of

A, B = "a" * 64, "b" * 64


def file(folder: Path, text: str) -> Path:
    path = folder / "keys.yaml"
    path.write_text(text)
    return path


def test_new_keys_are_long_and_never_the_same() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("sk-ochat-") and len(key) == len("sk-ochat-") + 43 for key in keys)


def test_each_key_finds_its_holder_and_others_find_none() -> None:
    secrets = {f"user-{number}": new_key() for number in range(20)}
    keys = Keys({name: ApiKey(sha256=sha256_of(key)) for name, key in secrets.items()})
    for name, key in secrets.items():
        found = keys.find(key.encode())
        assert found is not None and found.name == name
    for wrong in (b"", b"sk-ochat-", key.encode() + b"x", b"\xff\xfe", "\u00fc".encode()):
        assert keys.find(wrong) is None


def test_every_key_is_looked_at_whichever_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [new_key() for _ in range(7)]
    keys = Keys({f"user-{n}": ApiKey(sha256=sha256_of(key)) for n, key in enumerate(secrets)})
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    for presented in (secrets[0], secrets[6], "wrong"):
        compared.clear()
        keys.find(presented.encode())
        assert len(compared) == 7
        assert all(type(one) is bytes and len(one) == 32 for pair in compared for one in pair)


def test_a_key_works_until_its_last_day_is_over() -> None:
    key = ApiKey(sha256=A, expires=date(2030, 5, 1))
    assert not key.expired(date(2030, 5, 1))
    assert key.expired(date(2030, 5, 2))
    assert not ApiKey(sha256=A).expired()


def test_yaml_and_json_say_the_same(tmp_path: Path) -> None:
    said = {"keys": {"alice": {"sha256": A, "requests_per_minute": 5, "expires": "2030-05-01"}}}
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(said))
    yaml = file(tmp_path, f"keys:\n  alice: {{sha256: {A}, requests_per_minute: 5, expires: 2030-05-01}}\n")
    assert read_keys(path) == read_keys(yaml)
    assert read_keys(yaml).keys["alice"].expires == date(2030, 5, 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "expected `key: value` lines"),
        ("{}", "`keys` is missing"),
        ("keys: [", "not valid YAML"),
        ("keys:\n  alice: {}\n", "`keys.alice.sha256` is missing"),
        (f"keys:\n  alice:\n    sha256: {A}\n    rpm: 5\n", ":4: unknown key `keys.alice.rpm`"),
        (
            f"keys:\n  alice:\n    sha256: {A}\n    tokens_per_minute: 0\n",
            ":4: `keys.alice.tokens_per_minute` = 0",
        ),
        (f"keys:\n  alice:\n    sha256: {A}\n    expires: soon\n", ":4: `keys.alice.expires` = 'soon'"),
        (f"keys:\n  a/b: {{sha256: {A}}}\n", "a/b"),
        (f"keys:\n  alice: {{sha256: {A}}}\n  alice: {{sha256: {B}}}\n", "alice is given twice"),
        (f"keys:\n  alice: {{sha256: {A}}}\n  bob: {{sha256: {A}}}\n", "alice and bob have the same key"),
    ],
)
def test_what_is_wrong_with_a_file_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as told:
        read_keys(file(tmp_path, text))
    assert str(tmp_path / "keys.yaml") in str(told.value)
    assert said in str(told.value)


@pytest.mark.parametrize(
    "text",
    [
        "keys:\n  alice:\n    sha256: KEY\n",
        "keys:\n  alice:\n    key: KEY\n",
        "keys:\n  alice: KEY\n",
        "keys:\n  KEY: {}\n",
        "keys: [KEY\n",
        "KEY",
    ],
)
def test_a_key_in_the_wrong_place_is_not_repeated(tmp_path: Path, text: str) -> None:
    key = new_key()
    with pytest.raises(ConfigError) as told:
        read_keys(file(tmp_path, text.replace("KEY", key)))
    assert key not in str(told.value)
    assert key[12:30] not in str(told.value)
    assert told.value.__cause__ is None


def test_a_password_for_a_hash_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not 64 hexadecimal digits") as told:
        read_keys(file(tmp_path, "keys:\n  alice:\n    sha256: hunter2\n"))
    assert "hunter2" not in str(told.value)
    assert ":3:" in str(told.value)
