"""Tools as text: messages that offer them, and calls parsed back from a reply.

The convention is the model type's (`model_types.ToolConvention`).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ochat_ray.conversation import Message, Role
from ochat_ray.model_types import ToolConvention
from ochat_ray.serve.engine.detokenize import overlap
from ochat_ray.serve.protocol.chat import ChatMessage, Tool


class Call(NamedTuple):
    """A call that a reply makes; `arguments` is JSON, as text."""

    name: str
    arguments: str

    def body(self) -> dict[str, Any]:
        """OpenAI's shape, with an id of its own."""
        function = {"name": self.name, "arguments": self.arguments}
        return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


def to_messages(
    asked: Sequence[ChatMessage], tools: Sequence[Tool], convention: ToolConvention
) -> list[Message]:
    """The messages that templates render: developer messages are system messages; calls, results
    and names are text."""
    messages: list[Message] = []
    after_result = False
    for message in asked:
        role: Role
        content = message.content or ""
        if message.role == "tool":
            role, content = "user", f"{convention.result_open}{content}{convention.result_close}"
            if after_result:  # of calls that were made together
                content = f"{messages.pop().content}\n{content}"
        elif message.role == "developer":
            role = "system"
        else:
            role = message.role
        if message.name is not None:
            content = f"{message.name}: {content}" if content else f"{message.name}:"
        calls = [_call_text(call.function.name, call.function.arguments) for call in message.tool_calls or ()]
        written = [f"{convention.call_open}{call}{convention.call_close}" for call in calls]
        after_result = message.role == "tool"
        messages.append(Message(role, "\n".join([content, *written] if content else written or [content])))
    if tools:
        lines = "\n".join(
            json.dumps(tool.model_dump(exclude_none=True), ensure_ascii=False) for tool in tools
        )
        offer = convention.system.replace("{tools}", lines)
        if messages[0].role == "system":
            messages[0] = Message("system", f"{messages[0].content}\n\n{offer}")
        else:
            messages.insert(0, Message("system", offer))
    return messages


def call_schema(tools: Sequence[Tool]) -> str:
    """A JSON Schema of a call of one of the tools."""
    calls = {}
    for number, tool in enumerate(tools):
        name = f"call{number}"
        parameters = tool.function.parameters or {"type": "object"}
        calls[name] = {
            "type": "object",
            "properties": {
                "name": {"const": tool.function.name},
                "arguments": _moved(parameters, f"#/$defs/{name}/properties/arguments"),
            },
            "required": ["name", "arguments"],
            "additionalProperties": False,
        }
    return json.dumps({"anyOf": [{"$ref": f"#/$defs/{name}"} for name in calls], "$defs": calls})


def parse_call(text: str) -> Call | None:
    """The call that a JSON object makes, or None where it is none."""
    try:
        call = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or not isinstance(call.get("name"), str):
        return None
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        return Call(call["name"], arguments)
    return Call(call["name"], json.dumps(arguments, ensure_ascii=False))


class CallParser:
    """Splits a growing reply into text and calls. What is no valid call stays text."""

    def __init__(self, convention: ToolConvention) -> None:
        self._open = convention.call_open
        self._close = convention.call_close
        self._held = ""
        self._inside = False

    def push(self, text: str) -> Iterator[str | Call]:
        """What is certain once `text` has been added."""
        self._held += text
        while True:
            if self._inside:
                inner, closed, rest = self._held.partition(self._close)
                if not closed:
                    return
                yield parse_call(inner) or f"{self._open}{inner}{self._close}"
                self._inside, self._held = False, rest
            before, opened, rest = self._held.partition(self._open)
            if not opened:
                sure = len(before) - overlap(before, self._open)
                if sure:
                    yield before[:sure]
                self._held = before[sure:]
                return
            if before:
                yield before
            self._inside, self._held = True, rest

    def flush(self) -> Iterator[str | Call]:
        """What was held back, at the end: a call that was complete but not closed counts."""
        held, self._held = self._held, ""
        if self._inside:
            yield parse_call(held) or f"{self._open}{held}"
        elif held:
            yield held


def _call_text(name: str, arguments: str) -> str:
    try:
        return json.dumps({"name": name, "arguments": json.loads(arguments)}, ensure_ascii=False)
    except (ValueError, RecursionError):
        return json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)


def _refuse(constant: str) -> None:
    """NaN and Infinity are no JSON."""
    raise ValueError(constant)


def _moved(schema: Any, place: str) -> Any:
    """A schema that became part of another at `place`: what it refers to has moved with it."""
    if isinstance(schema, list):
        return [_moved(one, place) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: f"{place}{value[1:]}"
        if name == "$ref" and isinstance(value, str) and value.startswith("#")
        else _moved(value, place)
        for name, value in schema.items()
    }
