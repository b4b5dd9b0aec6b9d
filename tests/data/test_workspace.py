"""The output folder: what may be filled, gone on with or taken as finished; what is cleared away."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import pytest

from ochat_ray.data.workspace import PACKAGE, SOURCES, code_version, filling, open_output
from ochat_ray.errors import DataError
from ochat_ray.manifest import write_manifest
from ochat_ray.storage import storage

FACTS = {"kind": "prepared"}
OUTPUTS = ("clean", "report.html")


def facts(kind: str = "prepared", **more: Any) -> dict[str, Any]:
    return {"kind": kind, "source": "/in", "recipe": {"name": "a", "data": {"x": 1}}, **more}


def test_what_only_titles_the_report_changes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = storage(tmp_path)
    renamed = facts(source="/moved", recipe={"name": "b", "data": {"x": 1}})
    with filling(folder, facts(), {"one": "1"}, []):
        pass
    with filling(folder, renamed, {"one": "1"}, []):
        pass
    assert "difference" not in capsys.readouterr().err
    write_manifest(folder, {}, facts())
    assert open_output(folder, renamed) is not None
    with pytest.raises(DataError, match=r"a difference in data.x \(1, now 2\)"):
        open_output(folder, facts(recipe={"name": "a", "data": {"x": 2}}))


def test_an_unfinished_folder_of_another_kind_is_refused(tmp_path: Path) -> None:
    folder = storage(tmp_path)
    with filling(folder, facts("packed"), {"one": "1"}, []):
        pass
    with pytest.raises(DataError, match="an unfinished run fills it with packed, not prepared data"):
        open_output(folder, facts())
    assert open_output(folder, facts("packed")) is None


def test_what_an_unfinished_run_over_other_inputs_made_is_removed(tmp_path: Path) -> None:
    folder = storage(tmp_path)
    with filling(folder, facts("packed"), {"pack": "1"}, ["pages"]) as work:
        folder.write("pages/00000-00000.parquet", b"old")
        folder.write(f"{work['pack']}/00000.json", b"{}")
    with filling(folder, facts("packed", inputs="x"), {"pack": "2"}, ["pages"]):
        assert not folder.exists("pages")


@pytest.mark.parametrize("digest", ["the same", "another"])
def test_what_killed_writers_left_is_cleared_away_wherever_it_is(digest: str, tmp_path: Path) -> None:
    output = storage(tmp_path / "out")
    with filling(output, FACTS, {"near": "n", "finish": "the same"}, OUTPUTS) as stages:
        output.write(f"{stages['finish']}/00000.json", b"{}")
        output.write("clean/part-00000-of-00001.parquet", b"whole")
    for name in (
        ".report.html.12-0badcafe",
        ".manifest.json.12-0badcafe",
        ".pages-00000-of-00001.parquet.12-0badcafe",
        "openchat/.openchat.train.json.4711-00000000",
        "tokens/openchat/.tokenizer.json.12-0badcafe",
        "clean/.part-00000-of-00001.parquet.12-0badcafe",
        f"{stages['near']}/candidates/.00000.parquet.12-0badcafe",
    ):
        output.write(name, b"half")
    with filling(output, FACTS, {"near": "n", "finish": digest}, OUTPUTS):
        left = {entry.path for entry in output.entries()} - {".work/plan.json", ".work/lock"}
    done = {f"{stages['finish']}/00000.json", "clean/part-00000-of-00001.parquet"}
    assert left == (done if digest == "the same" else set())


@pytest.mark.parametrize(
    ("name", "decides"),
    [
        *((name, False) for name in ("train/loop.py", "cli.py", "config/train.py", "data/__pycache__/x.pyc")),
        *((name, True) for name in ("template.py", "columns.py", "data/shard.py", "data/stages/new.py")),
        *(
            (name, True)
            for name in ("data/report/page.css", "data/report/page.js", "data/report/page.html.jinja")
        ),
    ],
)
def test_the_version_of_the_code_changes_with_what_decides_results(
    name: str, decides: bool, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    shutil.copytree(PACKAGE, package)
    (package / name).parent.mkdir(exist_ok=True)
    with (package / name).open("a") as file:
        file.write("\n")
    assert (code_version(package) != code_version()) == decides


# Used by the data stage too: how files are read and written, and what is asked for, which is a fact itself.
DECIDE_NOTHING = {"metrics", "__init__", "config", "progress", "runtime", "storage", "strict"}


def imported(path: Path) -> set[str]:
    """The modules and packages right below ours that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "ochat_ray":
            names = [*(node.module or "").split(".")[1:], *(alias.name for alias in node.names)]
            found.add(names[0])
    return found


def test_all_code_that_the_data_stage_uses_is_in_its_version() -> None:
    sources = {Path(source).stem for source in SOURCES}
    files = [
        path
        for path in PACKAGE.rglob("*.py")
        if path.relative_to(PACKAGE).parts[0].removesuffix(".py") in sources
    ]
    used = set().union(*map(imported, files))
    assert len(used) > len(sources)
    assert used - DECIDE_NOTHING - {"__version__"} == sources
