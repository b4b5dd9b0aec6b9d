"""Settings of access."""

from __future__ import annotations

from typing import Any

import pytest

from ochat_ray.config.access import AccessConfig
from ochat_ray.errors import ConfigError
from ochat_ray.strict import parse


def test_by_default_all_is_open_and_nothing_is_written() -> None:
    config = AccessConfig()
    assert (config.keys_file, config.limits_storage, config.log, config.cors_origins) == (
        None,
        None,
        None,
        (),
    )
    assert config.max_body_mb == 4


@pytest.mark.parametrize(
    "origin", ["*", "https://example.com", "http://127.0.0.1:3000", "https://b\u00fccher.example"]
)
def test_origins(origin: str) -> None:
    assert AccessConfig(cors_origins=(origin,)).cors_origins == (origin,)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"cors_origins": ["https://example.com/"]}, "is no origin"),
        ({"cors_origins": ["example.com"]}, "is no origin"),
        ({"cors_origins": ["https://example.com/a?b"]}, "is no origin"),
        ({"cors_origins": "https://example.com"}, "expected a list"),
        ({"limits_storage": "memcached://host"}, "expected a URI such as redis://"),
        ({"max_body_mb": 0}, "greater than 0"),
        ({"log": {"content": "full"}}, "`log.path` is missing"),
        ({"log": {"path": "a", "content": "redacted"}}, "'none', 'hashed' or 'full'"),
        ({"key_file": "keys.yaml"}, "did you mean `keys_file`"),
    ],
)
def test_what_does_not_hold_together_is_told(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as told:
        parse(AccessConfig, settings, "serve.yaml")
    assert said in str(told.value)
