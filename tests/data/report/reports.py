"""Reports to render, and texts that a page must not fall for."""

from __future__ import annotations

from ochat_ray.data.report.histogram import Histogram, bins, count
from ochat_ray.data.report.schema import (
    Cluster,
    Example,
    LanguageCount,
    LostTokens,
    Map,
    Member,
    ModelCount,
    NearDuplicates,
    Point,
    Report,
    SplitTokens,
    Stage,
    Tokens,
)

NASTY = (
    "</script><script>window.owned = 1</script>",
    "<img src=x onerror='window.owned = 1'>",
    "<!--<script>",
    "]]></textarea></title></style><svg onload=window.owned=1>",
    '" onmouseover="window.owned=1" x="',
    "line\u2028separator\u2029paragraph",
    "right \u202eot left\u202c and \u200fmark",
    "<|end_of_turn|></s><s>[INST]",
    "{{ 7 * 7 }}{% raw %}${7 * 7}",
    "&lt;b&gt; &amp;amp; &#x41;",
    "tab\there",
    "\U0001f600 e\u0301 \u4f60\u597d",
)
"""Each of them must be on the page as it is, and do nothing."""

EMPTY = Histogram(edges=(), counts=())


def empty() -> Report:
    """Nothing was read."""
    return Report(
        title="Nothing",
        input="an empty folder",
        recipe="openchat",
        versions={},
        funnel=(),
        messages=EMPTY,
        chars=EMPTY,
        tokens=(),
        models=(),
        languages=(),
        near_duplicates=None,
        examples=(),
        map=None,
    )


def full(text: str = "How do I sort a list?", points: int = 60) -> Report:
    """Something in every part; `text` stands wherever a conversation's own words do."""
    return Report(
        title=text,
        input=text,
        recipe="openchat",
        settings=text,
        versions={"ray": "2.60.0", "ochat-ray": "0.1.0"},
        funnel=(
            Stage(stage="read", count=3000),
            Stage(stage="understood", count=2902, dropped={"bad_json": 13, "no_data": 85}),
            Stage(stage="distinct", count=2635, dropped={"duplicate": 190, "near_duplicate": 77}),
            Stage(stage="by a wanted model", count=401, dropped={"model": 2234}),
            Stage(stage="kept", count=401),
        ),
        reasons={"model": "answered by a model that is not wanted"},
        messages=count([2] * 200 + [4] * 150 + [30] * 51, bins(1)),
        chars=count([30 + 61 * n for n in range(401)], bins(4)),
        tokens=(_tokens("openchat_v2", 4096, "truncate"), _tokens("chatml", 2048, "split")),
        models=(
            ModelCount(name="Model: GPT-4", read=420, kept=401),
            ModelCount(name=None, read=2000, kept=0),
            ModelCount(name="", read=82, kept=0),
            *(ModelCount(name=f"{text} {n}", read=50 - n, kept=0) for n in range(16)),
        ),
        languages=(
            LanguageCount(code="en", read=2500, kept=390),
            LanguageCount(code="und", read=402, kept=11),
        ),
        near_duplicates=NearDuplicates(
            action="drop", clusters=12, conversations=31, sizes={2: 10, 4: 1, 7: 1}, largest=(_cluster(text),)
        ),
        examples=(Example(id=text, source=text, feature="code", before=f"<p>{text}</p>", after=text),),
        map=_map(text, points),
    )


def _tokens(name: str, context: int, long: str) -> Tokens:
    return Tokens.model_validate(
        {
            "model_type": name,
            "context": context,
            "long": long,
            "lengths": count([16 * n for n in range(1, 402)], bins(4)),
            "train": SplitTokens(conversations=397, rows=410, tokens=1_234_567, target_tokens=900_000),
            "eval": SplitTokens(conversations=4, rows=4, tokens=12_000, target_tokens=9_000),
            "lost": LostTokens(conversations=145, tokens=250_000, target_tokens=200_000),
        }
    )


def _cluster(text: str) -> Cluster:
    members = [
        Member(id=f"c{n}", model=text if n else None, chars=1000 + n, kept=not n, text=f"{text} {n}")
        for n in range(4)
    ]
    return Cluster(size=7, members=tuple(members))


def _map(text: str, points: int) -> Map:
    side = max(1, int(points**0.5))
    return Map(
        of=401,
        topics=("sort, list, python", "story, love, day", text),
        points=tuple(
            Point(
                x=round((n % side) / side, 4),
                y=round(min(1.0, n // side / side), 4),
                id=f"id{n}",
                model=text if n % 5 else None,
                language="en" if n % 7 else "und",
                topic=n % 3,
                question=f"{text} question{n}",
                answer=f"{text} answer{n}",
            )
            for n in range(points)
        ),
    )
