"""A shard to tables and tokens: copies, splits, classes, cuts, counts, no special token out of any text."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ochat_ray import columns
from ochat_ray.config import DataConfig, FilterConfig
from ochat_ray.conversation import Conversation, Message, Rejected
from ochat_ray.data.dedup.exact import text_hash
from ochat_ray.data.dedup.near import Member, key_of
from ochat_ray.data.facts import add_counts, histogram, spread
from ochat_ray.data.records import part_table
from ochat_ray.data.shard import Finished, finish
from ochat_ray.data.split import place_of, split_of
from ochat_ray.data.stages.distinct import judged
from ochat_ray.data.targets import Target
from ochat_ray.model_types import load_model_type
from ochat_ray.template import ChatTemplate
from tests.tokenizers import byte_level

SPECIALS = ["<s>", "</s>", "<|end_of_turn|>"]
TOKENIZER = byte_level(SPECIALS, bos="<s>")


def target(name: str = "openchat", max_tokens: int = 2048) -> Target:
    return Target(load_model_type(name), max_tokens, json.dumps(TOKENIZER.spec), "<s>")


def config(**data: Any) -> DataConfig:
    return DataConfig.model_validate({"eval_fraction": 0.0, **data})


def talk(
    id: str,
    *texts: str,
    model: str | None = "Model: GPT-4",
    condition: str | None = None,
    language: str | None = "en",
    weight: float = 1.0,
) -> Conversation:
    roles = ("user", "assistant")
    messages = tuple(Message(roles[i % 2], text, weight) for i, text in enumerate(texts))  # type: ignore[arg-type]
    return Conversation(id, f"{id}.html", messages, model, condition, language)


def finished(
    *records: Conversation | Rejected,
    data: DataConfig | None = None,
    targets: tuple[Target, ...] = (),
    members: tuple[Member, ...] = (),
    models: tuple[str, ...] = (),
) -> Finished:
    data = (data or config()).replace(filters=FilterConfig(models=models))
    targets = targets or (target(),)
    rows = judged(part_table(records), targets, data)
    return finish(rows, {m.key: m for m in members}, targets, data)


def reasons(found: Finished) -> dict[str, str]:
    return {row["id"]: row["reason"] for row in found.tables["rejected"].to_pylist()}


def tokens(found: Finished, split: str = "train", name: str = "openchat") -> list[dict[str, Any]]:
    batch = pa.ipc.open_file(pa.BufferReader(found.tokens[f"tokens/{name}/{split}"])).get_batch(0)
    rows: list[dict[str, Any]] = batch.to_pylist()
    return rows


def test_every_document_is_kept_or_rejected_and_counted() -> None:
    found = finished(
        talk("a", "hi", "Hello."),
        talk("b", "hi", "Hello."),
        talk("c", "how", "So.", model="other"),
        Rejected("d", "d.html", "no_data", "empty", raw=b""),
        Rejected("e", "e.html", "roles", "two in a row", (Message("user", "x"),), language="de"),
        models=("Model: GPT-4",),
    )
    assert reasons(found) == {"b": "duplicate", "c": "model", "d": "no_data", "e": "roles"}
    counts = found.counts
    assert counts["documents"] == 5 == counts["kept"] + sum(counts["rejected"].values())
    [kept] = found.tables["clean"].to_pylist()
    assert (kept["id"], kept["split"], kept["language"]) == ("a", "train", "en")
    assert [message["content"] for message in kept["messages"]] == ["hi", "Hello."]
    [row] = tokens(found)
    assert counts["tokens"]["openchat"]["train"] == {
        "conversations": 1,
        "rows": 1,
        "tokens": len(row["input_ids"]),
        "target_tokens": sum(weight > 0 for weight in row["weights"]),
    }
    assert tokens(found, "eval") == []
    assert found.spread["languages"] == {"de": {"read": 1, "kept": 0}, "en": {"read": 3, "kept": 1}}
    assert found.spread["models"]["Model: GPT-4"] == {"read": 2, "kept": 1}
    assert found.spread["models"][""] == {"read": 1, "kept": 0}


def test_copies_name_the_one_that_is_kept() -> None:
    found = finished(
        talk("a", "hi", "Hello.", model=None),
        talk("c", "hi", "Hello."),
        talk("b", "hi", "Hello."),
        talk("x", "ho", "Aye.", model=None),
        talk("y", "ho", "Aye.", model=None),
        models=("Model: GPT-*",),
    )
    rows = {row["id"]: row for row in found.tables["rejected"].to_pylist()}
    assert reasons(found) == {"a": "duplicate", "c": "duplicate", "x": "model", "y": "model"}
    assert "same text as b" in rows["a"]["detail"] and "same text as b" in rows["c"]["detail"]


def test_the_longer_copy_is_kept() -> None:
    found = finished(talk("a", "hi", "Hello you."), talk("b", "hi", "Hello  you.\n"))
    assert reasons(found) == {"a": "duplicate"}


def test_a_copy_that_fits_is_kept_before_a_longer_one_that_does_not() -> None:
    words = "word " * 20
    copies = (talk("a", "hi", words), talk("b", "hi", words.replace(" ", "\n" + " " * 9)))
    for data, limit, kept in (
        (config(long_conversations="drop"), 150, "a"),
        (config(long_conversations="drop"), 2000, "b"),
        (config(), 150, "b"),  # it is cut, but some of it can be learnt
    ):
        found = finished(*copies, data=data, targets=(target(max_tokens=limit),))
        assert {row["id"] for row in found.tables["clean"].to_pylist()} == {kept}
        assert list(reasons(found).values()) == ["duplicate"]
    some = finished(*copies, data=config(long_conversations="drop"), targets=(target(max_tokens=20),))
    assert reasons(some) == {"a": "duplicate", "b": "over_context"}


def test_rows_of_one_id_and_source_are_in_one_order_too() -> None:
    def twin(id: str, question: str, answer: str, **facts: Any) -> Conversation:
        return replace(talk(id, question, answer, **facts), source="d.tar/x.html")

    records: list[Conversation | Rejected] = [
        twin("x", "hi", "Hello you."),
        twin("x", "ho", "Aye."),
        twin("y", "so", "Yes.", model="one"),
        twin("y", "so", "Yes.", model="two"),
        twin("y", "so ", "Yes."),
        Rejected("z", "d.tar/z.html", "no_data", "empty", raw=b"1"),
        Rejected("z", "d.tar/z.html", "no_data", "empty", raw=b"2"),
    ]
    first = finished(*records)
    assert first.counts["kept"] == 3
    for seed in range(5):
        again = finished(*random.Random(seed).sample(records, len(records)))
        assert again.tokens == first.tokens
        assert again.tables == first.tables


@pytest.mark.parametrize("long", ["truncate", "split"])
def test_the_order_of_rows_does_not_matter(long: str) -> None:
    records = [talk(f"id{i % 7}", f"text {i % 10}", "answer " * (i % 10)) for i in range(20)]
    records = [Conversation(c.id, f"{i}.html", c.messages, c.model) for i, c in enumerate(records)]
    data = config(eval_fraction=0.3, long_conversations=long)
    targets = (target(max_tokens=60), target("openchat_v2", 80))
    first = finished(*records, data=data, targets=targets)
    second = finished(*random.Random(1).sample(records, len(records)), data=data, targets=targets)
    assert (first.counts, first.spread) == (second.counts, second.spread)
    assert first.counts["kept"] == 10
    assert first.tokens == second.tokens
    for name, table in first.tables.items():
        assert table.equals(second.tables[name], check_metadata=True)


def test_tokens_are_the_templates() -> None:
    conversation = talk("a", "hi", "Hello.", "more", "Yes.")
    template = ChatTemplate(load_model_type("openchat"), TOKENIZER)
    rendered = template.render_train(conversation.messages)
    [row] = tokens(finished(conversation))
    assert row == {
        "id": "a",
        "piece": 0,
        "class": None,
        "input_ids": rendered.input_ids,
        "weights": rendered.weights,
    }


def test_long_conversations() -> None:
    short, long = talk("a", "hi", "Yes."), talk("b", "hi", "word " * 12, "so", "And on " * 12)
    for mode, rows in (("truncate", ["a0", "b0"]), ("split", ["a0", "b0", "b1"]), ("drop", ["a0"])):
        found = finished(short, long, data=config(long_conversations=mode), targets=(target(max_tokens=90),))
        assert [f"{row['id']}{row['piece']}" for row in tokens(found)] == rows
        counts = found.counts["tokens"]["openchat"]
        assert counts["train"]["rows"] == len(rows)
        whole = len(
            ChatTemplate(load_model_type("openchat"), TOKENIZER).render_train(long.messages).input_ids
        )
        assert (counts["lost"]["target_tokens"] > 0) == (mode != "split")
        if mode == "drop":
            assert reasons(found) == {"b": "over_context"}
            assert counts["lost"]["tokens"] == whole
    assert found.counts["kept"] == 1


def test_only_what_is_beyond_the_context_is_lost() -> None:
    """Not what nothing is learnt from; and that each row repeats the opening makes up for nothing."""
    unweighted = Message("assistant", "an answer without weight", 0.0)
    short = talk("a", "hi", "Yes.", "so", "")
    short = replace(short, messages=(*short.messages[:3], unweighted))
    nothing = {"conversations": 0, "tokens": 0, "target_tokens": 0}
    assert finished(short).counts["tokens"]["openchat"]["lost"] == nothing
    turns = [Message("system", "S" * 100)]
    for number in range(6):
        turns += [Message("user", "q" * 20), Message("assistant", "a" * (500 if number == 3 else 20))]
    long = Conversation("b", "b.html", tuple(turns))
    data = config(long_conversations="split")
    lost = finished(long, data=data, targets=(target(max_tokens=250),)).counts["tokens"]["openchat"]["lost"]
    assert lost["conversations"] == 1 and lost["tokens"] == lost["target_tokens"] > 300


def test_nothing_to_learn() -> None:
    found = finished(
        talk("a", "word " * 100, "yes"), talk("b", "hi", "yes", weight=0.0), targets=(target(max_tokens=40),)
    )
    assert reasons(found) == {"a": "nothing_to_learn", "b": "nothing_to_learn"}
    assert found.counts["kept"] == 0


def test_several_model_types_at_once() -> None:
    long = talk("long", "word " * 100, "yes")
    found = finished(
        talk("a", "hi", "Yes."), long, targets=(target(max_tokens=40), target("openchat_v2", 4000))
    )
    assert [row["id"] for row in tokens(found)] == ["a"]
    assert [row["id"] for row in tokens(found, name="openchat_v2")] == ["a", "long"]
    assert found.counts["kept"] == 2 and reasons(found) == {}  # one model type can learn from it
    assert found.counts["tokens"]["openchat"]["train"]["conversations"] == 1
    v2 = ChatTemplate(load_model_type("openchat_v2"), TOKENIZER)
    assert (
        tokens(found, name="openchat_v2")[0]["input_ids"]
        == v2.render_train(talk("a", "hi", "Yes.").messages).input_ids
    )


CLASSES = [
    {"condition": "GPT4", "models": ["Model: GPT-4*"]},
    {"condition": "GPT3", "models": ["*"], "weight": 0.1},
]


def test_classes_condition_and_weigh() -> None:
    records = [
        talk("four", "a", "x"),
        talk("mobile", "b", "x", model="Model: GPT-4 (Mobile)"),
        talk("three", "c", "x", model="Model: GPT-3.5"),
        talk("none", "d", "x", model=None),
        talk("stated", "e", "x", condition="GPT3", weight=0.5),
        talk("other", "f", "x", condition="Math"),
    ]
    found = finished(
        *records, data=config(classes=CLASSES), targets=(target("openchat_v2"), target("openchat"))
    )
    rows = {row["id"]: row for row in tokens(found, name="openchat_v2")}
    assert {id: row["class"] for id, row in rows.items()} == {
        "four": "GPT4",
        "mobile": "GPT4",
        "three": "GPT3",
        "none": "GPT3",
        "stated": "GPT3",
        "other": None,
    }
    assert {id: max(row["weights"]) for id, row in rows.items()} == pytest.approx(
        {"four": 1, "mobile": 1, "three": 0.1, "none": 0.1, "stated": 0.05, "other": 1}
    )
    texts = {id: TOKENIZER.decode(row["input_ids"]) for id, row in rows.items()}
    assert (
        "Assistant GPT3:" in texts["three"]
        and "Assistant GPT4:" in texts["four"]
        and "Assistant Math:" in texts["other"]
    )
    plain = {row["id"]: row for row in tokens(found)}  # a model type without conditions takes all the same
    assert plain["three"]["class"] == "GPT3" and max(plain["three"]["weights"]) == pytest.approx(0.1)
    clean = {row["id"]: row for row in found.tables["clean"].to_pylist()}
    assert (clean["none"]["class"], clean["none"]["condition"]) == ("GPT3", "GPT3")
    assert clean["other"]["condition"] == "Math"


def test_a_conversation_that_cannot_be_rendered_costs_only_itself() -> None:
    found = finished(
        talk("a", "hi", "Hello.", condition="</s>"), talk("b", "ho", "Aye."), targets=(target("openchat_v2"),)
    )
    assert reasons(found) == {"a": "bad_condition"}
    assert "special token" in found.tables["rejected"].to_pylist()[0]["detail"]
    assert found.counts["kept"] == 1


def near(*ids: str, best: str, group: str) -> tuple[tuple[Conversation, ...], tuple[Member, ...]]:
    talks = tuple(talk(id, "the same question", f"and answer {id}") for id in ids)
    keys = {one.id: key_of(text_hash(one.messages)) for one in talks}
    return talks, tuple(Member(keys[id], keys[best], best, group, len(ids)) for id in ids)


def test_near_duplicates_are_dropped_but_the_best() -> None:
    talks, members = near("a", "b", "c", best="b", group="a")
    found = finished(
        *talks, talk("z", "other", "text"), members=members, data=config(near_duplicates={"action": "drop"})
    )
    assert reasons(found) == {"a": "near_duplicate", "c": "near_duplicate"}
    assert {row["detail"] for row in found.tables["rejected"].to_pylist()} == {
        "nearly the same text as b, of 3 such texts"
    }
    assert {row["id"]: row["group"] for row in found.tables["clean"].to_pylist()} == {"b": "a", "z": None}


def test_near_duplicates_are_on_one_side_of_the_split() -> None:
    for group in ("a", "b", "c", "d"):
        talks, members = near("a", "b", "c", "d", best="b", group=group)
        data = config(near_duplicates={"action": "group"}, eval_fraction=0.5)
        rows = finished(*talks, members=members, data=data).tables["clean"].to_pylist()
        assert len(rows) == 4
        assert {row["split"] for row in rows} == {split_of(group, 0.5)}


@given(text=st.lists(st.sampled_from([*SPECIALS, " ", "a", "<s", ">"]), min_size=1).map("".join))
def test_no_text_yields_a_special_token(text: str) -> None:
    [row] = tokens(finished(talk("a", "x" + text, "y" + text)))
    ids = TOKENIZER.special_ids
    eot = ids["<|end_of_turn|>"]
    assert [i for i in row["input_ids"] if i in ids.values()] == [ids["<s>"], eot, eot]


@given(fraction=st.floats(0, 0.99), id=st.text())
def test_splits_grow_with_the_fraction_and_depend_on_the_id_alone(fraction: float, id: str) -> None:
    split = split_of(id, fraction)
    assert split == split_of(id, fraction)
    assert 0 <= place_of(id) < 1
    if split == "eval":
        assert split_of(id, fraction + 0.005) == "eval"
    assert split_of(id, 0.0) == "train"


def test_the_eval_share_is_about_the_fraction_and_stable() -> None:
    some = [talk(f"{i:04}", f"question {i}", "answer") for i in range(600)]
    more = [talk(f"{i:04}", f"question {i}", "answer") for i in range(600, 1000)]
    data = config(eval_fraction=0.2)
    before = {row["id"]: row["split"] for row in finished(*some, data=data).tables["clean"].to_pylist()}
    after = {row["id"]: row["split"] for row in finished(*some, *more, data=data).tables["clean"].to_pylist()}
    assert before.items() <= after.items()
    assert 150 < sum(split == "eval" for split in after.values()) < 250


def test_counts_add_up() -> None:
    a = {"documents": 1, "rejected": {"x": 1}, "train": {"tokens": 5}}
    b = {"documents": 2, "rejected": {"y": 2}, "train": {"tokens": 0}}
    assert add_counts([a, b]) == {"documents": 3, "rejected": {"x": 1, "y": 2}, "train": {"tokens": 5}}
    assert add_counts([]) == {}


@given(values=st.lists(st.integers(0, 10**6)))
def test_spreads_add_up_to_histograms(values: list[int]) -> None:
    half = len(values) // 2
    apart = add_counts([spread(values[:half]), spread(values[half:])])
    assert histogram(apart) == histogram(spread(values))
    assert histogram(apart).total == len(values)


def test_an_empty_shard_has_empty_files_of_the_right_schema() -> None:
    found = finished()
    assert {name: table.num_rows for name, table in found.tables.items()} == {"clean": 0, "rejected": 0}
    assert found.tables["clean"].schema == columns.CLEAN
    assert tokens(found) == [] and found.counts["documents"] == 0
