"""The one renderer of conversations. Training, serving and evaluation all come here.

The contract that ties both ends, for every model type and any text:

- `render_prompt(messages[:-1])` is exactly the unweighted beginning of `render_train(messages)`;
- the weighted rest is what the model should produce, and `parse_reply` of it is the last message;
- the exported Jinja template yields the same ids through `tokenizer.apply_chat_template`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ochat_ray.conversation import Message, Rendered, Role
from ochat_ray.errors import CheckpointError, RequestError
from ochat_ray.model_types import AUTO, CONDITION, ModelType
from ochat_ray.tokenizer import ESCAPE, SEGMENT, ChatTokenizer

# Raised whenever the same model type and tokenizer would render to other ids than before.
RENDER_VERSION = 1


Encode = Callable[[Sequence[str]], Sequence[NDArray[np.int32]]]


class Turns(NamedTuple):
    """A rendered conversation of M turns and T tokens.

    `input_ids` (int32) and `weights` (float32) are of length T; turn m ends before `ends[m]`, and the first
    turn begins at `head`, after what opens a conversation.
    """

    input_ids: NDArray[np.int32]
    weights: NDArray[np.float32]
    ends: NDArray[np.int64]
    head: int


class ChatTemplate:
    """A model type's layout over a tokenizer.

    Raises CheckpointError, naming the token, if the tokenizer lacks a special token of the layout.
    """

    def __init__(self, model_type: ModelType, tokenizer: ChatTokenizer) -> None:
        self.model_type = model_type
        self.tokenizer = tokenizer
        self.bos = tokenizer.bos_token if model_type.bos == AUTO else model_type.bos
        specials = [*([self.bos] if self.bos else []), model_type.eot, *model_type.special_tokens]
        missing = next((token for token in specials if token not in tokenizer.special_ids), None)
        if missing is not None:
            raise CheckpointError(
                f"the tokenizer has no special token {missing!r} (it has "
                f"{', '.join(map(repr, list(tokenizer.special_ids)[:8])) or 'none'}); "
                f"add it with `ochat-ray base OUTPUT --from MODEL_DIR model_type={model_type.name}`"
            )
        self.bos_ids = [tokenizer.special_ids[self.bos]] if self.bos else []
        self.eot_id = tokenizer.special_ids[model_type.eot]
        self._prefixes: dict[tuple[Role, str | None], NDArray[np.int32]] = {}

    @property
    def hash(self) -> str:
        """sha256 that changes whenever the layout does, hex. Carried from token file to served model."""
        facts = [RENDER_VERSION, self.model_type.fingerprint(), self.bos]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def prefix(self, role: Role, condition: str | None = None) -> str:
        """The text before a message of `role`. Raises RequestError for a condition that cannot be used."""
        kind = self.model_type
        text = {"system": kind.system_prefix, "user": kind.user_prefix, "assistant": kind.assistant_prefix}[
            role
        ]
        if condition is None:
            condition = kind.default_condition or ""
        elif not kind.conditioned:
            raise RequestError(
                f"condition {condition!r}: model type {kind.name} takes none; leave it out",
                param="condition",
            )
        hidden = next((token for token in self.tokenizer.special_ids if token in condition), None)
        if hidden is not None:
            raise RequestError(
                f"condition {condition!r} contains the special token {hidden!r}; use plain words",
                param="condition",
            )
        if not condition:
            text = text.replace(CONDITION + " ", "").replace(" " + CONDITION, "")
        return text.replace(CONDITION, condition)

    def prefix_array(self, role: Role, condition: str | None = None) -> NDArray[np.int32]:
        """Token ids of `prefix`."""
        key = (role, condition)
        if key not in self._prefixes:
            if len(self._prefixes) > 1000:  # conditions come with requests: do not grow without end
                self._prefixes.clear()
            text = self.prefix(role, condition)
            ids = self.tokenizer.encode_prefix(text, self.model_type.specials) if text else []
            self._prefixes[key] = np.array(ids, np.int32)
        return self._prefixes[key]

    def prefix_ids(self, role: Role, condition: str | None = None) -> list[int]:
        """Token ids of `prefix`, as a list."""
        ids: list[int] = self.prefix_array(role, condition).tolist()
        return ids

    def render_batch(
        self,
        conversations: Sequence[tuple[Sequence[Message], str | None]],
        encode: Encode | None = None,
    ) -> list[Turns]:
        """Many conversations (messages, condition) at once: loss on each assistant's text and its EOT.

        `encode` stands in for the tokenizer's own encoding of texts, and must yield the same ids.
        """
        texts = [message.content for messages, _ in conversations for message in messages]
        encoded = iter((encode or self.tokenizer.encode_arrays)(texts))
        bos, eot = np.array(self.bos_ids, np.int32), np.array([self.eot_id], np.int32)
        segments: list[NDArray[np.int32]] = []
        spans: list[tuple[int, float]] = []  # tokens, and the weight of each, repeated for the whole batch
        lengths: list[int] = []  # of all turns of all conversations
        for messages, condition in conversations:
            segments.append(bos)
            spans.append((len(bos), 0.0))
            for message in messages:
                prefix, text = self.prefix_array(message.role, condition), next(encoded)
                segments += (prefix, text, eot)
                weight = message.weight if message.role == "assistant" else 0.0
                spans += ((len(prefix), 0.0), (len(text) + 1, weight))
                lengths.append(len(prefix) + len(text) + 1)
        input_ids = np.concatenate(segments) if segments else np.zeros(0, np.int32)
        weights = np.repeat(
            np.array([weight for _, weight in spans], np.float32), [length for length, _ in spans]
        )
        rendered = []
        borders = np.cumsum([0, *lengths], dtype=np.int64)  # of turns, as if nothing opened conversations
        start = turn = 0
        for messages, _ in conversations:
            ends = borders[turn : turn + len(messages) + 1] - borders[turn] + len(bos)
            stop = start + int(ends[-1])
            rendered.append(Turns(input_ids[start:stop], weights[start:stop], ends[1:], len(bos)))
            start, turn = stop, turn + len(messages)
        return rendered

    def render_train(self, messages: Sequence[Message], condition: str | None = None) -> Rendered:
        """Ids and loss weights of a whole conversation: loss on each assistant's text and its EOT."""
        [turns] = self.render_batch([(messages, condition)])
        return Rendered(turns.input_ids.tolist(), turns.weights.tolist())

    def render_prompt(self, messages: Sequence[Message], condition: str | None = None) -> list[int]:
        """Ids of a conversation so far, ending in the bare assistant prefix."""
        return self.render_train(messages, condition).input_ids + self.prefix_ids("assistant", condition)

    def parse_reply(self, ids: Sequence[int]) -> Message:
        """The assistant's message in generated ids, with or without the closing EOT."""
        ids = list(ids)
        if self.eot_id in ids:
            ids = ids[: ids.index(self.eot_id)]
        return Message("assistant", self.tokenizer.decode(ids))

    def to_jinja(self) -> str:
        """The Jinja chat template for the exported folder, whose tokenizer heeds the segment marks."""
        firsts = sorted({token[0] for token in self.tokenizer.special_ids})
        escape = "".join(f"|replace({_literal(c)}, {_literal(c + ESCAPE)})" for c in firsts)
        kind = self.model_type
        lines = [
            "{%- set condition = (condition|default("
            + _literal(kind.default_condition or "")
            + ")|string)"
            + escape
            + " %}"
        ]
        prefixes = {
            "system": kind.system_prefix,
            "user": kind.user_prefix,
            "assistant": kind.assistant_prefix,
        }
        lines.append(
            "{%- set prefixes = {"
            + ", ".join(
                f"{_literal(role)}: {self._jinja_prefix(prefix)}" for role, prefix in prefixes.items()
            )
            + "} %}"
        )
        if self.bos:
            lines.append("{{- " + _literal(self.bos) + " }}")
        lines.append("{%- for message in messages %}")
        lines.append(
            "{%- if message['role'] not in prefixes %}"
            "{{- raise_exception('unknown role ' ~ message['role']) }}{%- endif %}"
        )
        lines.append(
            "{{- prefixes[message['role']] ~ (message['content']|string)"
            + escape
            + " ~ "
            + _literal(kind.eot)
            + " }}"
        )
        lines.append("{%- endfor %}")
        lines.append("{%- if add_generation_prompt %}{{- prefixes['assistant'] }}{%- endif %}")
        return "\n".join(lines)

    def _jinja_prefix(self, prefix: str) -> str:
        """A Jinja expression for a prefix and the segment mark after it."""
        if not prefix:
            return "''"
        if CONDITION not in prefix:
            return _literal(prefix + SEGMENT)
        bare = prefix.replace(CONDITION + " ", "").replace(" " + CONDITION, "").replace(CONDITION, "")
        before, after = prefix.split(CONDITION, 1)
        full = f"{_literal(before)} ~ condition ~ {_literal(after + SEGMENT)}"
        return f"(({full}) if condition else {_literal(bare + SEGMENT)})"


def _literal(text: str) -> str:
    """A Jinja string literal in plain ASCII."""
    return "'" + text.encode("unicode_escape").decode("ascii").replace("'", "\\'") + "'"
