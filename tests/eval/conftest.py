"""Where the public judgments are, on machines that have them."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def public() -> Path:
    folder = Path(__file__).parents[2].parent / "shared/data/eval"
    if not (folder / "expected.json").exists():
        pytest.skip("the public judgments are not on this machine")
    return folder
