"""Conversations to token rows, by the one renderer."""

from __future__ import annotations

from typing import NamedTuple

from ochat_ray.conversation import Conversation, Rendered
from ochat_ray.data.filters import Reason
from ochat_ray.template import ChatTemplate


class TokenRow(NamedTuple):
    """A rendered conversation, and whether it was cut."""

    rendered: Rendered
    truncated: bool


def tokenize(conversation: Conversation, template: ChatTemplate, max_tokens: int) -> TokenRow | Reason:
    """The token row of a conversation, cut at `max_tokens`; a reason if nothing in it bears loss."""
    rendered = template.render_train(conversation.messages, conversation.condition)
    length = len(rendered.input_ids)
    if length > max_tokens:
        rendered = Rendered(rendered.input_ids[:max_tokens], rendered.weights[:max_tokens])
    if not any(rendered.weights):
        return Reason(
            "nothing_to_learn", f"no text of an assistant in the first {max_tokens:,} of {length:,} tokens"
        )
    return TokenRow(rendered, length > max_tokens)
