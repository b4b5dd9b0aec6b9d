"""What the log holds of what is said."""

from __future__ import annotations

from typing import Any

from ochat_ray.serve.access.contents import Contents

SAID: dict[str, Any] = {
    "messages": [{"role": "user", "content": "my number is 12"}, {"role": "user", "content": "hm"}],
    "reply": "hm",
}


def test_nothing_hashes_or_all() -> None:
    assert Contents("none").of(SAID) == {}
    assert Contents("full").of(SAID) == SAID
    hashed = Contents("hashed").of(SAID)
    assert "number" not in str(hashed)
    assert [one["chars"] for one in hashed["messages"]] == [15, 2]
    assert hashed["messages"][1]["hash"] == hashed["reply"][0]["hash"] != hashed["messages"][0]["hash"]


def test_hashes_are_of_one_process_only() -> None:
    assert Contents("hashed").of(SAID) != Contents("hashed").of(SAID)


def test_several_replies_and_none() -> None:
    contents = Contents("hashed")
    assert [one["chars"] for one in contents.of({"reply": ["a", "\ud800b"]})["reply"]] == [1, 2]
    assert contents.of({}) == {"messages": [], "reply": []}
    assert Contents("full").of({}) == {"messages": None, "reply": None}
