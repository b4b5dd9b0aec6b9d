"""Pages that cannot be used, each for one reason, as failed and interrupted saves leave them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ochat_ray.sample.html import code_block
from ochat_ray.sample.skeleton import Item, Save, next_data, page, page_around, script


@dataclass(frozen=True)
class Malformed:
    """A way to spoil a good save, and the code it must be turned away with."""

    name: str
    reason: str
    spoil: Callable[[Save], bytes]


def _half(save: Save) -> bytes:
    """A download that broke off in the middle of the data."""
    whole = page(save).encode()
    start = whole.index(b"__NEXT_DATA__")
    return whole[: start + (len(whole) - start) // 2]


def _half_json(save: Save) -> bytes:
    data = next_data(save.id, {"content": {"items": list(save.items)}})
    return page_around(save, script(data[: len(data) // 2])).encode()


def _latin_1(save: Save) -> bytes:
    """A page that some tool rewrote in the encoding of old."""
    accented = _change(0, value="O\u00f9 est le caf\u00e9 ?")(save).decode()
    return accented.encode("latin-1", "replace")


def _props(props: dict[str, Any]) -> Callable[[Save], bytes]:
    """A page whose server found no conversation."""

    def spoil(save: Save) -> bytes:
        return page_around(save.with_items(()), script(next_data(save.id, props))).encode()

    return spoil


def _edit(edit: Callable[[list[Item]], list[Item]]) -> Callable[[Save], bytes]:
    """A whole page with other turns."""
    return lambda save: page(save.with_items(edit(list(save.items)))).encode()


def _change(index: int, **fields: Any) -> Callable[[Save], bytes]:
    """A whole page with some fields of one turn replaced."""
    return _edit(lambda items: [{**item, **fields} if i == index else item for i, item in enumerate(items)])


_EMPTY_ANSWER = '<div class="markdown prose w-full break-words dark:prose-invert light"></div>'
_EMPTY_BLOCK = _EMPTY_ANSWER.replace("></div>", f">{code_block('', 'python')}</div>")
_CHECK = (
    b"<!DOCTYPE html><html><head><title>One moment</title></head><body>Checking the connection.</body></html>"
)

ALL = (
    Malformed("cut_off", "no_data", _half),
    Malformed("no_script", "no_data", lambda save: page_around(save, "").encode()),
    Malformed("other_page", "no_data", lambda _: _CHECK),
    Malformed("empty_file", "no_data", lambda _: b""),
    Malformed("plain_text", "no_data", lambda save: f"{save.title}\n\nsaved as text only\n".encode()),
    Malformed("half_json", "bad_json", _half_json),
    Malformed("script_error", "bad_json", lambda save: page_around(save, script("undefined")).encode()),
    Malformed("not_found", "no_content", _props({})),
    Malformed("null_content", "no_content", _props({"id": "x", "content": None})),
    Malformed("null_value", "bad_item", _change(1, value=None)),
    Malformed("number_value", "bad_item", _change(0, value=42)),
    Malformed("unknown_role", "bad_item", _change(1, **{"from": "plugin"})),
    Malformed("missing_value", "bad_item", _edit(lambda items: [items[0], {"from": "gpt"}])),
    Malformed("no_turns", "too_short", _edit(lambda _: [])),
    Malformed("human_only", "too_short", _edit(lambda items: items[:1])),
    Malformed("answer_only", "too_short", _edit(lambda items: items[1:2])),
    Malformed("nothing_left", "too_short", _edit(lambda items: [items[1], items[0]])),
    Malformed("two_questions", "roles", _edit(lambda items: [items[0], *items[:2]])),
    Malformed("two_answers", "roles", _edit(lambda items: [*items[:2], items[1]])),
    Malformed("blank_question", "too_short", _edit(lambda items: [{**items[0], "value": " \n "}, items[1]])),
    Malformed("empty_answer", "empty_answer", _change(1, value=_EMPTY_ANSWER)),
    Malformed("empty_block", "empty_answer", _change(1, value=_EMPTY_BLOCK)),
    Malformed("latin_1", "not_text", _latin_1),
    Malformed("utf_16", "not_text", lambda save: f"\ufeff{page(save)}".encode("utf-16-le")),
    Malformed("binary", "not_text", lambda save: bytes(range(256)) * (save.number(8) + 8)),
)
