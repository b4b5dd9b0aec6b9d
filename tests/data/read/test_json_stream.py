"""Records of JSON files: each by itself, whatever its neighbours are like."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray.data.read import json_stream
from ochat_ray.data.read.json_stream import Record, lines, values

LIMIT = 10_000
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


def parsed(records: list[Record]) -> list[Any]:
    assert all(record.whole for record in records)
    assert [record.number for record in records] == list(range(1, len(records) + 1))
    return [json.loads(record.data) for record in records]


@given(
    items=st.lists(JSON, max_size=6),
    indent=st.none() | st.just(2),
    ascii=st.booleans(),
    chunk=st.integers(1, 50),
    bom=st.booleans(),
)
def test_a_list_is_cut_into_its_elements(
    items: list[Any], indent: int | None, ascii: bool, chunk: int, bom: bool
) -> None:
    text = json.dumps(items, indent=indent, ensure_ascii=ascii)
    data = (b"\xef\xbb\xbf" if bom else b"") + text.encode("utf-8", "surrogatepass")
    json_stream.CHUNK, before = max(chunk, 3), json_stream.CHUNK  # a byte order mark is in the first chunk
    try:
        assert parsed(list(values(io.BytesIO(data), LIMIT))) == items
    finally:
        json_stream.CHUNK = before


@given(
    items=st.lists(st.dictionaries(st.text(), JSON, max_size=3), max_size=5),
    between=st.sampled_from(["", "\n", " \r\n\n"]),
)
def test_values_one_after_the_other(items: list[Any], between: str) -> None:
    data = between.join(json.dumps(item) for item in items).encode()
    assert parsed(list(values(io.BytesIO(data), LIMIT))) == items


def test_a_broken_element_costs_itself_alone() -> None:
    data = b'[{"a": 1}, {"b": tru}, {"c": "\\x"}, {"d": 4}]'
    found = [record.data for record in values(io.BytesIO(data), LIMIT)]
    assert found == [b'{"a": 1}', b'{"b": tru}', b'{"c": "\\x"}', b'{"d": 4}']


@pytest.mark.parametrize("data", [b'[{"a": 1}, {"b": [1, 2', b'[{"a": 1}, {"b": "x', b'[{"a": 1}, {"b": 2}'])
def test_a_list_that_breaks_off_keeps_what_was_whole(data: bytes) -> None:
    first, last = list(values(io.BytesIO(data), LIMIT))
    assert first == Record(1, b'{"a": 1}')
    assert not last.whole and last.data.startswith(b'{"b"')


def test_text_after_a_list_is_read_too_but_space_is_nothing() -> None:
    assert len(list(values(io.BytesIO(b"[1, 2]\n \n"), LIMIT))) == 2
    assert [record.data for record in values(io.BytesIO(b"[1, 2] x"), LIMIT)] == [b"1", b"2", b"x"]
    joined = b'[{"a": 1}]\n[{"a": 2}], {"a": 3}\n{"a": 4},\n{"a": 5}'
    assert parsed(list(values(io.BytesIO(joined), LIMIT))) == [{"a": i} for i in range(1, 6)]


def turns_of(number: int) -> list[dict[str, str]]:
    return [{"from": "human", "value": f'say "{number}", [x]'}, {"from": "gpt", "value": f"{number}"}]


RECORDS = [{"id": f"r{i}", "conversations": turns_of(i)} for i in range(4)]


@pytest.mark.parametrize("layout", ["list", "indented", "lines", "chunks"])
@pytest.mark.parametrize("fault", [b"", b"}", b"]", b"[", b"{", b'"', b"\\"])
def test_a_missing_or_superfluous_mark_costs_one_record_alone(
    layout: str, fault: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every place of the second record but its opening, which its neighbours have too."""
    if layout == "chunks":
        monkeypatch.setattr(json_stream, "CHUNK", 50)
    whole = [json.dumps(record, indent=2 if layout == "indented" else None).encode() for record in RECORDS]
    for at in range(len(b'{"id"'), len(whole[1])):
        if not fault and whole[1][at : at + 1] not in b'"{}[]':
            continue
        broken = whole[1][:at] + fault + whole[1][at + (not fault) :]
        some = [whole[0], broken, *whole[2:]]
        data = b"\n".join(some) if layout == "lines" else b"[" + b", ".join(some) + b"]"
        found = [record.data for record in values(io.BytesIO(data), LIMIT)]
        assert [one for one in whole if one in found and one != whole[1]] == [whole[0], *whole[2:]], broken
        assert len(found) < 10  # the broken one may come in pieces


def test_records_that_hold_others_like_themselves_stay_whole() -> None:
    deep = [{"id": "a", "messages": [{"id": "b"}, {"id": "c", "inner": {"id": "d"}}]}, {"id": "e"}]
    for text in (json.dumps(deep), "".join(map(json.dumps, deep))):
        assert parsed(list(values(io.BytesIO(text.encode()), LIMIT))) == deep


def test_a_broken_record_before_more_than_the_limit_costs_itself_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", 64)
    good = b",".join(b'{"id": %d}' % i for i in range(100))
    found = list(values(io.BytesIO(b'[{"id": {"x": [,' + good + b"]"), 200))
    assert len(found) == 101 and all(record.whole for record in found)
    found = list(values(io.BytesIO(b'[{"id": ["' + b"x" * 5000 + b'" ,' + good + b"]"), 200))
    assert len(found) == 101 and [record.whole for record in found].count(False) == 1


def test_an_element_beyond_the_limit_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "CHUNK", 64)
    data = b'[{"a": 1}, {"b": "' + b"x" * 5000 + b'"}, {"c": 3}]'
    first, second, third = values(io.BytesIO(data), 100)
    assert (first.whole, third.whole, third.data) == (True, True, b'{"c": 3}')
    assert not second.whole and len(second.data) == 100


@given(rows=st.lists(st.binary(max_size=30).filter(lambda b: b"\n" not in b), max_size=8), end=st.booleans())
def test_lines_keep_their_numbers_and_blank_ones_are_none(rows: list[bytes], end: bool) -> None:
    rows = [row.replace(b"\xef\xbb\xbf", b"") for row in rows]
    data = b"\n".join(rows) + (b"\n" if end else b"")
    found = [(record.number, record.data.rstrip(b"\n")) for record in lines(io.BytesIO(data), LIMIT)]
    assert found == [(i, row) for i, row in enumerate(rows, 1) if row.strip()]


def test_a_line_beyond_the_limit_is_passed_over() -> None:
    data = b'{"a": 1}\n' + b"x" * 3_000_000 + b'\n{"c": 3}\n'
    first, second, third = lines(io.BytesIO(data), 100)
    assert (first.number, second.number, third.number) == (1, 2, 3)
    assert not second.whole and len(second.data) == 101
    assert third.data == b'{"c": 3}\n'


def test_a_part_of_a_file_has_the_numbers_of_the_whole() -> None:
    data = io.BytesIO(b"a\nb\nc\nd\n")
    data.seek(2)
    assert [(r.number, r.data) for r in lines(data, LIMIT, first=2, length=4)] == [(2, b"b\n"), (3, b"c\n")]
