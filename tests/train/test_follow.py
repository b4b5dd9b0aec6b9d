"""What is told while a run has nothing to show."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ochat_ray.train import follow


def test_why_nothing_goes_on_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(follow, "WAITING_S", 0.0)
    placed = threading.Event()

    def waiting() -> str:
        placed.set()
        return "waiting for 8 workers"

    found = follow.follow(
        lambda: placed.wait(60), tmp_path / "losses.jsonl", steps=1, epochs=1, waiting=waiting
    )
    assert found
    assert "train: waiting for 8 workers\n" in capsys.readouterr().err
