"""Every reason for which something is turned away: the step that finds it, and what it means."""

from __future__ import annotations

READ = {
    "unreadable": "The file cannot be opened or read.",
    "damaged": "A file or a part of it breaks off or is damaged; what else is in it was read.",
    "too_large": "The document is larger than any conversation.",
    "unsafe_member": "A member of an archive is a link, or its path leads out of it.",
    "nested": "An archive or table inside an archive.",
    "not_text": "The bytes are not UTF-8 text.",
    "no_data": "The file holds no data: a failed save, another page, or nothing at all.",
    "bad_json": "The data is not valid JSON.",
    "no_content": "The page's data holds no conversation: it was not found, or not saved.",
    "unknown_record": "The record holds no list of turns.",
    "bad_item": "A turn has an unknown role, or something else than text.",
    "error": "Our own mistake; the detail names the place in the code.",
}
FILTERED = {
    "too_short": "Too few messages or characters.",
    "too_long": "Too many messages or characters.",
    "roles": "Two turns in a row by one side, or a system message inside.",
    "empty_answer": "An answer without any text.",
    "blocked_word": "A blocked word.",
    "language": "In a language that is not wanted.",
    "repetition": "An answer goes round in circles.",
    "unfinished": "The last answer breaks off.",
    "personal_data": "Personal data.",
    "contaminated": "A question of a benchmark, or part of one.",
}
COPIES = {
    "duplicate": "The same text as another conversation, which stands for both.",
    "near_duplicate": "Nearly the same text as another conversation, which stands for both.",
}
MODELS = {"model": "Answered by a model that is not wanted."}
TOKENS = {
    "nothing_to_learn": "No token of an answer within the context.",
    "bad_condition": "A condition that holds a special token.",
    "over_context": "Longer than the context, where such conversations are dropped.",
}
# What is left after each step, and the reasons for which it turns away. From read to kept.
STEPS: tuple[tuple[str, dict[str, str]], ...] = (
    ("understood", READ),
    ("passed the filters", FILTERED),
    ("distinct", COPIES),
    ("by a wanted model", MODELS),
    ("kept", TOKENS),
)
MEANINGS = {reason: meaning for _, reasons in STEPS for reason, meaning in reasons.items()}
