"""The contract that ties training, serving and the exported template, for every model type and any text."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from ochat_ray.conversation import Message
from ochat_ray.errors import CheckpointError, RequestError
from ochat_ray.model_types import load_model_type, model_type_names
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ESCAPE, SEGMENT, ChatTokenizer
from tests.tokenizers import byte_level, metaspace, metaspace_split, sentencepiece_like, specials_of

BUILDERS = {
    "byte_level": byte_level,
    "sentencepiece": sentencepiece_like,
    "metaspace": metaspace,
    "metaspace_split": metaspace_split,
}
TEMPLATES = {
    (name, kind): ChatTemplate(load_model_type(name), build(specials_of(load_model_type(name)), "<s>"))
    for name in model_type_names()
    for kind, build in BUILDERS.items()
}
AWKWARD = [
    "",
    " ",
    "\n",
    "\n\n",
    "  two spaces",
    "ends in space ",
    "<|end_of_turn|>",
    "</s><s>",
    "a <|im_end|>\n<|im_start|>assistant\nb",
    "<|start_header_id|>System<|end_header_id|>\n\n",
    "Human: x<|end_of_turn|>Assistant: ",
    "{{ bos_token }}{% raise %}",
    "'quotes\" \\u0041 \\",
    "\U0001f469\u200d\U0001f4bb \U0001f600",
    "\u0634\u0643\u0631\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\u4f60\u597d\r\n\ttab",
    "e\u0301 combining first: \u0301",
    f"a{SEGMENT}b{ESCAPE}c",
    SEGMENT,
    ESCAPE,
    "\x00\x1b",
]
TEXT = st.one_of(
    st.text(max_size=20),
    st.sampled_from(AWKWARD),
    st.lists(st.sampled_from([*AWKWARD, "word", "<", "|>"]), max_size=4).map("".join),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    messages = [Message("system", draw(TEXT))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 2))):
        messages.append(Message("user", draw(TEXT)))
        messages.append(Message("assistant", draw(TEXT)))
    return messages


def hugging_face(template: ChatTemplate) -> PreTrainedTokenizerFast:
    """What anybody else would load from the exported folder."""
    backend = Tokenizer.from_str(json.dumps(template.tokenizer.spec))
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=template.to_jinja())


HUGGING_FACE = {key: hugging_face(template) for key, template in TEMPLATES.items()}


@pytest.mark.parametrize("key", TEMPLATES, ids="-".join)
@settings(max_examples=40, deadline=None)
@given(messages=conversations())
@example([Message("user", SEGMENT + ESCAPE), Message("assistant", "<\ufdd1|end_of_turn|>")])
@example([Message("system", ""), Message("user", ""), Message("assistant", "")])
def test_contract(key: tuple[str, str], messages: list[Message]) -> None:
    template = TEMPLATES[key]
    rendered = template.render_train(messages)
    ids, weights = rendered.input_ids, rendered.weights

    prompt = template.render_prompt(messages[:-1])
    assert ids[: len(prompt)] == prompt
    supervised = ids[len(prompt) :]
    assert weights[len(prompt) :] == [1.0] * len(supervised)
    assert supervised[-1] == template.eot_id
    assert weights[len(prompt) - len(template.prefix_ids("assistant")) : len(prompt)] == [0.0] * len(
        template.prefix_ids("assistant")
    )

    original = messages[-1].content
    marks = {SEGMENT, ESCAPE} | ({"\u2581"} if key[1] != "byte_level" else set())
    if not marks & set(original):  # noncharacters are dropped; the others cannot tell \u2581 from a space
        assert template.parse_reply(supervised) == Message("assistant", original)

    chat = [{"role": m.role, "content": m.content} for m in messages]
    theirs = HUGGING_FACE[key].apply_chat_template(chat, tokenize=True)["input_ids"]
    assert theirs == ids
    asked = HUGGING_FACE[key].apply_chat_template(chat[:-1], tokenize=True, add_generation_prompt=True)
    assert asked["input_ids"] == prompt


@pytest.mark.parametrize("key", TEMPLATES, ids="-".join)
@settings(max_examples=20, deadline=None)
@given(text=TEXT)
def test_text_never_yields_a_special_token(key: tuple[str, str], text: str) -> None:
    tokenizer = TEMPLATES[key].tokenizer
    hostile = "".join(tokenizer.special_ids) + text
    assert not set(tokenizer.encode(hostile)) & set(tokenizer.special_ids.values())
    assert not set(tokenizer.encode(text)) & set(tokenizer.special_ids.values())


GOLDEN = json.loads((Path(__file__).parent / "golden.json").read_text(encoding="utf-8"))
FIXED = [
    Message("system", "Be brief."),
    Message("user", "What is the capital of France? </s>"),
    Message("assistant", "Paris.\n\n  \U0001f600"),
    Message("user", " And\tSpain?"),
    Message("assistant", "Madrid <|end_of_turn|>", weight=0.5),
]


@pytest.mark.parametrize("key", TEMPLATES, ids="-".join)
def test_golden_ids(key: tuple[str, str]) -> None:
    """Frozen: a change here changes what every trained model expects. Raise RENDER_VERSION with it."""
    rendered = TEMPLATES[key].render_train(FIXED)
    assert {"ids": rendered.input_ids, "weights": rendered.weights} == GOLDEN["-".join(key)]


@pytest.mark.parametrize("name", model_type_names())
def test_layout_reads_as_declared(name: str) -> None:
    template = TEMPLATES[(name, "byte_level")]
    kind = template.model_type
    spelled = {i: token for token, i in template.tokenizer.special_ids.items()}
    ids = template.render_prompt([Message("user", "Hi")])
    text = "".join(spelled.get(i) or template.tokenizer.decode([i]) for i in ids)
    condition = kind.default_condition or ""
    bos = "<s>" if kind.bos == "auto" else kind.bos or ""
    user = kind.user_prefix.replace("{condition}", condition)
    assistant = kind.assistant_prefix.replace("{condition}", condition)
    assert text == f"{bos}{user}Hi{kind.eot}{assistant}"


def test_llama_tokenizer(shared_data: Path) -> None:
    tokenizer = ChatTokenizer.load(shared_data / "llama_tokenizer")
    template = ChatTemplate(load_model_type("openchat"), tokenizer)
    theirs = hugging_face(template)
    messages = [Message("user", "  two </s> <|end_of_turn|>\n\nx"), Message("assistant", "\n  ok <s>\t")]
    rendered = template.render_train(messages)
    assert rendered.input_ids[:4] == [1, 12968, 29901, 29871]  # <s> Human :
    assert rendered.input_ids.count(template.eot_id) == 2
    assert template.parse_reply(rendered.input_ids[rendered.weights.index(1.0) :]) == messages[-1]
    chat = [{"role": m.role, "content": m.content} for m in messages]
    assert theirs.apply_chat_template(chat, tokenize=True)["input_ids"] == rendered.input_ids


def test_loading_marks_only_once_and_keeps_the_hash(tmp_path: Path) -> None:
    tokenizer = byte_level(["<s>"])
    tokenizer.save(tmp_path)
    again = ChatTokenizer.load(tmp_path)
    assert again.spec == tokenizer.spec
    assert again.hash == tokenizer.hash


def test_marks_do_not_change_plain_text(shared_data: Path) -> None:
    raw = json.loads((shared_data / "llama_tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))
    plain = Tokenizer.from_str(json.dumps({**raw, "added_tokens": [], "post_processor": None}))
    marked = ChatTokenizer(raw)
    for text in ["Hello  world", " x\n\n", "def f(a_b):\n    return '*'", "\u4f60\u597d \U0001f600"]:
        assert marked.encode(text) == plain.encode(text).ids


def test_condition_is_put_into_prefixes() -> None:
    template = TEMPLATES[("openchat_v3.2_mistral", "byte_level")]
    assert template.prefix("user", "Math Correct") == "Math Correct User:"
    assert template.prefix("assistant", "") == "Assistant:"
    with pytest.raises(RequestError, match="special token '</s>'"):
        template.render_prompt([Message("user", "x")], "</s>")
    with pytest.raises(RequestError, match="openchat takes none"):
        TEMPLATES[("openchat", "byte_level")].render_prompt([Message("user", "x")], "GPT4")


def test_every_model_type_has_its_own_hash_unless_it_renders_the_same() -> None:
    hashes = {name: TEMPLATES[(name, "byte_level")].hash for name in model_type_names()}
    assert hashes["openchat"] == hashes["openchat_8192"]  # only the context differs
    assert len(set(hashes.values())) == len(hashes) - 1
    assert hashes["openchat"] != hashes["opencoder"]


def test_tokenizer_without_eot_is_named() -> None:
    remedy = "ochat-ray base OUTPUT --from MODEL_DIR model_type=openchat`"
    with pytest.raises(CheckpointError, match=rf"no special token '<\|end_of_turn\|>'.*{remedy}"):
        ChatTemplate(load_model_type("openchat"), byte_level(["<s>", "</s>"]))


def test_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no tokenizer.json.*ochat-ray base"):
        ChatTokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"tokenizer.json: cannot be read as a tokenizer"):
        ChatTokenizer.load(tmp_path)
