"""Which conversations are turned away, and why: pure functions that give a reason, or None to keep."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from ochat_ray.config import FilterConfig
from ochat_ray.conversation import Conversation
from ochat_ray.data.filters.basic import empty_answer, roles_do_not_alternate, wrong_length
from ochat_ray.data.filters.contamination import Questions, contaminated
from ochat_ray.data.filters.language import language_not_wanted, language_of
from ochat_ray.data.filters.personal import masked, personal_data
from ochat_ray.data.filters.reason import Reason
from ochat_ray.data.filters.repetition import degenerate
from ochat_ray.data.filters.unfinished import breaks_off
from ochat_ray.data.filters.words import blocked_word

__all__ = ["Judged", "Questions", "Reason", "judge"]


class Judged(NamedTuple):
    """A conversation with its language, masked where that is wanted; and why it is turned away, if it is."""

    conversation: Conversation
    reason: Reason | None


def judge(said: Conversation, config: FilterConfig, questions: Questions) -> Judged:
    """The first fault of a conversation, of all that can be told from itself alone.

    Models are not looked at: copies of a text may be labelled with several. Masking comes first, so that
    neither the messages of a reject nor what is said of them hold what is masked.
    """
    messages = said.messages
    if config.personal_data.action == "mask":
        messages = masked(messages, config.personal_data)
    conversation = replace(said, messages=messages)
    reason = (
        wrong_length(messages, config.length) or roles_do_not_alternate(messages) or empty_answer(messages)
    )
    if reason is not None:
        return Judged(conversation, reason)
    language = language_of(messages, config.languages)
    reason = (
        blocked_word(messages, config.blocked_words)
        or language_not_wanted(language, config.languages)
        or degenerate(messages, config.repetition)
        or (breaks_off(messages) if config.unfinished else None)
        or personal_data(messages, config.personal_data)
        or contaminated(said.messages, questions)  # a question may hold an address itself
    )
    return Judged(replace(conversation, language=language), reason)
