"""Every document in a file of every format, and a reason for each that cannot be had."""

from __future__ import annotations

import gzip
import io
import json
import os
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ochat_ray.columns import PAGES
from ochat_ray.conversation import Rejected
from ochat_ray.data.read import documents as module
from ochat_ray.data.read.documents import Document, Found, Ignored, documents
from ochat_ray.data.read.find import find_inputs
from ochat_ray.data.read.units import Piece, split, whole
from ochat_ray.storage import storage
from tests.data.pages import saved_page

PAGE = saved_page([("human", "hello"), ("gpt", "<p>Hi.</p>")])
RECORD = {"id": "r", "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
LINE = json.dumps(RECORD).encode() + b"\n"


def pieces(folder: Path) -> list[Piece]:
    return [whole(file) for file in find_inputs([str(folder)]).files]


def found_in(folder: Path) -> list[Found]:
    return [read.found for piece in pieces(folder) for read in documents(storage(folder), piece)]


def sources(found: list[Found]) -> list[str]:
    return [document.source for document in found]


def reasons(found: list[Found]) -> dict[str, str]:
    return {document.source: document.reason for document in found if isinstance(document, Rejected)}


def tar_of(members: dict[str, bytes], mode: str = "w") -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zip_of(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def test_a_mix_in_one_folder(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(PAGE)
    (tmp_path / "b.html.gz").write_bytes(gzip.compress(PAGE))
    (tmp_path / "c.json").write_text(json.dumps([RECORD, RECORD], indent=1))
    (tmp_path / "d.jsonl").write_bytes(LINE + b"\n" + LINE)
    (tmp_path / "e.tar").write_bytes(tar_of({"x/1.html": PAGE, "x/2.jsonl": LINE, "x/readme.txt": b"?"}))
    (tmp_path / "f.zip").write_bytes(zip_of({"1.html": PAGE, "2.json.gz": gzip.compress(LINE)}))
    pq.write_table(pa.Table.from_pylist([RECORD, RECORD]), tmp_path / "g.parquet")
    pq.write_table(pa.table({"source": ["old/p.html"], "page": [PAGE]}, schema=PAGES), tmp_path / "h.parquet")
    (tmp_path / "notes.txt").write_text("not a chat")
    found = found_in(tmp_path)
    assert sources(found) == [
        "a.html",
        "b.html.gz",
        "c.json:1",
        "c.json:2",
        "d.jsonl:1",
        "d.jsonl:3",
        "e.tar/x/1.html",
        "e.tar/x/2.jsonl:1",
        "e.tar/x/readme.txt",
        "f.zip/1.html",
        "f.zip/2.json.gz:1",
        "g.parquet:1",
        "g.parquet:2",
        "old/p.html",
    ]
    assert isinstance(found[8], Ignored)
    for document in found:
        if isinstance(document, Document):
            assert len(document.understand().turns) == 2
            assert document.page == document.source.split(":")[0].endswith((".html", ".html.gz"))
    assert sum(isinstance(document, Document) for document in found) == 13


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz", "w:bz2"])
def test_tar_archives_are_streams(tmp_path: Path, mode: str) -> None:
    suffix = "." + mode.partition(":")[2] if ":" in mode else ""
    (tmp_path / f"x.tar{suffix}").write_bytes(tar_of({"a.html": PAGE, "b.html": PAGE}, mode))
    assert sources(found_in(tmp_path)) == [f"x.tar{suffix}/a.html", f"x.tar{suffix}/b.html"]


def test_members_that_lead_out_or_are_no_files_are_not_followed(tmp_path: Path) -> None:
    out = io.BytesIO(
        tar_of({"../up.html": PAGE, "/root.html": PAGE, "a/../../b.html": PAGE, "good.html": PAGE})
    )
    with tarfile.open(fileobj=out, mode="a") as archive:
        for name, kind in (("link.html", tarfile.SYMTYPE), ("hard.html", tarfile.LNKTYPE)):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            archive.addfile(info)
    (tmp_path / "x.tar").write_bytes(out.getvalue())
    (tmp_path / "y.zip").write_bytes(zip_of({"..\\up.html": PAGE, "C:/x.html": PAGE, "ok.html": PAGE}))
    found = found_in(tmp_path)
    assert set(reasons(found).values()) == {"unsafe_member"}
    assert len(reasons(found)) == 7
    assert [d.source for d in found if isinstance(d, Document)] == ["x.tar/good.html", "y.zip/ok.html"]
    assert not (tmp_path / "up.html").exists() and sorted(p.name for p in tmp_path.iterdir()) == [
        "x.tar",
        "y.zip",
    ]


def test_what_systems_leave_beside_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of({"__MACOSX/._a.html": b"?", ".b.html": b"?", "a.html": PAGE}))
    members = {"__MACOSX/._a.html": b"?", ".b.html": b"?", ".crawl/c.html": PAGE}
    (tmp_path / "y.tar").write_bytes(tar_of(members))
    found = found_in(tmp_path)
    assert [document.source for document in found if isinstance(document, Document)] == ["x.zip/a.html"]
    assert sum(isinstance(document, Ignored) for document in found) == 5


def test_a_file_without_any_record_says_so(tmp_path: Path) -> None:
    texts = {"a.json": b"", "b.jsonl": b"\n \n", "c.json": b" [ ] ", "d.jsonl.gz": b"", "e.html": b""}
    for name, data in texts.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "f.tar").write_bytes(tar_of({}))
    (tmp_path / "g.zip").write_bytes(zip_of({"a.jsonl": b"", "b.html": PAGE}))
    pq.write_table(pa.table({"messages": pa.array([], pa.string())}), tmp_path / "h.parquet")
    found = found_in(tmp_path)
    empty = ["a.json", "b.jsonl", "c.json", "d.jsonl.gz", "f.tar", "g.zip/a.jsonl", "h.parquet"]
    assert reasons(found) == dict.fromkeys(empty, "no_data")
    assert [d.source for d in found if isinstance(d, Document)] == ["e.html", "g.zip/b.html"]


def test_blank_lines_alone_are_one_file_without_records_however_they_are_cut(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n" * 5000)
    inputs = find_inputs([str(tmp_path)])
    assert split(inputs.folder, inputs.files[0], 100) == [whole(inputs.files[0])]


MEMBERS = {f"{i}.html": PAGE + b" " * i for i in range(5)}


def tar_with(format: int = tarfile.USTAR_FORMAT, prefix: str = "") -> tuple[bytearray, list[int]]:
    """A tar of MEMBERS, and where each begins."""
    out = io.BytesIO()
    starts = []
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, data in MEMBERS.items():
            starts.append(out.tell())
            info = tarfile.TarInfo(prefix + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return bytearray(out.getvalue()), starts


def test_a_member_whose_name_is_no_text_can_be_told(tmp_path: Path) -> None:
    data = tar_of({os.fsdecode(b"caf\xe9.html"): PAGE}, "w").rstrip(b"\0")
    (tmp_path / "x.tar").write_bytes(data + b"\0" * (-len(data) % 512))
    told = found_in(tmp_path)[-1]
    assert isinstance(told, Rejected) and "caf" in told.detail and told.detail.encode()


def read_tar(folder: Path, data: bytes) -> tuple[list[str], list[str]]:
    """The pages that are read from a tar, by their numbers, and the reasons of rejects."""
    (folder / "x.tar").write_bytes(data)
    found = found_in(folder)
    pages = [d.source.rpartition("/")[2].removesuffix(".html") for d in found if isinstance(d, Document)]
    return pages, [one.reason for one in found if isinstance(one, Rejected)]


def test_a_damaged_header_in_a_tar_costs_its_member_and_is_told(tmp_path: Path) -> None:
    for at in (148, 0):
        data, starts = tar_with()
        data[starts[2] + at] ^= 0xFF
        assert read_tar(tmp_path, data) == (["0", "1", "3", "4"], ["damaged"])


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_damaged_header_behind_a_long_name_too(tmp_path: Path, format: int) -> None:
    data, starts = tar_with(format, prefix="d/" * 150)
    for block in range(3):
        hurt = bytearray(data)
        hurt[starts[2] + block * 512] ^= 0xFF
        pages, why = read_tar(tmp_path, hurt)
        assert [page for page in pages if page in "0134"] == ["0", "1", "3", "4"]
        assert (pages == ["0", "1", "3", "4"]) == bool(why) or block == 1  # the long name itself


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("beyond", [0, 100, 512, 600])
def test_a_tar_that_breaks_off_says_so(tmp_path: Path, format: int, beyond: int) -> None:
    data, starts = tar_with(format)
    pages, why = read_tar(tmp_path, data[: starts[3] + beyond])
    assert pages == ["0", "1", "2"] and set(why) == {"damaged"}


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_damage_inside_a_compressed_tar_ends_it(tmp_path: Path, mode: str) -> None:
    members = {f"{i}.html": PAGE + os.urandom(3000) for i in range(50)}
    data = bytearray(tar_of(members, mode))
    data[len(data) // 2 : len(data) // 2 + 99] = b"\xff" * 99
    (tmp_path / f"x.tar.{mode[2:]}").write_bytes(data)
    assert "damaged" in reasons(found_in(tmp_path)).values()


def test_all_of_what_stands_in_a_tar_is_read(tmp_path: Path) -> None:
    data, _ = tar_with()
    assert read_tar(tmp_path, data) == (list("01234"), [])
    assert read_tar(tmp_path, data + data) == (list("0123401234"), [])
    assert read_tar(tmp_path, data + b"x" * 700) == (list("01234"), ["damaged"])
    assert read_tar(tmp_path, b"x" * 7000) == ([], ["damaged"])


def test_archives_in_archives(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(zip_of({"in.tar": tar_of({"a.html": PAGE}), "a.html": PAGE}))
    assert reasons(found_in(tmp_path)) == {"x.zip/in.tar": "nested"}


@pytest.mark.parametrize("cut", [0.4, 0.9])
def test_a_truncated_archive_keeps_what_was_whole(tmp_path: Path, cut: float) -> None:
    members = {f"{i:03}.html": PAGE + bytes(str(i) * 500, "ascii") for i in range(200)}
    data = gzip.compress(tar_of(members), compresslevel=1)
    (tmp_path / "x.tar.gz").write_bytes(data[: int(len(data) * cut)])
    found = found_in(tmp_path)
    whole = [document for document in found if isinstance(document, Document)]
    assert 20 < len(whole) < 200
    assert all(d.content == members[d.source.rpartition("/")[2]] for d in whole)
    assert found[-1].source.startswith("x.tar.gz") and "damaged" in reasons(found).values()


def test_truncated_and_damaged_files_lose_nothing_else(tmp_path: Path) -> None:
    lines = b"".join(LINE.replace(b'"r"', b'"%d"' % i) for i in range(2000))
    packed = gzip.compress(lines)
    (tmp_path / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "b.html.gz").write_bytes(b"not gzip")
    (tmp_path / "c.zip").write_bytes(zip_of({"a.html": PAGE})[:-30])
    (tmp_path / "d.parquet").write_bytes(b"PAR1 and no more")
    (tmp_path / "e.html").write_bytes(PAGE)
    (tmp_path / "f.tar").write_bytes(b"")
    found = found_in(tmp_path)
    kept = [document.source for document in found if isinstance(document, Document)]
    assert kept[-1] == "e.html" and 100 < len(kept) < 2001
    assert reasons(found) == {
        "a.jsonl.gz": "damaged",
        "b.html.gz": "damaged",
        "c.zip": "damaged",
        "d.parquet": "damaged",
        "f.tar": "damaged",
    }
    assert all("\n" not in d.detail and d.detail for d in found if isinstance(d, Rejected))


def test_a_member_with_a_wrong_checksum_costs_itself(tmp_path: Path) -> None:
    data = bytearray(zip_of({"a.html": PAGE, "b.html": PAGE}))
    at = data.index(b"a.html") + len("a.html") + 5
    data[at] ^= 0xFF
    (tmp_path / "x.zip").write_bytes(bytes(data))
    found = found_in(tmp_path)
    assert reasons(found) == {"x.zip/a.html": "damaged"}
    assert sources(found)[-1] == "x.zip/b.html"


def test_a_member_of_a_zip_with_a_damaged_header_costs_itself(tmp_path: Path) -> None:
    data = zip_of(MEMBERS)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        at = archive.infolist()[1].header_offset
    (tmp_path / "x.zip").write_bytes(data[:at] + b"?" + data[at + 1 :])
    found = found_in(tmp_path)
    assert reasons(found) == {"x.zip/1.html": "damaged"}
    assert len(found) == 5


def test_an_encrypted_member_is_named(tmp_path: Path) -> None:
    data = bytearray(zip_of({"a.html": PAGE, "b.html": PAGE}))
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        (flags,) = struct.unpack_from("<H", data, at)
        struct.pack_into("<H", data, at, flags | 1)
    (tmp_path / "x.zip").write_bytes(bytes(data))
    found = found_in(tmp_path)
    assert reasons(found) == {"x.zip/a.html": "unreadable"}
    assert "encrypted" in found[0].detail  # type: ignore[union-attr]


def test_what_is_too_large_is_named_and_its_beginning_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2**17)
    monkeypatch.setattr(module, "KEPT_BYTES", 100)
    big = json.dumps({"id": "x" * 2**18}).encode()
    (tmp_path / "a.html").write_bytes(PAGE + b" " * 2**18)
    (tmp_path / "b.jsonl").write_bytes(LINE + big + b"\n" + LINE)
    (tmp_path / "c.json").write_bytes(b"[" + LINE + b"," + big + b"," + LINE + b"]")
    (tmp_path / "d.tar.gz").write_bytes(tar_of({"bomb.html": b"\0" * 2**20, "e.html": PAGE}, "w:gz"))
    found = found_in(tmp_path)
    assert reasons(found) == dict.fromkeys(
        ["a.html", "b.jsonl:2", "c.json:2", "d.tar.gz/bomb.html"], "too_large"
    )
    kept = [document.source for document in found if isinstance(document, Document)]
    assert kept == ["b.jsonl:1", "b.jsonl:3", "c.json:1", "c.json:3", "d.tar.gz/e.html"]
    assert all(d.raw is not None and len(d.raw) == 100 for d in found if isinstance(d, Rejected))


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "a.html").symlink_to(tmp_path / "gone")
    (tmp_path / "b.html").write_bytes(PAGE)
    found = found_in(tmp_path)
    assert reasons(found) == {"a.html": "unreadable"}
    assert "No such file" in found[0].detail  # type: ignore[union-attr]


def test_tables_without_chats(tmp_path: Path) -> None:
    pq.write_table(pa.table({"prompt": ["a"]}), tmp_path / "a.parquet")
    found = found_in(tmp_path)
    assert reasons(found) == {"a.parquet": "unknown_record"}


def found_in_pieces(path: Path, task_bytes: int) -> list[Found]:
    inputs = find_inputs([str(path)])
    parts = split(inputs.folder, inputs.files[0], task_bytes)
    return [read.found for part in parts for read in documents(inputs.folder, part)]


TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]


def test_tables_without_chats_are_one_reject_however_they_are_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": [str(i) for i in range(1000)]}), path, row_group_size=100)
    for task_bytes in (1000, 10**6):
        assert reasons(found_in_pieces(path, task_bytes)) == {"a.parquet": "unknown_record"}


def test_a_chat_table_with_columns_named_as_those_of_packed_pages_is_one(tmp_path: Path) -> None:
    columns = {"source": ["web", None], "messages": [TURNS, TURNS]}
    pq.write_table(pa.table({**columns, "page": [1, 2]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({**columns, "page": [b"x", b"y"]}), tmp_path / "b.parquet")
    pq.write_table(pa.table({"source": ["web", None], "page": [b"x", b"y"]}), tmp_path / "c.parquet")
    found = found_in(tmp_path)
    assert sources(found) == ["a.parquet:1", "a.parquet:2", "b.parquet:1", "b.parquet:2", "c.parquet"]
    assert all(len(d.understand().turns) == 2 for d in found if isinstance(d, Document))
    assert reasons(found) == {"c.parquet": "unknown_record"}


def test_a_damaged_row_group_costs_itself_however_the_table_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"messages": [{"role": "user", "content": os.urandom(50).hex()}]} for _ in range(1000)]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=100, compression="zstd")
    at = pq.ParquetFile(path).metadata.row_group(2).column(0).data_page_offset
    data = bytearray(path.read_bytes())
    data[at : at + 40] = b"\xff" * 40
    path.write_bytes(data)
    whole, cut = (found_in_pieces(path, task_bytes) for task_bytes in (10**6, 1000))
    assert rows_of(whole) == rows_of(cut) and reasons(whole) == reasons(cut) == {"a.parquet:201": "damaged"}
    assert [source for source, _ in rows_of(whole)] == [
        f"a.parquet:{i}" for i in range(1, 1001) if not 201 <= i <= 300
    ]
    assert "rows 201 to 300 cannot be read" in whole[200].detail  # type: ignore[union-attr]


def test_a_row_with_a_text_that_is_none_costs_itself(tmp_path: Path) -> None:
    texts = pa.array([b"a", b"\xff\xfe", b"c"], pa.binary())
    ids = pa.Array.from_buffers(pa.string(), 3, texts.buffers())
    pq.write_table(pa.table({"id": ids, "messages": [TURNS] * 3}), tmp_path / "a.parquet")
    found = found_in(tmp_path)
    assert sources(found) == ["a.parquet:1", "a.parquet:2", "a.parquet:3"]
    assert reasons(found) == {"a.parquet:2": "not_text"}


def test_a_json_export_that_breaks_off(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"[" + LINE + b"," + LINE[:40])
    found = found_in(tmp_path)
    assert sources(found) == ["a.json:1", "a.json:2"]
    assert reasons(found) == {"a.json:2": "bad_json"}
    assert found[1].raw == LINE[:40]  # type: ignore[union-attr]


def rows_of(found: list[Found]) -> list[Any]:
    return [(d.source, d.content) for d in found if isinstance(d, Document)]


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.zip"])
def test_pieces_of_a_big_file_are_the_whole(tmp_path: Path, name: str) -> None:
    records = [{"id": str(i), "messages": [{"role": "user", "content": "x" * (i % 97)}]} for i in range(1000)]
    if name == "a.jsonl":
        text = "\n".join(json.dumps(record) + "\n" * (i % 3 == 0) for i, record in enumerate(records))
        (tmp_path / name).write_text(text)
    elif name == "a.parquet":
        pq.write_table(pa.Table.from_pylist(records), tmp_path / name, row_group_size=70)
    else:
        (tmp_path / name).write_bytes(zip_of({f"{r['id']}.json": json.dumps(r).encode() for r in records}))
    inputs = find_inputs([str(tmp_path)])
    parts = split(inputs.folder, inputs.files[0], 4000)
    assert len(parts) > 3
    found = [read.found for part in parts for read in documents(inputs.folder, part)]
    assert rows_of(found) == rows_of(found_in(tmp_path))
    assert len(rows_of(found)) == 1000


def test_a_file_that_cannot_be_cut_up_is_left_whole(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" * 5000)
    inputs = find_inputs([str(tmp_path)])
    assert split(inputs.folder, inputs.files[0], 100) == [whole(inputs.files[0])]
