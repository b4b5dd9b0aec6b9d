"""Personal data is found by what it is; what only looks like it, or is nobody's, is left alone."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ochat_ray.config.filters import PersonalDataConfig, PersonalKind
from ochat_ray.conversation import Message
from ochat_ray.data.filters.personal import FINDERS, find, masked, personal_data

MASK = PersonalDataConfig(action="mask")
DROP = PersonalDataConfig(action="drop")
KINDS = MASK.kinds
BODY = "Zk2LxV7nT1bWc9pRd5sYg4hJa6eUo0iN3vB8QmFq"  # put together here, so that no scanner takes them for keys
PEM = (
    "-----BEGIN RSA PRIVATE "
    + f"KEY-----\n{BODY * 2}\n{BODY * 2}\n{BODY[:20]}==\n-----END RSA PRIVATE KEY-----"
)


def found(text: str, kinds: tuple[PersonalKind, ...] = KINDS) -> list[tuple[str, str]]:
    return [(one.kind, text[one.start : one.end]) for one in find(text, kinds)]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("email", "Write to max.muster@firma.de.", "max.muster@firma.de"),
        ("email", "<a.b+c@sub.uni-x.edu>", "a.b+c@sub.uni-x.edu"),
        ("email", "_me@posteo.org_ or", "me@posteo.org"),
        ("email", "[x](mailto:olga@mail2.sysu.edu.cn)", "olga@mail2.sysu.edu.cn"),
        ("email", "\u90ae\u7bb1olga@sysu.edu.cn\u8c22\u8c22", "olga@sysu.edu.cn"),
        *(
            ("email", f"<{address}>", address)
            for address in (
                *("anna.meier@mail.com", "anna.meier@email.com", "jane@myspace.com", "paul@myfitness.com"),
                *("mail@anna-meier.de", "email@kanzlei-meier.de", "Anna.Meier@Gmx.De", "OLGA@SYSU.EDU.CN"),
            )
        ),
        ("email", "anna.meier@gmx.de(private)", "anna.meier@gmx.de"),
        ("email", "me@Outlook.Com(private)", "me@Outlook.Com"),
        ("email", "anna.meier@gmx.de-Anna", "anna.meier@gmx.de"),
        ("phone", "Call +49 30 901820 now", "+49 30 901820"),
        ("phone", "tel:+4930901820", "+4930901820"),
        ("phone", "+61 414 567 071, in 2022", "+61 414 567 071"),
        ("phone", "at (613) 703-0277.", "(613) 703-0277"),
        ("phone", "810-580-9197", "810-580-9197"),
        ("phone", "212.736.5000", "212.736.5000"),
        ("phone", "1-800-275-2273", "1-800-275-2273"),
        ("phone", "**Phone:** 98765 43210", "98765 43210"),
        ("phone", "\u7535\u8bdd\uff1a13719206018", "13719206018"),
        ("phone", "\u624b\u673a\u53f713719206018\u3002", "13719206018"),
        ("card", "4539 1488 0343 6467", "4539 1488 0343 6467"),
        ("card", "card=5500005555555559;", "5500005555555559"),
        ("iban", "to DE44 5001 0517 5407 3249 31 BIC", "DE44 5001 0517 5407 3249 31"),
        ("iban", "NL91ABNA0417164300", "NL91ABNA0417164300"),
        ("ip", "ssh 84.23.11.2", "84.23.11.2"),
        ("ip", "http://93.184.216.34:8080/x", "93.184.216.34"),
        ("ip", "2607:f8b0:4004:800::200e", "2607:f8b0:4004:800::200e"),
        ("key", "AK" + "IAQ3EGUJ5ZKWD4TMNB", "AK" + "IAQ3EGUJ5ZKWD4TMNB"),
        ("key", f"key='sk-{BODY}'", f"sk-{BODY}"),
        ("key", "gh" + f"p_{BODY}", "gh" + f"p_{BODY}"),
        ("key", "sk_" + f"live_{BODY}", "sk_" + f"live_{BODY}"),
        ("key", "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi", "hf_" + "QwErTyUiOpAsDfGhJkLzXcVbNmQwErTyUi"),
        ("key", f"eyJ{BODY}.eyJ{BODY}.{BODY}", f"eyJ{BODY}.eyJ{BODY}.{BODY}"),
        ("key", f"```\n{PEM}\n```", PEM),
        ("key", PEM.replace("\n", "\\n"), PEM.replace("\n", "\\n")),
    ],
)
def test_found(kind: PersonalKind, text: str, value: str | None) -> None:
    assert found(text) == ([(kind, value)] if value else [])
    others = tuple(other for other in KINDS if other != kind)
    assert (kind, value) not in found(text, others)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jane@example.com, x@example.org, a@b.test, your.name@gmail.com, user@domain.com, john.doe@gmail.com",
        "git@github.com:a/b, image@2x.png, react@18.0.0, return@Main.foo(), @decorator, a @ b.T, user@domain",
        "q@k.transpose(-2, -1), a@b.dot(c), return@forEach.Foo, x@yourcompany.com, x@my-domain.org",
        "212-555-0123, +1 212 555 0199, +44 20 7946 0958, 123-456-7890, (555) 555-5555, phone is 12345678",
        "ISBN 978-3-16-148410-0, 2023-03-14 12:30:45, 14/10/22, 1,234,567,890, 00001101-0000-1000-8000",
        "0.73775524 0.08838835, x = 9780143126560, id 1606058720630169601, 10.1088/1755-1315/410/1",
        "4111 1111 1111 1111, 4242424242424242, 3714-496353-98431, 1234-5678-9012-3456, 4539 1488 0343 6468",
        "DE89 3704 0044 0532 0130 00, GB82 WEST 1234 5698 7654 32, DE44 5001 0517 5407 3249 32",
        "127.0.0.1, 10.0.0.1, 192.168.1.100, 172.16.200.51, 203.0.113.9, 8.8.8.8, 1.1.1.1, 255.255.255.0",
        "3.10.0.2, version 12.45.67.89, Chrome/91.45.44.12, v10.20.30.40, 84.23.11.0/24, 1.3.6.1.4.1.311",
        "::1, fe80::1, 2001:db8::1, std::vector, 12:30:45, 2000::/3, dead::beef",
        "AK"
        + "IAIOSFODNN7EXAMPLE, sk-your-key, sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, sk-couchbase-bucket",
        "-----BEGIN PRIVATE KEY-----\\nYOUR_PRIVATE_KEY_1\\n-----END PRIVATE KEY-----",
    ],
)
def test_left_alone(text: str) -> None:
    assert found(text) == []
    message = (Message("user", text),)
    assert masked(message, MASK) is message


HELD = (
    "Ask olga@sysu.edu.cn (+49 30 901820) to pay DE44500105175407324931 from 84.23.11.2 by 4539148803436467"
)


def test_masking_puts_the_kind_in_place_of_the_value() -> None:
    messages = (Message("system", "Be kind."), Message("user", HELD), Message("assistant", HELD, weight=0.5))
    after = masked(messages, MASK)
    assert after[1].content == "Ask [EMAIL] ([PHONE]) to pay [IBAN] from [IP] by [CARD]"
    assert [(one.role, one.weight) for one in after] == [(one.role, one.weight) for one in messages]
    assert masked(after, MASK) is after


def test_only_the_kinds_asked_for_are_masked() -> None:
    after = masked((Message("user", HELD),), MASK.replace(kinds=("ip",)))
    assert after[0].content == HELD.replace("84.23.11.2", "[IP]")


def test_dropping_says_where_and_what_but_not_the_value() -> None:
    messages = (Message("user", "hello"), Message("assistant", "Ask olga@sysu.edu.cn."))
    reason = personal_data(messages, DROP)
    assert reason is not None and reason.reason == "personal_data"
    assert reason.detail == "message 2 (assistant) holds an e-mail address"
    assert personal_data(messages[:1], DROP) is None
    assert personal_data(messages, MASK) is None
    assert personal_data(messages, PersonalDataConfig()) is None
    assert personal_data(messages, DROP.replace(kinds=("phone",))) is None


def test_every_kind_has_a_finder_and_a_reason() -> None:
    assert set(FINDERS) == set(PersonalDataConfig().kinds)
    samples = {"key": f"sk-{BODY}", "email": "olga@sysu.edu.cn", "iban": "DE44500105175407324931"}
    samples |= {"card": "4539148803436467", "ip": "84.23.11.2", "phone": "+49 30 901820"}
    details = set()
    for kind, value in samples.items():
        reason = personal_data((Message("user", f"It is {value}"),), DROP)
        assert reason is not None and value not in reason.detail
        details.add(reason.detail)
        assert masked((Message("user", value),), MASK)[0].content == f"[{kind.upper()}]"
    assert len(details) == len(FINDERS)


PIECES = [
    "olga@sysu.edu.cn",
    "+49 30 901820",
    "84.23.11.2",
    "4539148803436467",
    "DE44500105175407324931",
    f"sk-{BODY}",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text("a1@.-+ :[]\n9", max_size=8)), max_size=8))
def test_masking_leaves_nothing_to_mask(parts: list[str]) -> None:
    text = "".join(parts)
    spans = find(text, KINDS)
    assert all(one.start < one.end <= other.start for one, other in pairwise(spans))
    after = masked((Message("user", text),), MASK)
    assert find(after[0].content, KINDS) == ()
    assert masked(after, MASK) is after
    assert (after[0].content == text) == (spans == ())


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.one_of(st.sampled_from(PIECES), st.text(max_size=20), st.text(st.characters(categories=["Nd"])))
    )
)
def test_any_text_can_be_searched(parts: list[str]) -> None:
    text = "".join(parts)
    assert find(text, KINDS) == find(text, KINDS)
    assert all(text[one.start : one.end].strip() for one in find(text, KINDS))


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(categories=["L", "Zs", "P"], exclude_characters="@"), max_size=30),
    st.sampled_from(PIECES),
)
def test_a_value_between_spaces_is_masked_and_nothing_else(text: str, value: str) -> None:
    after = masked((Message("user", f"{text} x {value} x {text}"),), MASK)[0].content
    assert value not in after
    assert after.startswith(f"{text} x [") and after.endswith(f"] x {text}")


@pytest.mark.parametrize(
    "text", ["a", "1", "1 ", "a@", "+1 ", "1.", ":", "2001:", "(123", "sk-", "A", "eyJaaaaaaaa."]
)
def test_text_without_end_is_searched_in_no_time(text: str) -> None:
    assert find(text * 50_000, KINDS) == ()
