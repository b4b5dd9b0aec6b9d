"""The command line: quick to answer, and clear about mistakes."""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from ochat_ray.cli import RECIPE_KEYS, _parse, _to_tell, main
from ochat_ray.config import Recipe
from ochat_ray.demo import commands
from ochat_ray.errors import DataError
from tests.conftest import ROOT


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from ochat_ray.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'transformers', 'pydantic', 'numpy', 'pyarrow', 'openai'}\n"
        "heavy &= set(sys.modules)\n"
        "sys.exit(f'loaded {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("demo", "prepare", "base", "train", "serve", "chat", "inspect", "config", "pipeline"):
        assert f"    {name} " in done.stdout


def test_errors_are_one_line_and_exit_2(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["prepare", "in", "out", "--base", "b", "train.epoch=1"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("ochat-ray prepare: command line: unknown key `train.epoch`")
    assert "did you mean `train.epochs`" in err
    assert main(["serve", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["chat", "--url", "http://127.0.0.1:1/v1", "hi"]) == 2
    assert "no server answers at http://127.0.0.1:1/v1" in capsys.readouterr().err


def test_overrides_may_stand_anywhere(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["config", "train.epochs=7", "--recipe", "tiny-cpu"]) == 0
    assert "  epochs: 7\n" in capsys.readouterr().out
    assert main(["serve", "serve.port=19000", str(tmp_path)]) == 2
    assert f"{tmp_path}: no ochat.json" in capsys.readouterr().err


def test_only_keys_of_recipes_are_overrides(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert set(RECIPE_KEYS) == set(Recipe.model_fields)
    for path in (f"year=2023{tmp_path}", "year=2023/month=01/*.parquet"):
        assert main(["prepare", path, str(tmp_path / "year=2024"), "--base", "b"]) == 2
        assert f"{path}: no " in capsys.readouterr().err
    assert main(["config", "--recipe", "openchat", "model_type=openchat_v2"]) == 0
    assert 'model_type: "openchat_v2"' in capsys.readouterr().out
    assert main(["config", "trian.epochs=1"]) == 2
    assert "did you mean `train" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["pack", "a", "b", "--shard-mb", "-5"], ["inspect", "a", "-n", "0"]])
def test_numbers_that_must_be_positive(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert f"{words[-1]!r} is no number from 1 up" in capsys.readouterr().err


def test_files_that_cannot_be_written_are_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["sample", str(tmp_path / "file")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert str(tmp_path / "file") in err


def test_inputs_and_bases_may_be_many_and_stand_anywhere(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    none, out = str(tmp_path / "none"), str(tmp_path / "out")
    for words in (
        ["prepare", none, out, "--base", "b"],
        ["prepare", none, "--base", "b", out],
        ["prepare", "--base", "b", "--base", "openchat_v2=c", none, none, out, "data.max_tokens=5"],
        ["pack", none, out],
    ):
        assert main(words) == 2
        assert f"{none}: no such file or folder" in capsys.readouterr().err
    (tmp_path / "a.jsonl").write_text("{}")
    for base, words in ((none, f"{none}: no such folder"), (f"nope={none}", "unknown model type `nope`")):
        assert main(["prepare", str(tmp_path / "a.jsonl"), out, "--base", base]) == 2
        assert words in capsys.readouterr().err


def test_errors_of_workers_are_told_by_their_cause() -> None:
    class Wrapped(RuntimeError):
        cause = DataError("x.html: bad; mend it")

    outer = RuntimeError("many lines")
    outer.__cause__ = Wrapped("more lines")
    assert _to_tell(outer) == "x.html: bad; mend it"
    assert _to_tell(RuntimeError("ours")) is None


def test_a_closed_pipe_is_no_error() -> None:
    command = f"{sys.executable} -m ochat_ray config --list | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""


@pytest.mark.parametrize("words", [["config", "--nope"], ["demo", "train.epochs=1"], ["nope"], []])
def test_unknown_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_a_misspelt_option_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["prepare", "chats", "out", "--base", "b", "--recpie", "x"])
    assert left.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("usage: ochat-ray prepare")
    assert "unrecognized arguments: --recpie x; did you mean --recipe?" in err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config", "--list"]) == 0
    out = capsys.readouterr().out
    assert "tiny-cpu" in out
    assert "opencoder" in out
    assert "Mistral-7B (also openchat_3.5)" in out


def _shown(text: str) -> list[str]:
    """The commands in a text for people, without remarks."""
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line.startswith("ochat-ray ")]


def _parsed(line: str) -> argparse.Namespace:
    return _parse(shlex.split(line, comments=True)[1:])


def test_commands_that_the_readme_and_the_demo_show_are_understood() -> None:
    readme = _shown((ROOT / "README.md").read_text(encoding="utf-8"))
    demo = commands(Path("my work"), Path("my work/train/model"), "http://127.0.0.1:19000/v1")
    assert len(readme) > 10 and len(demo) == 5
    for line in readme + demo:
        _parsed(line)
    assert _parsed(demo[2]).view == "tokens"
    assert _parsed(demo[2]).path == "my work/data"
