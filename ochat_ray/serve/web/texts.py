"""The chat page's words, in English and Chinese: `texts.yaml`."""

from __future__ import annotations

from pathlib import Path

import yaml

_TEXTS = yaml.safe_load(Path(__file__).with_name("texts.yaml").read_text(encoding="utf-8"))
ENGLISH: dict[str, str] = {name: words["en"] for name, words in _TEXTS.items()}
CHINESE: dict[str, str] = {name: words["zh"] for name, words in _TEXTS.items()}


def language_of(accepted: str) -> str:
    """`zh` or `en` by an Accept-Language header, which browsers send in order of preference."""
    return "zh" if accepted.strip().lower().startswith("zh") else "en"


def text(name: str, language: str) -> str:
    """A text by its name."""
    return (CHINESE if language == "zh" else ENGLISH)[name]
