"""Which conversations are turned away, each reason switched and set by itself."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from ochat_ray.strict import StrictModel

PersonalKind = Literal["email", "phone", "card", "iban", "key", "ip"]

UNDETERMINED = "und"
# What fastText's lid.176 can say: ISO 639-1 where there is such a code, else ISO 639-3.
_CODES = """
    af als am an ar arz as ast av az azb ba bar bcl be bg bh bn bo bpy br bs bxr ca cbk ce ceb ckb
    co cs cv cy da de diq dsb dty dv el eml en eo es et eu fa fi fr frr fy ga gd gl gn gom gu gv he
    hi hif hr hsb ht hu hy ia id ie ilo io is it ja jbo jv ka kk km kn ko krc ku kv kw ky la lb lez
    li lmo lo lrc lt lv mai mg mhr min mk ml mn mr mrj ms mt mwl my myv mzn nah nap nds ne new nl nn
    no oc or os pa pam pfl pl pms pnb ps pt qu rm ro ru rue sa sah sc scn sco sd sh si sk sl so sq
    sr su sv sw ta te tg th tk tl tr tt tyv ug uk ur uz vec vep vi vls vo wa war wuu xal xmf yi yo
    yue zh
"""
LANGUAGES = frozenset(_CODES.split())


class BlockedWordsConfig(StrictModel):
    """Words that no message may contain."""

    words: tuple[str, ...] = ("openai",)
    """Whole words, in any case; empty for none."""
    in_code: bool = False
    """Whether words in fenced code count too."""


class LengthConfig(StrictModel):
    """How much a conversation must and may hold, after repair; the system message does not count."""

    min_messages: int = Field(2, ge=1)
    """Fewest messages."""
    max_messages: int | None = Field(None, ge=1)
    """Most messages; null for any number."""
    min_answer_chars: int = Field(0, ge=0)
    """Fewest characters of all answers together."""
    max_chars: int | None = Field(None, gt=0)
    """Most characters of all messages together; null for any number."""


class LanguageConfig(StrictModel):
    """Natural languages, told by fastText's model lid.176, which comes with the installation."""

    keep: tuple[str, ...] = ()
    """Codes to keep, e.g. [en, de]; empty keeps all. `und` is text in no language for sure, as bare code."""
    min_confidence: float = Field(0.3, ge=0, le=1)
    """A guess that is less sure than this, or holds for less of the text, makes the language `und`."""

    @field_validator("keep")
    @classmethod
    def _are_codes(cls, keep: tuple[str, ...]) -> tuple[str, ...]:
        for code in keep:
            if code not in LANGUAGES and code != UNDETERMINED:
                raise ValueError(
                    f"{code!r} is no code that the model gives; use ISO 639-1 codes such as en, zh and pt"
                )
        return keep


class RepetitionConfig(StrictModel):
    """Answers that go round in circles, by measures after Gopher (Rae et al. 2021, table A1).

    Gopher's own limits are for web pages: they turn away songs, lists and tables made from one template.
    """

    enabled: bool = False
    """Whether such conversations are turned away."""
    max_line_share: float = Field(0.6, gt=0, le=1)
    """Largest share of an answer's lines that an earlier line already said."""
    max_ngram_share: float = Field(0.4, gt=0, le=1)
    """Largest share of an answer's characters in its most frequent n-gram of 2 to 4 words."""
    max_repeated_share: float = Field(0.4, gt=0, le=1)
    """Largest share of an answer's characters in passages of 40 words that occurred before."""
    min_words: int = Field(50, ge=1)
    """Answers with fewer words are not judged."""


class PersonalDataConfig(StrictModel):
    """Addresses and numbers that belong to people, and keys that open things."""

    action: Literal["keep", "mask", "drop"] = "keep"
    """`mask` puts `[EMAIL]` and the like in their place, also in what is turned away for another reason, but
    not in the bytes of documents that nobody could read; `drop` turns the conversation away, as it is."""
    kinds: tuple[PersonalKind, ...] = ("email", "phone", "card", "iban", "key", "ip")
    """What is looked for. What examples use is nobody's and left alone: placeholder people and addresses at
    example domains, test card numbers, IBANs of documentation, 555 numbers and those kept for drama, public
    name servers, keys such as `AKIA...EXAMPLE`."""


class DecontaminationConfig(StrictModel):
    """Questions of benchmarks, which a model that will be evaluated must not have seen."""

    files: tuple[str, ...] = ()
    """Files of questions: JSON Lines or JSON with `text`, `turns`, `instruction`, `question` or `prompt`."""
    ngram: int = Field(13, ge=3)
    """Words in a row that a message may not share with a question; shorter ones may not be shared whole."""
    min_words: int = Field(8, ge=1)
    """Questions with fewer words are not looked for: they are anybody's."""


class FilterConfig(StrictModel):
    """Reasons to turn a conversation away, in the order in which they are looked for."""

    length: LengthConfig = LengthConfig()
    """Too little, or too much."""
    blocked_words: BlockedWordsConfig = BlockedWordsConfig()
    """Words that give away whose answers they are."""
    languages: LanguageConfig = LanguageConfig()
    """Languages that are wanted."""
    repetition: RepetitionConfig = RepetitionConfig()
    """Degenerate answers."""
    unfinished: bool = False
    """Turn away conversations whose last answer breaks off: an open fence, or a sentence without its end."""
    personal_data: PersonalDataConfig = PersonalDataConfig()
    """Personal data."""
    decontamination: DecontaminationConfig = DecontaminationConfig()
    """Questions of benchmarks."""
    models: tuple[str, ...] = ("Model: GPT-4",)
    """Keep conversations answered by these models, as the source labels them; `*` and `?` stand for any
    text and letter. Empty keeps all. Looked at after copies were found, so that the best copy counts."""
