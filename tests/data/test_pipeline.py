"""The whole preparation on Ray: every document accounted for, and the same bytes in spite of everything."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ochat_ray import columns, sample
from ochat_ray.cli import _to_tell
from ochat_ray.config import Recipe, load_recipe
from ochat_ray.data.pack import pack
from ochat_ray.data.pipeline import prepare
from ochat_ray.data.report.schema import Report
from ochat_ray.data.workspace import WORK, filling
from ochat_ray.errors import CheckpointError, ConfigError, DataError
from ochat_ray.manifest import file_sha256, read_manifest
from ochat_ray.storage import storage
from tests.data.kill import STAGES
from tests.data.pages import saved_page
from tests.tokenizers import byte_level

pytestmark = pytest.mark.usefixtures("ray_cluster")

SMALL = ["data.task_mb=1", "data.eval_fraction=0.2"]
NEAR = ["data.near_duplicates.action=drop", "data.long_conversations=split", "data.max_tokens=300"]
SHARDS = ["data.rows_per_shard=60", *NEAR]  # several
REMEDY = "`ochat-ray prepare`"

DRIVER = """
import sys
from ochat_ray.config import load_recipe
from ochat_ray.runtime import cluster
with cluster():
    from ochat_ray.data.pipeline import prepare
    prepare([sys.argv[1]], sys.argv[2], load_recipe("openchat", sys.argv[4:]), [sys.argv[3]])
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = byte_level(["<s>", "</s>", "<|end_of_turn|>"], bos="<s>")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer.spec))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped sample, two conversations that differ in little from others, and some bad files."""
    folder = tmp_path_factory.mktemp("source")
    pages = folder / "ShareGPT"
    sample.write_pages(pages)
    text = " ".join(f"word{i}" for i in range(80))
    for name, question in (("near001", "Please go on."), ("near002", "Please go on now.")):
        page = saved_page([("human", question), ("gpt", f"<p>{text}</p>")], id=name)
        (pages / f"{name}.html").write_bytes(page)
    (pages / "zz-dangling.html").symlink_to(folder / "gone")
    (pages / os.fsdecode(b"zz-caf\xe9.html")).write_bytes(b"")
    lines = [
        {"messages": [{"role": "user", "content": f"q{i}"}, {"role": "assistant", "content": "a"}]}
        for i in range(3)
    ]
    (pages / "lines.jsonl").write_text(
        "".join(json.dumps({**one, "model": "Model: GPT-4"}) + "\n" for one in lines)
    )
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In several shards."""
    output = tmp_path_factory.mktemp("prepared") / "data"
    run(source, output, base, *SHARDS)
    return output


@pytest.fixture(scope="module")
def single(source: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in one shard."""
    output = tmp_path_factory.mktemp("single") / "data"
    run(source, output, base, *NEAR)
    return output


def run(source: Path, output: Path, base: Path, *overrides: str) -> dict[str, Any]:
    return prepare([source], output, recipe(*overrides), [base])


def recipe(*overrides: str) -> Recipe:
    return load_recipe("openchat", [*SMALL, *overrides])


def contents(output: Path) -> dict[str, str]:
    """The sha256 of every file but the manifest, which has versions and places in it."""
    files = [path for path in sorted(output.rglob("*")) if path.is_file() and path.name != "manifest.json"]
    return {str(path.relative_to(output)): file_sha256(path) for path in files}


def rows(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.parquet")):
        yield from pq.read_table(path).to_pylist()
    for path in sorted(folder.glob("*.arrow")):
        with pa.memory_map(str(path)) as file:
            yield from pa.ipc.open_file(file).get_batch(0).to_pylist()


def wait_for(found: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not found():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_every_document_is_accounted_for(prepared: Path) -> None:
    counts = read_manifest(prepared, remedy=REMEDY)["counts"]
    expected = sample.expected()
    assert counts["documents"] == sum(expected.values()) + 7
    assert counts["documents"] == counts["kept"] + sum(counts["rejected"].values())
    assert counts["rejected"].pop("near_duplicate") >= 1
    kept = expected.pop("kept")
    assert kept < counts["kept"] + sum(
        row["reason"] == "near_duplicate" for row in rows(prepared / "rejected")
    )
    expected["no_data"] += 1  # the file whose name is no UTF-8, which is empty
    assert counts["rejected"] == expected | {"unreadable": 1}  # the dangling link
    rejected = list(rows(prepared / "rejected"))
    kept_ids = {row["id"] for row in rows(prepared / "clean")}
    for row in rejected:
        if row["reason"] == "duplicate":
            other = row["detail"].removeprefix("the same text as ")
            assert other in kept_ids or other in {
                r["id"] for r in rejected if r["reason"] == "near_duplicate"
            }
    sources = [row["source"] for name in ("rejected", "clean") for row in rows(prepared / name)]
    assert len(set(sources)) == counts["documents"] == len(sources)
    assert "zz-caf\\xe9.html" in sources and "lines.jsonl:3" in sources


def test_near_duplicates_are_found_across_shards(prepared: Path) -> None:
    near = {
        row["id"]: row["detail"] for row in rows(prepared / "rejected") if row["reason"] == "near_duplicate"
    }
    assert near["near001"] == "nearly the same text as near002, of 2 such texts"
    [kept] = [row for row in rows(prepared / "clean") if row["id"] == "near002"]
    assert kept["group"] == "near001"


def test_tokens_belong_to_the_conversations(prepared: Path) -> None:
    counts = read_manifest(prepared, remedy=REMEDY)["counts"]["tokens"]["openchat"]
    splits = {row["id"]: row["split"] for row in rows(prepared / "clean")}
    for split in columns.SPLITS:
        found = list(rows(prepared / "tokens" / "openchat" / split))
        assert {row["id"] for row in found} == {id for id, where in splits.items() if where == split}
        assert len({(row["id"], row["piece"]) for row in found}) == len(found) == counts[split]["rows"]
        assert counts[split]["tokens"] == sum(len(row["input_ids"]) for row in found)
        assert all(len(row["input_ids"]) == len(row["weights"]) <= 300 for row in found)
    assert counts["train"]["rows"] > counts["train"]["conversations"]  # some were split


def test_the_folder_holds_what_is_documented_and_no_more(prepared: Path) -> None:
    names = {str(path.relative_to(prepared)) for path in prepared.rglob("*") if path.is_file()}
    shards = len(list((prepared / "clean").iterdir()))
    assert shards == 4
    kinds = {
        "clean": "parquet",
        "rejected": "parquet",
        "tokens/openchat/train": "arrow",
        "tokens/openchat/eval": "arrow",
    }
    parts = {
        f"{folder}/part-{i:05}-of-{shards:05}.{kind}" for folder, kind in kinds.items() for i in range(shards)
    }
    expected = parts | {"report.html", "report.json", "tokens/openchat/tokenizer.json"}
    assert names == expected | {"manifest.json"}
    files = read_manifest(prepared, remedy=REMEDY)["files"]
    assert {name: facts["sha256"] for name, facts in files.items()} == contents(prepared)
    order = [
        (row["id"], row["source"])
        for row in pq.read_table(prepared / "clean" / "part-00000-of-00004.parquet").to_pylist()
    ]
    assert order == sorted(order) and len(order) > 5


def test_the_report_adds_up(prepared: Path) -> None:
    counts = read_manifest(prepared, remedy=REMEDY)["counts"]
    report = Report.model_validate_json((prepared / "report.json").read_bytes())
    assert (report.read, report.kept, report.rejected) == (
        counts["documents"],
        counts["kept"],
        dict(sorted(counts["rejected"].items(), key=lambda item: (-item[1], item[0]))),
    )
    assert report.map is not None and len(report.map.points) == counts["kept"]
    assert report.near_duplicates is not None
    assert report.near_duplicates.clusters >= 1
    texts = {
        member.id: member.text for cluster in report.near_duplicates.largest for member in cluster.members
    }
    assert texts["near001"] == "Please go on."
    assert {example.feature for example in report.examples} >= {"code", "table"}
    assert {model.name for model in report.models} >= {"Model: GPT-4", None}
    page = (prepared / "report.html").read_text()
    assert "near_duplicate" in page and "Please go on now." in page


def test_one_cpu_other_tasks_and_a_shuffled_folder_give_the_same_bytes(
    prepared: Path, source: Path, base: Path, tmp_path: Path
) -> None:
    import ray.data

    # The same files in a folder that was filled in another order, with the output inside.
    files = list((source / "ShareGPT").iterdir())
    random.Random(7).shuffle(files)
    pages = tmp_path / "ShareGPT"
    pages.mkdir()
    for file in files:
        shutil.copy2(file, pages / file.name, follow_symlinks=False)
    context = ray.data.DataContext.get_current()
    limits = context.execution_options.resource_limits
    context.execution_options.resource_limits = limits.copy(cpu=1)
    try:
        run(pages, pages / "out", base, *SHARDS, "data.task_mb=3")
    finally:
        context.execution_options.resource_limits = limits
    assert contents(pages / "out") == contents(prepared)


def test_packed_pages_are_the_pages(single: Path, source: Path, base: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed"
    manifest = pack([source], packed, shard_mb=1)
    assert len(manifest["files"]) > 1
    assert manifest["counts"]["pages"] == len(list((source / "ShareGPT").glob("*.html"))) - 1
    assert manifest["rejected"] == [["zz-dangling.html", "unreadable", manifest["rejected"][0][2]]]
    assert pack([source], packed, shard_mb=1) == read_manifest(packed, remedy=REMEDY)
    run(packed, tmp_path / "out", base, *NEAR)
    counts = read_manifest(tmp_path / "out", remedy=REMEDY)["counts"]
    expected = read_manifest(single, remedy=REMEDY)["counts"]
    gone = {"zz-dangling.html", "lines.jsonl:1", "lines.jsonl:2", "lines.jsonl:3"}
    assert counts["documents"] == expected["documents"] - len(gone)

    def clean(folder: Path) -> list[dict[str, Any]]:
        found = [row for row in rows(folder / "clean") if row["source"] not in gone]
        return sorted(found, key=lambda row: (row["id"], row["source"]))

    assert clean(tmp_path / "out") == clean(single)


def test_an_archive_is_read_without_being_unpacked(
    single: Path, source: Path, base: Path, tmp_path: Path
) -> None:
    with tarfile.open(tmp_path / "chats.tar.gz", "w:gz") as archive:
        for file in sorted((source / "ShareGPT").iterdir()):
            if not file.is_symlink():
                archive.add(file, file.name)
    before = sorted(tmp_path.iterdir())
    run(tmp_path / "chats.tar.gz", tmp_path / "out", base, *NEAR)
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "out"])
    ids = {row["id"] for row in rows(tmp_path / "out" / "clean")}
    assert ids == {row["id"] for row in rows(single / "clean")}


def test_a_killed_run_is_taken_up_and_ends_the_same(
    single: Path, source: Path, base: Path, tmp_path: Path
) -> None:
    pages, output = tmp_path / "ShareGPT", tmp_path / "out"
    shutil.copytree(source / "ShareGPT", pages, symlinks=True)
    arguments = [str(pages), str(output), str(base), *SMALL, *NEAR]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments])
    try:
        wait_for(lambda: any((output / WORK).glob("clean-*/*.parquet")), driver)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    done = {
        name
        for part in output.glob(".work/clean-*/*.parquet")
        for name in pq.read_table(part)["source"].to_pylist()
    }
    assert done and not (output / "manifest.json").exists()
    # Nobody may look again at pages that are done: spoil them, but not so that it shows from outside.
    for name in done:
        page = pages / name
        if page.exists():
            facts = page.stat()
            page.write_bytes(b"?" * facts.st_size)
            os.utime(page, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    run(pages, output, base, *NEAR)
    assert contents(output) == contents(single)


@pytest.mark.parametrize("shuffled", [False, True])
def test_workers_that_are_killed_change_nothing(
    prepared: Path, source: Path, base: Path, tmp_path: Path, shuffled: bool
) -> None:
    """One in each stage, in a cluster of its own; with documents few enough for one worker, and with many."""
    spoiled = "from tests.data.kill import STAGES, kill_once, shuffle_everything\n"
    spoiled += "shuffle_everything()\n" if shuffled else ""
    script = DRIVER.replace("with cluster", f"{spoiled}with cluster").replace(
        "    prepare(", f"    for stage in STAGES:\n        kill_once(stage, {str(tmp_path)!r})\n    prepare("
    )
    pages = tmp_path / "ShareGPT"
    shutil.copytree(source / "ShareGPT", pages, symlinks=True)
    arguments = [str(pages), str(tmp_path / "out"), str(base), *SMALL, *SHARDS]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("killed-*")) == sorted(f"killed-{s}" for s in STAGES)
    assert contents(tmp_path / "out") == contents(prepared)


def interrupted(monkeypatch: pytest.MonkeyPatch, at: str, start: Callable[[], object]) -> None:
    from ochat_ray.data import pipeline

    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, at, interrupt)
        with pytest.raises(KeyboardInterrupt):
            start()


@pytest.mark.parametrize("at", ["_distinct", "_near", "_finish", "_report", "write_manifest"])
def test_an_interrupted_run_goes_on_where_it_was(
    at: str, single: Path, source: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    interrupted(monkeypatch, at, lambda: run(source, output, base, *NEAR))
    made = {path: path.stat().st_mtime_ns for path in output.rglob("*.parquet")}
    assert made
    run(source, output, base, *NEAR)
    again = [path for path, changed in made.items() if path.exists() and path.stat().st_mtime_ns != changed]
    assert again == []
    assert contents(output) == contents(single)


def test_only_lost_shards_are_made_again(
    prepared: Path, source: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    interrupted(monkeypatch, "write_manifest", lambda: run(source, output, base, *SHARDS))
    lost, kept = (output / f"clean/part-0000{i}-of-00004.parquet" for i in (1, 2))
    lost.unlink()
    [mark] = output.glob(".work/finish-*/00001.json")
    mark.unlink()
    [report] = output.glob(".work/finish-*/report.json")
    report.unlink()
    kept.write_bytes(b"a finished file is not written again")
    [clusters] = output.glob(".work/near-*/done.json")
    clusters.unlink()
    for folder in (kept.parent, clusters.parent / "candidates"):
        (folder / f".{kept.name}.123-0badcafe").write_bytes(b"left by a crash")
    run(source, output, base, *SHARDS)
    found, expected = contents(output), contents(prepared)
    assert kept.read_bytes() == b"a finished file is not written again"
    assert {name for name in expected if found[name] != expected[name]} == {f"clean/{kept.name}"}
    assert found.keys() == expected.keys()


def test_a_changed_setting_is_noticed_said_and_redoes_what_it_must(
    single: Path,
    source: Path,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out"
    interrupted(
        monkeypatch, "write_manifest", lambda: run(source, output, base, *NEAR, "data.max_tokens=200")
    )
    cleaned = {path.name: path.stat().st_mtime_ns for path in output.glob(".work/clean-*/*.parquet")}
    interrupted(monkeypatch, "_report", lambda: run(source, output, base, *NEAR))
    said = capsys.readouterr().err
    assert "goes on from an unfinished run, with a difference in" in said and "max_tokens" in said
    assert {path.name: path.stat().st_mtime_ns for path in output.glob(".work/clean-*/*.parquet")} == cleaned
    interrupted(
        monkeypatch, "_report", lambda: run(source, output, base, *NEAR, "data.filters.unfinished=true")
    )
    assert "a difference in data.filters.unfinished (false, now true); what that" in capsys.readouterr().err
    assert {path.name: path.stat().st_mtime_ns for path in output.glob(".work/clean-*/*.parquet")} != cleaned
    run(source, output, base, *NEAR)
    assert contents(output) == contents(single)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs the command mount")
    if made.returncode:
        pytest.skip(f"needs to mount a file system: {made.stderr.strip()}")
    try:
        yield disk
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_told_and_after_it_the_run_goes_on(
    single: Path, source: Path, base: Path, small_disk: Path
) -> None:
    output = small_disk / "out"
    with pytest.raises(Exception) as raised:
        run(source, output, base, *NEAR)
    line = _to_tell(raised.value)
    assert line is not None and line.startswith(str(output))
    assert line.endswith(": No space left on device; mend that and run the same command again")
    subprocess.run(["mount", "-o", "remount,size=50m", str(small_disk)], check=True)
    run(source, output, base, *NEAR)
    assert contents(output) == contents(single)


def test_two_runs_do_not_fill_one_folder(source: Path, base: Path, tmp_path: Path) -> None:
    with (
        filling(storage(tmp_path / "out"), {"kind": "prepared"}, {"finish": "x"}, []),
        pytest.raises(DataError, match="another run is at work in it"),
    ):
        run(source, tmp_path / "out", base)


def test_a_finished_folder_is_recognised(
    prepared: Path, source: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (prepared / "manifest.json").stat().st_mtime_ns
    manifest = run(source, prepared, base, *SHARDS, "data.task_mb=7")
    assert manifest == read_manifest(prepared, remedy=REMEDY)
    assert (prepared / "manifest.json").stat().st_mtime_ns == before
    assert "already prepared" in capsys.readouterr().err


def test_several_model_types_in_one_pass(single: Path, source: Path, base: Path, tmp_path: Path) -> None:
    settings = ["data.openchat_files=[json,parquet]", "data.max_tokens=300", "data.long_conversations=split"]
    settings += [
        "data.classes=[{condition: GPT4, models: ['Model: GPT-4']}]",
        "data.near_duplicates.action=drop",
    ]
    manifest = prepare([source], tmp_path / "out", recipe(*settings), [base, f"openchat_v2={base}"])
    assert sorted(manifest["counts"]["tokens"]) == ["openchat", "openchat_v2"]
    one, two = ([*rows(tmp_path / "out/tokens" / name / "train")] for name in ("openchat", "openchat_v2"))
    assert [row["id"] for row in one if row["piece"] == 0] == [row["id"] for row in two if row["piece"] == 0]
    assert one[0]["input_ids"] != two[0]["input_ids"] and one[0]["class"] == two[0]["class"] == "GPT4"
    mine = [(row["input_ids"], row["weights"]) for row in rows(single / "tokens/openchat/train")]
    assert [(row["input_ids"], row["weights"]) for row in one] == mine
    theirs = json.loads((tmp_path / "out/openchat/openchat.train.json").read_text())
    assert [row[0] for row in theirs] == [ids for ids, _ in mine]
    table = pq.read_table(tmp_path / "out/openchat/openchat_v2.train.parquet")
    assert table["nz_input_ids"].to_pylist() == [row["input_ids"] for row in two]
    with pytest.raises(ConfigError, match="has a base already"):
        prepare([source], tmp_path / "x", recipe(), [base, f"openchat={base}"])


def test_folders_that_would_be_mixed_up_are_refused(
    prepared: Path, source: Path, base: Path, tmp_path: Path
) -> None:
    sample.write_pages(tmp_path / "other")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("{}")
    for call, words in [
        (
            lambda: run(source, prepared, base, *SHARDS, "data.filters.models=[]"),
            r"filters.models.*choose another",
        ),
        (lambda: run(source, prepared, base, *SHARDS, "data.max_tokens=100"), "max_tokens"),
        (lambda: run(tmp_path / "other", prepared, base, *SHARDS), r"in the input files \(others, or"),
        (lambda: run(source, tmp_path / "full", base), "not empty"),
        (lambda: run(source, tmp_path / "model", base), "something else"),
        (lambda: run(source, tmp_path / "full" / "thesis.txt", base), "is a file"),
        (lambda: run(tmp_path / "none", tmp_path / "out", base), "no such file or folder"),
        (lambda: run(tmp_path / "full", tmp_path / "out", base), "no files to read"),
    ]:
        with pytest.raises(DataError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "x"
    assert not (tmp_path / "out").exists()


def test_a_base_without_the_model_types_tokens_is_refused(source: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="im_end"):
        prepare([source], tmp_path / "out", Recipe(name="x", model_type="chatml"), [base])
    assert not (tmp_path / "out").exists()
