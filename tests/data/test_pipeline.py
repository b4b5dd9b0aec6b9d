"""The whole preparation on Ray: every page accounted for, and the same bytes in spite of everything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ochat_ray import columns, sample
from ochat_ray.config import Recipe, load_recipe
from ochat_ray.data.workspace import filling
from ochat_ray.errors import CheckpointError, DataError
from ochat_ray.manifest import file_sha256, read_manifest
from tests.tokenizers import byte_level

pytestmark = pytest.mark.usefixtures("ray_cluster")

SMALL = ["data.pages_per_task=20", "data.partitions=4", "data.eval_fraction=0.2"]
REMEDY = "`ochat-ray prepare`"

DRIVER = """
import sys
from pathlib import Path
from ochat_ray.config import load_recipe
from ochat_ray.runtime import cluster
with cluster():
    from ochat_ray.data.pipeline import prepare
    prepare(Path(sys.argv[1]), Path(sys.argv[2]), load_recipe("openchat", sys.argv[4:]), Path(sys.argv[3]))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = byte_level(["<s>", "</s>", "<|end_of_turn|>"], bos="<s>")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer.spec))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    sample.write_pages(folder / "ShareGPT")
    (folder / "ShareGPT" / "zz-dangling.html").symlink_to(folder / "gone")
    (folder / "ShareGPT" / os.fsdecode(b"zz-caf\xe9.html")).write_bytes(b"")
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("prepared") / "data"
    run(source, output, base)
    return output


def run(source: Path, output: Path, base: Path, *overrides: str) -> dict[str, object]:
    from ochat_ray.data.pipeline import prepare

    return prepare(source, output, recipe(*overrides), base)


def recipe(*overrides: str) -> Recipe:
    return load_recipe("openchat", [*SMALL, *overrides])


def contents(output: Path) -> dict[str, str]:
    """The sha256 of every Parquet file."""
    return {str(path.relative_to(output)): file_sha256(path) for path in sorted(output.rglob("*.parquet"))}


def rows(folder: Path) -> Iterator[dict[str, object]]:
    for path in sorted(folder.glob("*.parquet")):
        yield from pq.read_table(path).to_pylist()


def wait_for(found: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while not found():
        assert process.poll() is None, "the run ended too early"
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_every_page_is_accounted_for(prepared: Path) -> None:
    counts = read_manifest(prepared, remedy=REMEDY)["counts"]
    expected = sample.expected()
    assert counts["pages"] == sum(expected.values()) + 2 == counts["kept"] + sum(counts["rejected"].values())
    assert counts["kept"] == expected.pop("kept")
    expected["not_text"] += 1  # the dangling link
    expected["no_data"] += 1  # the file whose name is no UTF-8, which is empty
    assert counts["rejected"] == expected
    assert counts["kept"] == counts["train"]["conversations"] + counts["eval"]["conversations"]
    rejected = list(rows(prepared / "rejected"))
    assert sorted({str(row["reason"]) for row in rejected}) == sorted(expected)
    kept = {str(row["id"]) for row in rows(prepared / "conversations")}
    for row in rejected:
        if row["reason"] == "duplicate":
            assert str(row["detail"]).removeprefix("the same text as ") in kept
    sources = [row["source"] for name in ("rejected", "conversations") for row in rows(prepared / name)]
    assert len(set(sources)) == counts["pages"] == len(sources)


def test_tokens_belong_to_the_conversations(prepared: Path) -> None:
    counts = read_manifest(prepared, remedy=REMEDY)["counts"]
    splits = {row["id"]: row["split"] for row in rows(prepared / "conversations")}
    for split in columns.SPLITS:
        found = list(rows(prepared / "tokens" / split))
        assert found
        assert {row["id"] for row in found} == {id for id, where in splits.items() if where == split}
        assert counts[split]["tokens"] == sum(len(row["input_ids"]) for row in found)  # type: ignore[arg-type]


def test_the_folder_holds_what_is_documented_and_no_more(prepared: Path) -> None:
    names = {str(path.relative_to(prepared)) for path in prepared.rglob("*") if path.is_file()}
    folders = ("conversations", "rejected", "tokens/train", "tokens/eval")
    parts = {f"{folder}/part-{i:05}-of-00004.parquet" for folder in folders for i in range(4)}
    assert names == parts | {"manifest.json"}
    assert set(read_manifest(prepared, remedy=REMEDY)["files"]) == parts
    schema = pq.read_schema(prepared / "tokens/train/part-00000-of-00004.parquet")
    assert schema.equals(columns.TOKENS)
    assert schema.metadata[columns.META_MODEL_TYPE] == b"openchat"


def test_one_cpu_and_other_chunks_give_the_same_bytes(
    prepared: Path, source: Path, base: Path, tmp_path: Path
) -> None:
    import ray.data

    # The same pages in a folder that was filled the other way round, with the output inside.
    pages = sorted((source / "ShareGPT").iterdir(), reverse=True)
    (tmp_path / "pages").mkdir()
    for page in pages:
        shutil.copy2(page, tmp_path / "pages" / page.name, follow_symlinks=False)
    context = ray.data.DataContext.get_current()
    limits = context.execution_options.resource_limits
    context.execution_options.resource_limits = limits.copy(cpu=1)
    try:
        run(tmp_path / "pages", tmp_path / "pages" / "out", base, "data.pages_per_task=33")
    finally:
        context.execution_options.resource_limits = limits
    assert contents(tmp_path / "pages" / "out") == contents(prepared)


def test_a_killed_run_is_taken_up_and_ends_the_same(
    prepared: Path, source: Path, base: Path, tmp_path: Path
) -> None:
    pages, output, work = tmp_path / "pages", tmp_path / "out", tmp_path / "out" / ".work"
    shutil.copytree(source / "ShareGPT", pages, symlinks=True)
    arguments = [str(pages), str(output), str(base), *SMALL, "data.pages_per_task=5"]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *arguments])
    try:
        wait_for(lambda: any(work.glob("clean-*.parquet")), driver)
    finally:
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
    done = {
        str(name)
        for part in work.glob("clean-*.parquet")
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
    run(pages, output, base, "data.pages_per_task=5")
    assert contents(output) == contents(prepared)


def test_an_interrupted_run_does_only_the_missing_partitions(
    prepared: Path, source: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ochat_ray.data import pipeline

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "write_manifest", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(source, tmp_path / "out", base)
    lost, kept = (tmp_path / f"out/conversations/part-0000{i}-of-00004.parquet" for i in (1, 2))
    lost.unlink()
    [counts] = (tmp_path / "out/.work").glob("finished-*-00001.json")
    counts.unlink()
    kept.write_bytes(b"a finished file is not written again")
    (kept.parent / ".part-00003-of-00004.parquet.123").write_bytes(b"left by a crash")
    run(source, tmp_path / "out", base)
    found, expected = contents(tmp_path / "out"), contents(prepared)
    assert kept.read_bytes() == b"a finished file is not written again"
    assert {name for name in expected if found[name] != expected[name]} == {f"conversations/{kept.name}"}
    assert found.keys() == expected.keys()


def test_a_name_that_is_no_utf8_is_shown_escaped(prepared: Path) -> None:
    assert "zz-caf\\xe9.html" in {row["source"] for row in rows(prepared / "rejected")}


def test_two_runs_do_not_fill_one_folder(prepared: Path, source: Path, base: Path, tmp_path: Path) -> None:
    with (
        filling(tmp_path / "out", {"facts": "of another run"}),
        pytest.raises(DataError, match="another run is preparing into it"),
    ):
        run(source, tmp_path / "out", base)
    run(source, tmp_path / "out", base)
    assert contents(tmp_path / "out") == contents(prepared)


def test_a_finished_folder_is_recognised(
    prepared: Path, source: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (prepared / "manifest.json").stat().st_mtime_ns
    manifest = run(source, prepared, base)
    assert manifest == read_manifest(prepared, remedy=REMEDY)
    assert (prepared / "manifest.json").stat().st_mtime_ns == before
    assert "already prepared" in capsys.readouterr().err


def test_folders_that_would_be_mixed_up_are_refused(
    prepared: Path, source: Path, base: Path, tmp_path: Path
) -> None:
    sample.write_pages(tmp_path / "other")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("x")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text("{}")
    for call, words in [
        (lambda: run(source, prepared, base, "data.models=[]"), r"recipe.*delete"),
        (lambda: run(source, prepared, base, "data.max_tokens=100"), "max_tokens"),
        (lambda: run(tmp_path / "other", prepared, base), "saved pages changed"),
        (lambda: run(source, tmp_path / "full", base), "not empty"),
        (lambda: run(source, tmp_path / "model", base), "something else"),
        (lambda: run(source, tmp_path / "full" / "thesis.txt", base), "is a file"),
        (lambda: run(tmp_path / "none", tmp_path / "out", base), "no such folder"),
        (lambda: run(tmp_path / "full", tmp_path / "out", base), "no saved pages"),
    ]:
        with pytest.raises(DataError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)
    assert (tmp_path / "full" / "thesis.txt").read_text() == "x"
    assert not (tmp_path / "out").exists()


def test_a_base_without_the_model_types_tokens_is_refused(source: Path, base: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="im_end"):
        from ochat_ray.data.pipeline import prepare

        prepare(source, tmp_path / "out", Recipe(name="x", model_type="chatml"), base)
    assert not (tmp_path / "out").exists()
