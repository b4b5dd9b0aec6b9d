"""Addresses and numbers that belong to people, and keys that open things.

Each kind is found by its shape and confirmed by what it must be: digits that add up, a number that is
assigned, an address on the internet. What examples use is nobody's and left alone: example.com, 555 numbers,
test cards, name servers. A phone number must begin with `+`, be written the North American way, or be called
a phone number, for else nothing tells it from any other number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import ip_address
from itertools import chain
from typing import NamedTuple

import phonenumbers
from stdnum import iban, luhn

from ochat_ray.config.filters import PersonalDataConfig, PersonalKind
from ochat_ray.conversation import Message
from ochat_ray.data.filters.reason import Reason

Spans = Iterator[tuple[int, int]]

# Patterns take one character of a kind and then look behind it: half the time of looking behind each
# character. All parts are bounded, so that long runs of letters or digits cost no more than others. ASCII
# alone is a letter, so that Chinese right beside a number does not hide it.
EMAIL = re.compile(
    r"(?<![A-Za-z0-9.%+-])[A-Za-z0-9][A-Za-z0-9_.%+-]{0,63}"
    r"@(?:[A-Za-z0-9-]{1,63}\.){1,8}(?:[A-Za-z]{2,24}(?![A-Za-z0-9(])"
    r"|(?:[A-Za-z]{2}|(?i:com|org|net|edu|gov|info))(?=\())"  # a remark follows; else a call, `q@k.mean()`
)
NOBODYS_EMAIL = re.compile(
    r"(?:git|this|super|return|break|continue|user(?:name)?\d*|name|test\d*|example.*|your.*|some(?:one|body)"
    r"|no-?reply|(?:john|jane)[._]?(?:doe|smith)\d*|first[._]?(?:name)?[._]?last[._]?(?:name)?)@.*"
    r"|.*[@.](?:example\d?\.[a-z]+|example|test|invalid|local|localhost|internal|\d(?:\.\d)?x\.[a-z]+"
    r"|(?:e?-?mailaddress|address|contoso|acme|abc|xyz|foo|bar|(?:(?:your|my)-?)?(?:company|domain|host"
    r"|provider|sample|server|site|website)|(?:your|my)-?(?:app|blog|business|e?-?mail|name|org|school|shop))"
    r"\.(?:com|org|net|edu|io|co))",
    re.IGNORECASE,
)
KEY = re.compile(
    r"(?<![A-Za-z0-9])(?:A[KS]IA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,}|glpat-[\w-]{20,}"
    r"|sk-[A-Za-z0-9]{32,}|sk-(?:proj|svcacct|admin|or-v1|ant-[a-z]+\d\d)-[\w-]{32,}|AIza[\w-]{35}"
    r"|GOCSPX-[\w-]{20,}|hf_[A-Za-z0-9]{30,}|xox[abeoprs]-[\w-]{20,}|[rs]k_live_[A-Za-z0-9]{16,}"
    r"|SG\.[\w-]{22}\.[\w-]{43}|npm_[A-Za-z0-9]{36}|eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{16,})"
    r"|-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,9}-----(?:(?:\s|\\n){1,40}[A-Za-z0-9+/=]{32,})+"
    r"(?:(?:\s|\\n){1,40}[A-Za-z0-9+/=]{0,99}(?:\s|\\n){0,40}-----END [A-Z0-9 ]{11,60}-----)?",
    re.ASCII,
)
KEY_STARTS = (
    *("AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "sk-", "AIza"),
    *("GOCSPX-", "hf_", "xox", "k_live_", "SG.", "npm_", "eyJ", "PRIVATE KEY"),
)
NOBODYS_KEY = re.compile(r"your|example|placeholder|redacted|x{5}|1234567|abcdefg|(.)\1{7}", re.IGNORECASE)
IBAN = re.compile(
    r"[A-Z](?<![A-Za-z0-9].)[A-Z]\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])",
    re.ASCII,
)
NOBODYS_IBAN = re.compile(r"DE89370400440532013000|GB29NWBK60161331926819|GB82WEST12345698765432")
CARD = re.compile(
    r"[2-6](?<![\w.+-].)(?<!\d[ -].)\d{3}([ -]?)(?:\d{4}\1\d{4}\1\d{4}|\d{6}\1\d{4,5})(?![\w-]|[ .]\d)",
    re.ASCII,
)
# Visa, Mastercard, JCB, UnionPay and Discover; American Express; Diners Club.
ISSUED = re.compile(r"(?=\d{16}$)(?:4|5[1-5]|2[2-7]|35|62|6011|6[45])\d+|3[47]\d{13}|3[068]\d{12}")
NOBODYS_CARD = re.compile(  # test numbers in the documentation of Stripe and PayPal
    r"4242424242424242|4111111111111111|4012888888881881|4000056655665556|40000000000\d{5}|378282246310005"
    r"|371449635398431|5555555555554444|5105105105105100|2223003122003222|6011111111111117|6011000990139424"
    r"|3530111333300000|3566002020360505|30569309025904|38520000023237"
)
IPV4_MIDDLE = re.compile(r"\.\d{1,3}\.\d{1,3}\.")
IPV4 = re.compile(r"\d(?<![\w.-].)(?<![A-Za-z]/.)\d{0,2}(?:\.\d{1,3}){3}(?![\w-]|[./]\d)", re.ASCII)
IPV6_MIDDLE = re.compile(r":[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{0,4}:")
IPV6 = re.compile(
    r"[23](?<![\w:.].)[0-9A-Fa-f]{3}:(?:[0-9A-Fa-f]{0,4}:){2,6}[0-9A-Fa-f]{1,4}(?![\w:/])", re.ASCII
)
NOBODYS_IP = re.compile(r"75\.75\.7\d\.7\d|208\.67\.22\d\.22\d|2001:4860:4860::88.*|2606:4700:4700::1.*")
VERSION = re.compile(r"(?:\bv|version|release|build)[ :=.]*\Z", re.IGNORECASE)
PHONE = re.compile(
    r"\+(?<![\w+./-].)(?:[ .()/-]{0,2}\d){7,15}(?![\w-]|[./]\d)"
    r"|[(\d](?<![\w+./-].)(?:[ ()-]{0,2}\d){7,12}(?![\w-]|[./]\d)|\d(?<![\w+./-].)\d\d\.\d{3}\.\d{4}(?!\w)",
    re.ASCII,
)
AMERICAN = re.compile(r"(?:1[ .-])?(?:\(\d{3}\) ?\d{3}[ .-]|\d{3}-\d{3}-|\d{3}\.\d{3}\.)\d{4}")
CALLED_PHONE = re.compile(
    r"(?:phone|mobile|whats ?app|\b(?:tel|cell|fax)|telefon[eo]?|tel[e\u00e9]fono"
    r"|\u624b\u673a\u53f7?|\u7535\u8bdd|\u96fb\u8a71|\uc804\ud654)"
    r"(?: (?:number|no\.?))?[*_`\"'|]{0,3}(?:[ :=.\uff1a]|is)*[*_`\"'| ]{0,3}\Z",
    re.IGNORECASE,
)
# 555 in North America, what Ofcom keeps for drama, and counting fingers.
NOBODYS_PHONE = re.compile(r"\+1\d{3}555\d{4}|\+44(?:2079460|7700900|1632960)\d{3}|.*(?:123456|(\d)\1{6}).*")


class Found(NamedTuple):
    """Where in a text something of a kind stands."""

    kind: PersonalKind
    start: int
    end: int


def personal_data(messages: tuple[Message, ...], config: PersonalDataConfig) -> Reason | None:
    """A message that holds personal data, where such conversations are dropped. The data is not repeated."""
    if config.action != "drop":
        return None
    for number, message in enumerate(messages, 1):
        for found in find(message.content, config.kinds):
            return Reason("personal_data", f"message {number} ({message.role}) holds {NAMES[found.kind]}")
    return None


def masked(messages: tuple[Message, ...], config: PersonalDataConfig) -> tuple[Message, ...]:
    """The messages with `[EMAIL]` and the like in place of personal data; the same ones if there is none."""
    contents = [_mask(message.content, config.kinds) for message in messages]
    if all(content is message.content for content, message in zip(contents, messages, strict=True)):
        return messages
    return tuple(
        replace(message, content=content) for message, content in zip(messages, contents, strict=True)
    )


def find(text: str, kinds: Iterable[PersonalKind]) -> tuple[Found, ...]:
    """What stands where, in order; of two that overlap, the one that begins first."""
    wanted = [(kind, finder) for kind, finder in FINDERS.items() if kind in kinds]
    found = [Found(kind, start, end) for kind, finder in wanted for start, end in finder(text)]
    found.sort(key=lambda one: one.start)
    kept: list[Found] = []
    for one in found:
        if not kept or kept[-1].end <= one.start:
            kept.append(one)
    return tuple(kept)


def _mask(text: str, kinds: tuple[PersonalKind, ...]) -> str:
    while found := find(text, kinds):  # again, for what only now stands at an edge
        for one in reversed(found):
            text = f"{text[: one.start]}[{one.kind.upper()}]{text[one.end :]}"
    return text


def _emails(text: str) -> Spans:
    if "@" in text:
        for match in EMAIL.finditer(text):
            if not NOBODYS_EMAIL.fullmatch(match[0]):
                yield match.span()


def _keys(text: str) -> Spans:
    if any(start in text for start in KEY_STARTS):
        for match in KEY.finditer(text):
            if not NOBODYS_KEY.search(match[0]):
                yield match.span()


def _ibans(text: str) -> Spans:
    for match in IBAN.finditer(text):
        number = match[0]
        while number and not iban.is_valid(number):  # a word in capitals may follow
            number = number.rpartition(" ")[0]
        if number and not NOBODYS_IBAN.fullmatch(number.replace(" ", "")):
            yield match.start(), match.start() + len(number)


def _cards(text: str) -> Spans:
    for match in CARD.finditer(text):
        digits = re.sub("[ -]", "", match[0])
        if ISSUED.fullmatch(digits) and luhn.is_valid(digits) and not NOBODYS_CARD.fullmatch(digits):
            yield match.span()


def _ips(text: str) -> Spans:
    shapes = ((IPV4, IPV4_MIDDLE), (IPV6, IPV6_MIDDLE))
    for match in chain.from_iterable(shape.finditer(text) for shape, middle in shapes if middle.search(text)):
        try:
            address = ip_address(match[0])
        except ValueError:
            continue
        if not address.is_global or address.is_multicast or NOBODYS_IP.fullmatch(match[0]):
            continue
        small = sum(len(part) == 1 for part in match[0].split("."))  # `3.10.0.2` is a version, so is 1.1.1.1
        if small < 3 and not VERSION.search(text, max(0, match.start() - 12), match.start()):
            yield match.span()


def _phones(text: str) -> Spans:
    for match in PHONE.finditer(text):
        start, end = match.span()
        if match[0][0] == "+" or AMERICAN.match(match[0]):
            for number in phonenumbers.PhoneNumberMatcher(match[0], "US"):
                digits = phonenumbers.format_number(number.number, phonenumbers.PhoneNumberFormat.E164)
                if not NOBODYS_PHONE.fullmatch(digits):
                    yield start + number.start, start + number.end
        elif CALLED_PHONE.search(text, max(0, start - 30), start):
            digits = re.sub(r"\D", "", match[0])
            if not NOBODYS_PHONE.fullmatch(digits):
                yield start, end


# In this order where two begin at the same place.
FINDERS: dict[PersonalKind, Callable[[str], Spans]] = {
    "key": _keys,
    "email": _emails,
    "iban": _ibans,
    "card": _cards,
    "ip": _ips,
    "phone": _phones,
}
NAMES: dict[PersonalKind, str] = {
    "key": "a secret key",
    "email": "an e-mail address",
    "iban": "a bank account number",
    "card": "a payment card number",
    "ip": "an IP address",
    "phone": "a phone number",
}
