"""A partition to its tables: counts, splits, cuts, copies, and no special token out of any text."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ochat_ray import columns
from ochat_ray.config import DataConfig
from ochat_ray.conversation import Conversation, Message, Rejected
from ochat_ray.data.partition import Finished, add_counts, finish, split_of
from ochat_ray.data.records import part_table
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from tests.tokenizers import byte_level

SPECIALS = ["<s>", "</s>", "<|end_of_turn|>"]
ALL_MODELS = DataConfig(models=(), eval_fraction=0.0)


TEMPLATE = ChatTemplate(load_model_type("openchat"), byte_level(SPECIALS, bos="<s>"))


def talk(
    id: str, *texts: str, model: str | None = "Model: GPT-4", condition: str | None = None
) -> Conversation:
    messages = tuple(Message("assistant" if i % 2 else "user", text) for i, text in enumerate(texts))
    return Conversation(id, f"{id}.html", messages, model, condition)


def finished(
    *records: Conversation | Rejected, config: DataConfig = ALL_MODELS, max_tokens: int = 2048
) -> Finished:
    return finish(part_table(records), TEMPLATE, config, max_tokens)


def reasons(found: Finished) -> dict[str, str]:
    rows = found.tables["rejected"].to_pylist()
    return {row["id"]: row["reason"] for row in rows}


def test_every_page_is_kept_or_rejected_and_counted() -> None:
    found = finished(
        talk("a", "hi", "Hello."),
        talk("b", "hi", "Hello."),
        talk("c", "how", "So.", model="other"),
        Rejected("d", "d.html", "no_data", "empty", raw=b""),
        Rejected("e", "e.html", "roles", "two in a row", (Message("user", "x"),)),
        config=DataConfig(eval_fraction=0.0),
    )
    assert reasons(found) == {"b": "duplicate", "c": "model", "d": "no_data", "e": "roles"}
    counts = found.counts
    assert counts["pages"] == 5 == counts["kept"] + sum(counts["rejected"].values())
    assert counts["conversations"] == 3
    [kept] = found.tables["conversations"].to_pylist()
    assert (kept["id"], kept["split"], [m["content"] for m in kept["messages"]]) == (
        "a",
        "train",
        ["hi", "Hello."],
    )
    [tokens] = found.tables["tokens/train"].to_pylist()
    assert counts["train"] == {
        "conversations": 1,
        "tokens": len(tokens["input_ids"]),
        "target_tokens": sum(w > 0 for w in tokens["weights"]),
        "truncated": 0,
    }
    assert counts["train"]["target_tokens"] > 0
    assert found.tables["tokens/eval"].num_rows == 0


def test_copies_name_the_one_that_is_kept() -> None:
    config = DataConfig(eval_fraction=0.0)
    found = finished(
        talk("a", "hi", "Hello.", model=None),
        talk("c", "hi", "Hello."),
        talk("b", "hi", "Hello."),
        talk("x", "ho", "Aye.", model=None),
        talk("y", "ho", "Aye.", model=None),
        config=config,
    )
    rows = {row["id"]: row for row in found.tables["rejected"].to_pylist()}
    assert {id: row["reason"] for id, row in rows.items()} == {
        "a": "duplicate",
        "c": "duplicate",
        "x": "model",
        "y": "model",
    }
    assert "same text as b" in rows["a"]["detail"] and "same text as b" in rows["c"]["detail"]


def test_the_order_of_rows_does_not_matter() -> None:
    records = [talk(f"id{i % 7}", f"text {i % 5}", "answer") for i in range(20)]
    records = [Conversation(c.id, f"{i}.html", c.messages, c.model) for i, c in enumerate(records)]
    first = finished(*records, config=DataConfig(eval_fraction=0.3))
    second = finished(*random.Random(1).sample(records, len(records)), config=DataConfig(eval_fraction=0.3))
    assert first.counts == second.counts
    assert first.counts["kept"] == 5
    for name, table in first.tables.items():
        assert table.equals(second.tables[name], check_metadata=True)


def test_tokens_are_the_templates_and_say_so() -> None:
    conversation = talk("a", "hi", "Hello.", "more", "Yes.")
    table = finished(conversation).tables["tokens/train"]
    rendered = TEMPLATE.render_train(conversation.messages)
    assert table.to_pylist() == [{"id": "a", "input_ids": rendered.input_ids, "weights": rendered.weights}]
    assert table.schema.metadata[columns.META_MODEL_TYPE] == b"openchat"
    assert table.schema.metadata[columns.META_TEMPLATE_HASH] == TEMPLATE.hash.encode()
    assert table.schema.metadata[columns.META_TOKENIZER_HASH] == TEMPLATE.tokenizer.hash.encode()


def test_long_conversations_are_cut_and_counted() -> None:
    found = finished(talk("a", "hi", "word " * 100), max_tokens=40)
    [row] = found.tables["tokens/train"].to_pylist()
    assert len(row["input_ids"]) == len(row["weights"]) == 40
    assert found.counts["train"]["truncated"] == 1


def test_nothing_to_learn() -> None:
    found = finished(talk("a", "word " * 100, "yes"), max_tokens=40)
    assert reasons(found) == {"a": "nothing_to_learn"}
    assert found.counts["kept"] == 0


def test_a_conversation_that_cannot_be_rendered_costs_only_itself() -> None:
    found = finished(talk("a", "hi", "Hello.", condition="none in openchat"), talk("b", "ho", "Aye."))
    assert reasons(found) == {"a": "error"}
    assert found.counts["kept"] == 1


@given(text=st.lists(st.sampled_from([*SPECIALS, " ", "a", "<s", ">"]), min_size=1).map("".join))
def test_no_text_yields_a_special_token(text: str) -> None:
    found = finished(talk("a", "x" + text, "y" + text))
    [row] = found.tables["tokens/train"].to_pylist()
    specials = TEMPLATE.tokenizer.special_ids
    assert [i for i in row["input_ids"] if i in specials.values()] == [
        specials["<s>"],
        specials["<|end_of_turn|>"],
        specials["<|end_of_turn|>"],
    ]


@given(fraction=st.floats(0, 0.99), key=st.binary(min_size=32, max_size=32))
def test_splits_grow_with_the_fraction(fraction: float, key: bytes) -> None:
    split = split_of(key.hex(), fraction)
    assert split == split_of(key.hex(), fraction)
    if split == "eval":
        assert split_of(key.hex(), fraction + 0.005) == "eval"
    assert split_of(key.hex(), 0.0) == "train"


def test_the_eval_share_is_about_the_fraction() -> None:
    found = finished(
        *(talk(f"{i:04}", f"question {i}", "answer") for i in range(1000)),
        config=DataConfig(models=(), eval_fraction=0.2),
    )
    assert 150 < found.counts["eval"]["conversations"] < 250
    assert found.counts["eval"]["conversations"] + found.counts["train"]["conversations"] == 1000


def test_counts_add_up() -> None:
    a = {"pages": 1, "rejected": {"x": 1}, "train": {"tokens": 5}}
    b = {"pages": 2, "rejected": {"y": 2}, "train": {"tokens": 0}}
    assert add_counts([a, b]) == {"pages": 3, "rejected": {"x": 1, "y": 2}, "train": {"tokens": 5}}


def test_empty_partitions_have_empty_tables_of_the_right_schema() -> None:
    found = finished()
    assert {name: table.num_rows for name, table in found.tables.items()} == dict.fromkeys(found.tables, 0)
    assert found.tables["conversations"].schema == columns.CONVERSATIONS
    assert found.tables["tokens/eval"].schema.equals(columns.TOKENS)
    assert found.counts["rejected"] == {}
