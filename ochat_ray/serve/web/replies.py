"""What the chat page's server side answers to its events."""

from __future__ import annotations

import asyncio
import html
import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from time import monotonic
from typing import Any

import gradio as gr

from ochat_ray.config.web import ChatPageConfig
from ochat_ray.errors import DataError
from ochat_ray.serve.web.endpoint import Endpoint, EndpointError
from ochat_ray.serve.web.feedback import append, record
from ochat_ray.serve.web.texts import language_of, text
from ochat_ray.serve.web.turns import Turn, request_messages, turns_of, value_of

log = logging.getLogger("ray.serve")
SHOW_EVERY_S = 0.05  # each showing costs the whole conversation once
MAX_STOPS = 4
Shown = tuple[Any, ...]  # for the chat, the text box, the error, and the buttons to send and to stop


class Replies:
    """Handlers over an endpoint; `names` are the request's options in the order of an event's last values.

    Gradio fills in `request` and `data` by their types; components follow in the order of an event's inputs.
    """

    def __init__(self, endpoint: Endpoint, config: ChatPageConfig, names: Sequence[str]) -> None:
        self._endpoint = endpoint
        self._feedback = Path(config.feedback) if config.feedback else None
        self._names = names

    async def models(self, request: gr.Request, key: str, model: str | None) -> tuple[Any, Any, Any]:
        """The models that a key may ask, and their conditions; the one chosen stays if it is among them."""
        try:
            found = await self._endpoint.models(key, _language(request))
        except EndpointError as error:
            return gr.skip(), gr.skip(), _told(str(error))
        names = [one.name for one in found]
        conditions = dict.fromkeys(name for one in found for name in one.conditions)
        chosen = model if model in names else next(iter(names), None)
        return gr.update(choices=names, value=chosen), gr.update(choices=list(conditions)), gr.skip()

    async def ask(
        self, request: gr.Request, chat: list[Any], key: str, model: str | None, *options: Any
    ) -> AsyncGenerator[Shown, None]:
        """Answer the last question."""
        turns = turns_of(chat)
        if turns and turns[-1].role == "user":
            async for shown in self._stream(turns, turns[:-1], key, model, options, request):
                yield shown

    async def retry(
        self,
        request: gr.Request,
        data: gr.RetryData,
        chat: list[Any],
        key: str,
        model: str | None,
        *options: Any,
    ) -> AsyncGenerator[Shown, None]:
        """Answer a question once more; the old answer comes back if that fails."""
        turns = turns_of(chat)
        async for shown in self._stream(turns[: _at(data.index) + 1], turns, key, model, options, request):
            yield shown

    async def edit(
        self,
        request: gr.Request,
        data: gr.EditData,
        chat: list[Any],
        key: str,
        model: str | None,
        *options: Any,
    ) -> AsyncGenerator[Shown, None]:
        """Answer another question in place of an earlier one, and drop what came after it."""
        turns, at = turns_of(chat), _at(data.index)
        before = [*turns[:at], Turn("user", data.previous_value), *turns[at + 1 :]]
        edited = [*turns[:at], Turn("user", data.value)]
        async for shown in self._stream(edited, before, key, model, options, request):
            yield shown

    async def judge(
        self,
        request: gr.Request,
        data: gr.LikeData,
        chat: list[Any],
        conversation: str | None,
        key: str,
        model: str | None,
        *options: Any,
    ) -> Any:
        """Write down what the visitor thinks of an answer; their key must be good, as files have an end."""
        language = _language(request)
        if self._feedback is None or not isinstance(data.liked, bool):
            return gr.skip()
        asked = dict(zip(self._names, options, strict=True))
        turns, shift = turns_of(chat), 0
        if (asked["system"] or "").strip():
            turns, shift = [Turn("system", asked["system"]), *turns], 1
        line = record(
            turns,
            _at(data.index) + shift,
            data.liked,
            conversation=conversation or "chat",
            model=model or "",
            condition=asked["condition"] or "",
        )
        try:
            await self._endpoint.models(key, language)
            await asyncio.to_thread(append, self._feedback, line)
        except EndpointError as error:
            return _told(str(error))
        except DataError:
            return _told(text("too_long", language))
        except OSError as error:
            log.error("feedback was not kept: %s", error)
            return _told(text("not_kept", language))
        gr.Info(text("thanks", language), duration=3)
        return _told("")

    async def _stream(
        self,
        turns: list[Turn],
        before: list[Turn],
        key: str,
        model: str | None,
        options: Sequence[Any],
        request: gr.Request,
    ) -> AsyncGenerator[Shown, None]:
        """The conversation as its answer grows, `before` if there is none."""
        language = _language(request)
        yield value_of(turns), gr.skip(), _told(""), gr.update(visible=False), gr.update(visible=True)
        asked = dict(zip(self._names, options, strict=True))
        answer, error, shown_at = "", "", 0.0
        try:
            # A quick visitor asks before the page knows its models.
            names = [model] if model else [one.name for one in await self._endpoint.models(key, language)]
            if not names:
                raise EndpointError(text("no_model", language))
            messages = request_messages(turns, asked["system"] or "")
            pieces = self._endpoint.answer(key, names[0], messages, _parameters(asked), language)
            async with aclosing(pieces):
                async for piece in pieces:
                    answer += piece
                    if monotonic() - shown_at > SHOW_EVERY_S:
                        shown_at = monotonic()
                        yield value_of([*turns, Turn("assistant", answer)]), *[gr.skip()] * 4
        except EndpointError as failed:
            error = str(failed)
        done = [*turns, Turn("assistant", answer)] if answer else before
        question = turns[-1].content if not answer and len(before) < len(turns) else gr.skip()
        yield value_of(done), question, _told(error), gr.update(visible=True), gr.update(visible=False)


def _parameters(asked: dict[str, Any]) -> dict[str, Any]:
    """Parameters of a request; what is empty is left out, for the endpoint's default."""
    found = {name: value for name, value in asked.items() if name != "system" and value not in (None, "")}
    if "stop" in found:
        found["stop"] = [line for line in found["stop"].splitlines() if line][:MAX_STOPS]
    for name in ("presence_penalty", "frequency_penalty"):
        if not found.get(name):
            found.pop(name, None)  # other endpoints may not know them
    return found


def _language(request: gr.Request) -> str:
    return language_of(request.headers.get("accept-language") or "")


def _told(error: str) -> Any:
    return gr.update(value=f'<p role="alert">{html.escape(error)}</p>' if error else "", visible=bool(error))


def _at(index: int | tuple[int, int]) -> int:
    return index if isinstance(index, int) else index[0]
