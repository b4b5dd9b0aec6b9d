"""What can be told of a preparation before Ray is started: refusals, and that there is nothing to do."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.config import Recipe, load_recipe
from ochat_ray.data.outcome import nothing_held_out, require_kept
from ochat_ray.data.pipeline import plan
from ochat_ray.errors import DataError
from ochat_ray.manifest import write_manifest
from tests.tokenizers import byte_level

PRELOADED = """
import sys
from ochat_ray.cli import main
status = main(sys.argv[1:])
sys.exit("Ray was loaded" if "ray" in sys.modules else status)
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    tokenizer = byte_level(["<s>", "</s>", "<|end_of_turn|>"], bos="<s>")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer.spec))
    return folder


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    (tmp_path / "chats").mkdir()
    (tmp_path / "chats" / "a.jsonl").write_text("{}\n")
    (tmp_path / "chats" / "b.jsonl").write_text("{}\n")
    return tmp_path / "chats"


def finished(inputs: Sequence[Path], base: Path, output: Path, **counts: Any) -> None:
    """A prepared folder without files: only what it is made of counts here."""
    planned = plan(inputs, output, recipe(), [base])
    write_manifest(planned.folder, {}, {**planned.facts, "counts": {**KEPT, **counts}})


def recipe(*overrides: str) -> Recipe:
    return load_recipe("openchat", overrides)


def tokens(conversations: int) -> Mapping[str, Mapping[str, int]]:
    counts = {"conversations": conversations, "rows": conversations, "tokens": 9, "target_tokens": 5}
    return {"train": counts, "eval": dict.fromkeys(counts, 0), "lost": {"tokens": 0, "target_tokens": 0}}


KEPT = {"documents": 40, "kept": 40, "rejected": {}, "tokens": {"openchat": tokens(40)}}


def command(*words: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-c", PRELOADED, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def refusal(inputs: Sequence[Path], base: Path, output: Path, *overrides: str, **options: Any) -> str:
    with pytest.raises(DataError) as raised:
        plan(inputs, output, recipe(*overrides), [base], **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_a_finished_folder_is_recognised_without_ray(chats: Path, base: Path, tmp_path: Path) -> None:
    finished([chats], base, tmp_path / "out")
    done = command("prepare", chats, tmp_path / "out", "--base", base)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stderr
    assert "conversations kept" in done.stdout
    assert not (tmp_path / "out" / ".work").exists()


def test_refusals_come_without_ray(chats: Path, base: Path, tmp_path: Path) -> None:
    finished([chats], base, tmp_path / "out")
    (tmp_path / "file").write_text("")
    for output, words, told in (
        (tmp_path / "out", ["data.max_tokens=9"], "data.max_tokens (null, now 9); choose"),
        (tmp_path / "file", [], "is a file"),
        (tmp_path / "new", ["data.filters.decontamination.files=[none.jsonl]"], "none.jsonl cannot be read"),
    ):
        done = command("prepare", chats, output, "--base", base, *words)
        assert done.returncode == 2 and told in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1


def test_refusals_name_what_differs(chats: Path, base: Path, tmp_path: Path) -> None:
    finished([chats], base, tmp_path / "out")
    others = refusal([chats / "a.jsonl"], base, tmp_path / "out")
    assert "with a difference in the input files (others, or changed since); choose" in others
    format = refusal([chats], base, tmp_path / "out", kind="json")
    assert 'with a difference in --format (null, now "json"); choose' in format
    setting = refusal([chats], base, tmp_path / "out", "data.filters.models=[]")
    assert 'with a difference in data.filters.models (["Model: GPT-4"], now []); choose' in setting


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_place_that_takes_no_folder_is_not_called_missing(chats: Path, base: Path) -> None:
    told = refusal([chats], base, Path("/proc/out"))
    assert told == "/proc/out: cannot be written to (no folder can be made there); choose another folder"


def counts(rejected: dict[str, int], kept: int = 0) -> dict[str, Any]:
    return {**KEPT, "kept": kept, "rejected": rejected, "documents": kept + sum(rejected.values())}


@pytest.mark.parametrize(
    ("rejected", "told"),
    [
        (
            {"model": 40},
            "out: nothing kept: 40 of 40 name no model, or one not wanted; "
            "keep all with data.filters.models=[]",
        ),
        (
            {"model": 1, "not_text": 2},
            "out: nothing kept: 2 of 3 are turned away as not_text (The bytes are not UTF-8 text); "
            "see `ochat-ray inspect out --rejected not_text`",
        ),
        ({}, "out: nothing kept: the input holds no documents; give chats"),
    ],
)
def test_nothing_kept_is_an_error_with_its_remedy(rejected: dict[str, int], told: str) -> None:
    with pytest.raises(DataError) as raised:
        require_kept(counts(rejected), "out")
    assert str(raised.value) == told
    require_kept(counts(rejected, kept=1), "out")


def test_prepare_ends_with_2_where_nothing_was_kept(chats: Path, base: Path, tmp_path: Path) -> None:
    finished([chats], base, tmp_path / "out", **counts({"model": 40}))
    done = command("prepare", chats, tmp_path / "out", "--base", base)
    assert done.returncode == 2
    assert "rejected: model" in done.stdout and "report in" in done.stdout
    assert "40 of 40 name no model, or one not wanted" in done.stderr.splitlines()[-1]


def test_an_empty_side_to_evaluate_on_is_noticed() -> None:
    assert nothing_held_out(counts({}, kept=3))
    assert not nothing_held_out(counts({"model": 3}))
    held = {**tokens(2), "eval": tokens(1)["train"]}
    assert not nothing_held_out({**KEPT, "tokens": {"openchat": held}})
