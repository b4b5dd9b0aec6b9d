"""Looking into files: conversations by id, reason and chance, as turns, Markdown and tokens."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ochat_ray import columns
from ochat_ray.cli import main
from ochat_ray.conversation import Message
from ochat_ray.data.tokens.files import TokenRow, tokens_file
from ochat_ray.data.tokens.fit import fit
from ochat_ray.errors import DataError
from ochat_ray.inspect import Choice, Style, inspect
from ochat_ray.manifest import file_facts, write_manifest
from ochat_ray.model_types import load_model_type
from ochat_ray.storage import storage
from ochat_ray.template import ChatTemplate
from tests.data.pages import saved_page
from tests.tokenizers import byte_level

TEMPLATE = ChatTemplate(load_model_type("openchat"), byte_level(["<s>", "<|end_of_turn|>"], bos="<s>"))
# Another tokenizer, for a model type whose name begins with that of the first.
OTHER = ChatTemplate(
    load_model_type("openchat_v2"), byte_level(["<s>", "<other>", "<|end_of_turn|>"], bos="<s>")
)
TALKS = {
    f"id{i}": (Message("user", f"question {i}"), Message("assistant", f"answer {i}", 1.0 if i else 0.25))
    for i in range(8)
}
REASONS = {"bad1": "roles", "bad2": "too_short"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prepared(tmp_path_factory.mktemp("prepared"), TEMPLATE)


@pytest.fixture(scope="module")
def two_types(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prepared(tmp_path_factory.mktemp("prepared"), TEMPLATE, OTHER)


def make_prepared(folder: Path, *templates: ChatTemplate) -> Path:
    """A prepared folder of two parts, by the file formats alone."""
    files: dict[str, Any] = {}

    def write(name: str, data: bytes | pa.Buffer) -> None:
        storage(folder).write(name, data)
        files[name] = file_facts(data)

    def parquet(rows: list[dict[str, Any]], schema: pa.Schema) -> pa.Buffer:
        out = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), out)
        return out.getvalue()

    for part in range(2):
        ids = list(TALKS)[part::2]
        clean = [
            {"id": id, "source": f"{id}.html", "split": "train", "messages": turns(TALKS[id])} for id in ids
        ]
        write(f"clean/part-{part}.parquet", parquet(clean, columns.CLEAN))
        bad = list(REASONS)[part]
        facts = {"id": bad, "source": f"{bad}.html", "reason": REASONS[bad], "detail": "because"}
        write(
            f"rejected/part-{part}.parquet",
            parquet([{**facts, "messages": turns(TALKS["id1"])}], columns.REJECTED),
        )
        for template in templates:
            rows = [
                TokenRow(id, piece, None, row)
                for id in ids
                for piece, row in enumerate(
                    fit(template.render_batch([(TALKS[id], None)])[0], 99, "truncate", system=False).rows
                )
            ]
            name = template.model_type.name
            write(f"tokens/{name}/train/part-{part}.arrow", tokens_file(rows, template))
    for template in templates:
        spec = json.dumps(template.tokenizer.spec).encode()
        write(f"tokens/{template.model_type.name}/tokenizer.json", spec)
    split = {"conversations": 8, "rows": 9, "tokens": 90, "target_tokens": 40}
    counts = {
        "documents": 10,
        "kept": 8,
        "rejected": {"roles": 1, "too_short": 1},
        "tokens": {"openchat": {"train": split, "eval": split, "lost": {"tokens": 1234, "target_tokens": 0}}},
    }
    write_manifest(
        storage(folder), files, {"kind": "prepared", "counts": counts, "model_types": {"openchat": {}}}
    )
    return folder


def turns(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    return [{"role": m.role, "content": m.content, "weight": m.weight} for m in messages]


def shown(path: Path | str, *, view: Any = "turns", colour: bool = False, **choice: Any) -> str:
    return "\n".join(inspect(str(path), Choice(**choice), Style(view, colour)))


def ids(text: str) -> list[str]:
    return re.findall(r"^(id\d|bad\d)", text, re.MULTILINE)


def test_a_prepared_folder_shows_its_counts_and_first_conversations(prepared: Path) -> None:
    text = shown(prepared, number=2)
    assert re.search(r"documents +10\n", text) and re.search(r"rejected: roles +-1\n", text)
    assert re.search(r"train rows +9\n", text) and re.search(r"tokens beyond the context +1,234\n", text)
    assert ids(text) == ["id0", "id2"]
    assert "[user]\nquestion 0\n[assistant, weight 0.25]\nanswer 0" in text


def test_by_id(prepared: Path) -> None:
    assert ids(shown(prepared, id="id5")) == ["id5"]
    assert ids(shown(prepared, id="id5", view="tokens")) == ["id5"]
    rejected = shown(prepared, id="bad2")  # rejects have ids too
    assert "too_short: because" in rejected
    with pytest.raises(DataError, match="no conversation with the id 'none'"):
        shown(prepared, id="none")


def test_by_reason(prepared: Path) -> None:
    assert ids(shown(prepared, rejected="")) == ["bad1", "bad2"]
    assert ids(shown(prepared, rejected="roles")) == ["bad1"]
    with pytest.raises(DataError, match="nothing was rejected for 'nope'; reasons: roles, too_short"):
        shown(prepared, rejected="nope")


def test_at_random_but_the_same_for_a_seed(prepared: Path) -> None:
    found = {tuple(ids(shown(prepared, number=3, seed=seed))) for seed in range(10)}
    assert len(found) > 3 and all(len(set(some)) == 3 for some in found)
    assert shown(prepared, number=3, seed=4) == shown(prepared, number=3, seed=4)


def test_as_markdown(prepared: Path) -> None:
    text = shown(prepared, id="id3", view="markdown")
    assert "\n# id3, train, id3.html\n\n## user\n\nquestion 3\n\n## assistant\n\nanswer 3" in text


def test_as_tokens_with_their_weights(prepared: Path) -> None:
    text = shown(prepared, id="id3", view="tokens")
    assert re.search(r"id3, openchat, row 0, \d+ tokens, \d+ with loss\n<s>\|", text)
    plain = text.splitlines()[-1]
    assert "|[<|end_of_turn|>]" in plain and "<|end_of_turn|>|" in plain
    bare = plain.replace("<|end_of_turn|>", "END").replace("|", "").replace("[", "").replace("]", "")
    assert bare == "<s>Human: question 3ENDAssistant: answer 3END"
    assert "[<|end_of_turn|>:0.25]" in shown(prepared, id="id0", view="tokens")


def test_colours_shade_by_weight(prepared: Path) -> None:
    full, quarter = (shown(prepared, id=id, view="tokens", colour=True) for id in ("id1", "id0"))
    shades = [set(re.findall(r"48;5;(\d+)m", text)) for text in (full, quarter)]
    assert all(len(shade) == 1 for shade in shades) and shades[0] != shades[1]
    assert re.sub(r"\x1b\[[\d;]*m", "", full).endswith("Assistant: answer 1<|end_of_turn|>")
    assert "\x1b[36m[user]\x1b[0m" in shown(prepared, id="id1", colour=True)


def test_one_part_by_itself(prepared: Path) -> None:
    assert ids(shown(prepared / "clean" / "part-1.parquet", number=9)) == ["id1", "id3", "id5", "id7"]
    assert ids(shown(prepared / "rejected" / "part-0.parquet")) == ["bad1"]
    assert ids(shown(prepared / "tokens/openchat/train/part-0.arrow", view="tokens", number=1)) == ["id0"]
    with pytest.raises(DataError, match="no conversation with the id 'id1'"):
        shown(prepared / "clean" / "part-0.parquet", id="id1")


def test_tokens_of_one_model_type_are_its_own(two_types: Path) -> None:
    for name in ("openchat", "openchat_v2"):
        text = shown(two_types / "tokens" / name, view="tokens", number=99)
        assert len(ids(text)) == 8 and set(re.findall(r"id\d, (\w+), row", text)) == {name}
    text = shown(two_types, view="tokens", number=99)
    assert ids(text) == ["id0", "id2", "id4", "id6", "id1", "id3", "id5", "id7"] * 2
    assert text.count("<|end_of_turn|>") == 32 and "<other>" not in text
    assert shown(two_types, view="tokens", number=99, seed=3).count("<|end_of_turn|>") == 32


def test_what_does_not_apply_is_refused(prepared: Path, tmp_path: Path) -> None:
    page = tmp_path / "abc.html"
    page.write_bytes(saved_page([("human", "hello"), ("gpt", "<p>Hi.</p>")]))
    for path, view, choice, words in [
        (prepared / "clean", "turns", {"rejected": "roles"}, f"no rejects are there; give {prepared}$"),
        (prepared / "clean", "tokens", {}, "what is clean has no tokens"),
        (prepared, "tokens", {"rejected": ""}, "what is rejected has no tokens"),
        (prepared, "turns", {"number": -1}, "-1 conversations: ask for 1 or more"),
        (page, "tokens", {}, "which alone has tokens; prepare it first"),
        (page, "turns", {"seed": 1}, "which alone has a choice at random"),
        (page, "turns", {"id": "x"}, "no document that is asked for"),
    ]:
        with pytest.raises(DataError, match=words):
            shown(path, view=view, **choice)


def test_a_folder_of_pages_shows_its_pages(tmp_path: Path) -> None:
    for i in range(4):
        page = saved_page([("human", "hello"), ("gpt", "<p>Hi.</p>")], id=f"id{i}")
        (tmp_path / f"{i}.html").write_bytes(page)
    assert ids(shown(tmp_path)) == ["id0", "id1", "id2"]
    assert ids(shown(tmp_path, id="id3")) == ["id3"]


def test_input_files(tmp_path: Path) -> None:
    (tmp_path / "abc.html").write_bytes(saved_page([("human", "hello"), ("gpt", "<p>Hi.</p>")]))
    assert "[assistant]\nHi." in shown(tmp_path / "abc.html")
    lines = [{"id": f"id{i}", "messages": turns(TALKS["id1"])[: 2 - i % 2]} for i in range(4)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert ids(shown(tmp_path / "x.jsonl")) == ["id0", "id1", "id2"]
    assert ids(shown(tmp_path / "x.jsonl", rejected="too_short")) == ["id1", "id3"]
    assert ids(shown(tmp_path / "x.jsonl", id="id2")) == ["id2"]
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(DataError, match="no files to read"):
        shown(tmp_path / "notes.txt")
    with pytest.raises(DataError, match="no such file or folder"):
        shown(tmp_path / "none")


def test_by_the_command_line(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(prepared), "--id", "id1", "--as", "tokens"]) == 0
    assert "[<|end_of_turn|>]" in capsys.readouterr().out
    assert main(["inspect", str(prepared), "--random", "7", "-n", "2"]) == 0
    assert len(ids(capsys.readouterr().out)) == 2
    assert main(["inspect", str(prepared), "--rejected", "-n", "5"]) == 0
    assert ids(capsys.readouterr().out) == ["bad1", "bad2"]
    assert main(["inspect", str(prepared / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
