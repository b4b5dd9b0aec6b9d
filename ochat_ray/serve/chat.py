"""Chat completions over a model: messages to token ids, text to OpenAI's answers. No Ray, no HTTP."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from ochat_ray.errors import RequestError
from ochat_ray.serve.account import Account
from ochat_ray.serve.engine.limits import check_prompt
from ochat_ray.serve.engine.request import Generation
from ochat_ray.serve.models import ServedModel
from ochat_ray.serve.protocol.chat import Answer, ChatMessage, ChatRequest, choice_body
from ochat_ray.serve.protocol.common import Sampled, usage_of
from ochat_ray.serve.replies import Piece, replies
from ochat_ray.serve.tools import Call, CallParser, call_schema, parse_call, to_messages
from ochat_ray.template import ChatTemplate

LONG = 20_000  # characters; the event loop does not wait for the tokenizer's work on more
TEMPERATURE = 0.7  # OpenChat's default


async def answer(model: ServedModel, request: ChatRequest, account: Account) -> dict[str, Any]:
    """The whole answer. Raises RequestError, and what the backend raises."""
    asked = await _generations(model, request, hold=not request.stop)
    choices = [_Choice(request, model.template) for _ in asked]
    contents: list[list[str]] = [[] for _ in asked]
    calls: list[list[dict[str, Any]]] = [[] for _ in asked]
    logprobs: list[list[dict[str, Any]]] = [[] for _ in asked]
    account.begin(model.name, len(asked[0].prompt_ids), choices=len(asked))
    async with aclosing(replies(model, asked, request.stop or [], whole=True)) as pieces:
        async for piece in pieces:
            account.add(piece)
            for part in choices[piece.index].parts(piece):
                if isinstance(part, Call):
                    calls[piece.index].append(part.body())
                else:
                    contents[piece.index].append(part)
            logprobs[piece.index] += _logprobs(model, piece)
    bodies = [
        choice_body(
            index,
            "".join(contents[index]) or (None if calls[index] else ""),
            calls[index],
            choice.reason,
            logprobs[index] if request.logprobs else None,
        )
        for index, choice in enumerate(choices)
    ]
    return _new_answer(request).whole(bodies, usage_of(*account.tokens))


async def stream(
    model: ServedModel, request: ChatRequest, account: Account
) -> AsyncGenerator[dict[str, Any], None]:
    """The answer in chunks. Nothing comes before the first token, so errors until then are plain."""
    asked = await _generations(model, request, hold=False)
    choices = [_Choice(request, model.template) for _ in asked]
    body = _new_answer(request)
    extra: dict[str, Any] = {"usage": None} if request.counts_usage else {}
    opened: set[int] = set()
    account.begin(model.name, len(asked[0].prompt_ids), choices=len(asked))
    async with aclosing(replies(model, asked, request.stop or [], whole=False)) as pieces:
        async for piece in pieces:
            account.add(piece)
            choice = choices[piece.index]
            if piece.index not in opened:
                opened.add(piece.index)
                yield {**body.chunk(piece.index, {"role": "assistant", "content": ""}), **extra}
            # Log-probabilities go with the first chunk of a piece, or with one of their own.
            logprobs = _logprobs(model, piece) if request.logprobs else None
            for delta in choice.deltas(piece):
                yield {**body.chunk(piece.index, delta, logprobs=logprobs), **extra}
                logprobs = None
            if logprobs:
                yield {**body.chunk(piece.index, {"content": ""}, logprobs=logprobs), **extra}
            if piece.finish_reason is not None:
                yield {**body.chunk(piece.index, {}, reason=choice.reason), **extra}
    if request.counts_usage:
        yield body.usage(usage_of(*account.tokens))


async def prompt_ids(
    template: ChatTemplate,
    messages: Sequence[ChatMessage],
    condition: str | None = None,
    request: ChatRequest | None = None,
) -> list[int]:
    """Ids of a prompt. Raises RequestError for a condition that the model type does not take."""
    tools = request.offered if request is not None else ()
    rendered = to_messages(messages, tools, template.model_type.tools)
    if sum(len(message.content) for message in rendered) > LONG:
        return await asyncio.to_thread(template.render_prompt, rendered, condition)
    return template.render_prompt(rendered, condition)


def check_bias(request: Sampled, model: ServedModel) -> None:
    """Raises RequestError for a token id that the model does not have."""
    size = model.template.tokenizer.vocab_size
    for name, ids in (("logit_bias", request.logit_bias), ("stop_token_ids", request.stop_token_ids)):
        bad = next((i for i in ids or () if not 0 <= i < size), None)
        if bad is not None:
            raise RequestError(f"{name}: there is no token {bad}; ids go from 0 to {size - 1}", param=name)


async def _generations(model: ServedModel, request: ChatRequest, *, hold: bool) -> list[Generation]:
    check_bias(request, model)
    ids = await prompt_ids(model.template, request.messages, request.condition, request)
    if request.must_call:  # the reply begins with a call, and can be nothing else
        ids += model.template.tokenizer.encode(model.template.model_type.tools.call_open)
    check_prompt(len(ids), model.longest)
    sampling = request.sampling(temperature=TEMPERATURE)
    schema = call_schema(request.must_call) if request.must_call else request.schema_text
    one = Generation(
        ids,
        max_tokens=request.max_completion_tokens or request.max_tokens,
        min_tokens=request.min_tokens or 0,
        stop_ids=frozenset(request.stop_token_ids or ()),
        sampling=sampling,
        logprobs=(request.top_logprobs or 0) if request.logprobs else None,
        json_schema=schema,
        hold=hold,
        template=model.rendered_by,
    )
    return [replace(one, sampling=replace(sampling, choice=n)) for n in range(request.n or 1)]


@dataclass
class _Choice:
    """What a reply has come to: text, or calls where tools were offered."""

    request: ChatRequest
    template: ChatTemplate
    reason: str = ""
    calls: int = 0
    _forced: list[str] = field(default_factory=list)
    _parser: CallParser | None = None

    def __post_init__(self) -> None:
        if self.request.offered:
            self._parser = CallParser(self.template.model_type.tools)

    def parts(self, piece: Piece) -> Iterator[str | Call]:
        """Text and calls that a piece completes."""
        for part in self._parts(piece):
            if not isinstance(part, Call):
                yield part
            elif self.calls == 0 or self.request.parallel_tool_calls is not False:
                self.calls += 1
                yield part
        if piece.finish_reason is not None:
            stopped = self.calls and piece.finish_reason == "stop"
            self.reason = "tool_calls" if stopped else piece.finish_reason

    def deltas(self, piece: Piece) -> Iterator[dict[str, Any]]:
        """The same as deltas of a stream."""
        for part in self.parts(piece):
            if isinstance(part, Call):
                yield {"tool_calls": [{"index": self.calls - 1, **part.body()}]}
            else:
                yield {"content": part}

    def _parts(self, piece: Piece) -> Iterator[str | Call]:
        if self.request.must_call:
            self._forced.append(piece.text)
            if piece.finish_reason is not None:
                text = "".join(self._forced)
                yield parse_call(text) or text
        elif self._parser is None:
            if piece.text:
                yield piece.text
        else:
            yield from self._parser.push(piece.text)
            if piece.finish_reason is not None:
                yield from self._parser.flush()


def _logprobs(model: ServedModel, piece: Piece) -> list[dict[str, Any]]:
    return [model.token_text.chat_logprob(token_id, logprob) for token_id, logprob in piece.logprobs]


def _new_answer(request: ChatRequest) -> Answer:
    return Answer(f"chatcmpl-{uuid.uuid4().hex}", int(time.time()), request.model)
