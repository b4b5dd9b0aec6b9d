"""Names for people: of languages in English by ISO 639 code, of models, of topics."""

from __future__ import annotations

import unicodedata

_NAMES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "ca": "Catalan",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fr": "French",
    "gl": "Galician",
    "gu": "Gujarati",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "kn": "Kannada",
    "ko": "Korean",
    "la": "Latin",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mr": "Marathi",
    "ms": "Malay",
    "nl": "Dutch",
    "no": "Norwegian",
    "pa": "Punjabi",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sq": "Albanian",
    "sr": "Serbian",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "th": "Thai",
    "tl": "Tagalog",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "vi": "Vietnamese",
    "zh": "Chinese",
}


def language_name(code: str | None) -> str:
    """`German (de)`; the bare code where the name is not known; what `und` and None mean."""
    if code is None:
        return "not looked at"
    if code == "und":
        return "no language (und)"
    return f"{_NAMES[code]} ({code})" if code in _NAMES else code


def model_name(label: str | None) -> str:
    """The label of a model as its source gives it."""
    return "not stated" if label is None else label or "(empty label)"


def topic_name(words: str) -> str:
    """A topic's words, joined by commas that keep their place beside words that are read from the right."""
    return ", ".join(map(_isolated, words.split(", "))) or "(unnamed)"


def _isolated(word: str) -> str:
    """A word between marks that keep its direction to itself, where that is from the right."""
    from_right = any(unicodedata.bidirectional(char) in ("R", "AL") for char in word)
    return f"\u2068{word}\u2069" if from_right else word
