"""A tokenizer that text cannot inject special tokens into, in our code and in anybody else's.

Our own code encodes each piece of text by itself with a tokenizer that knows no added tokens, and
places special ids by name. Programs that load an exported folder do neither: they run a Jinja
template into one string and tokenise that. So the `tokenizer.json` that we write understands two
Unicode noncharacters (never valid in interchanged text), which the exported template puts in:

    SEGMENT  between a prefix and a text: splits there, so that no token spans the border
    ESCAPE   after the first character of what could be a special token in a text: hides it from the
             search for added tokens, and is removed before the text is encoded

With both, the ids of the template's string are those of the pieces, whatever the text holds.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ochat_ray.errors import CheckpointError

SEGMENT = "\ufdd0"
ESCAPE = "\ufdd1"
NO_SPECIALS: dict[str, Any] = {
    "added_tokens": [],
    "post_processor": None,
    "truncation": None,
    "padding": None,
}


class ChatTokenizer:
    """Encodes text without special tokens, and special tokens without text.

    `spec` is the content of a `tokenizer.json`; `bos_token` what its folder names as such.
    """

    def __init__(self, spec: dict[str, Any], bos_token: str | None = None) -> None:
        self.spec = mark_segments(spec)
        self.bos_token = bos_token
        self.special_ids: dict[str, int] = {t["content"]: t["id"] for t in spec.get("added_tokens", [])}
        self._special = frozenset(self.special_ids.values())
        self._plain = Tokenizer.from_str(json.dumps({**self.spec, **NO_SPECIALS}))

    @classmethod
    def load(cls, folder: str | Path) -> ChatTokenizer:
        """The tokenizer of a Hugging Face folder. Raises CheckpointError where there is no usable one."""
        folder = Path(folder)
        path = folder / "tokenizer.json"
        if not folder.is_dir():
            raise CheckpointError(f"{folder}: no such folder; give a Hugging Face model folder")
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")), _bos_token(folder))
        except FileNotFoundError:
            raise CheckpointError(
                f"{folder}: no tokenizer.json; give a Hugging Face model folder, "
                "or make one with `ochat-ray base DIR`"
            ) from None
        except CheckpointError:
            raise
        except Exception as error:  # tokenizers raises bare ones for what it cannot build
            raise CheckpointError(
                f"{path}: cannot be read as a tokenizer ({error}); give a complete Hugging Face model folder"
            ) from error

    @cached_property
    def hash(self) -> str:
        """sha256 of the tokenizer's canonical JSON, hex. Equal hashes encode equally."""
        return hashlib.sha256(json.dumps(self.spec, sort_keys=True).encode()).hexdigest()

    @property
    def vocab_size(self) -> int:
        """Ids that the tokenizer can produce: one more than the largest."""
        return max([self._plain.get_vocab_size() - 1, *self.special_ids.values()]) + 1

    @property
    def tokens(self) -> list[str]:
        """Every token as tokenizer.json spells it, by id; an empty one where an id is not used."""
        tokens = [""] * self.vocab_size
        for token, token_id in (*self._plain.get_vocab().items(), *self.special_ids.items()):
            tokens[token_id] = token
        return tokens

    @property
    def bare_spec(self) -> dict[str, Any]:
        """A `tokenizer.json` that encodes as `encode` does, but knows neither special tokens nor marks."""
        steps = {"normalizer": "normalizers", "pre_tokenizer": "pretokenizers"}
        bare = {name: _unmarked(self.spec[name], key) for name, key in steps.items()}
        return {**self.spec, **bare, **NO_SPECIALS}

    def encode(self, text: str) -> list[int]:
        """Ids of a piece of text; never a special one. The text must hold no lone surrogates."""
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of many texts, in the tokenizer's own threads."""
        return [e.ids for e in self._plain.encode_batch_fast(list(texts), add_special_tokens=False)]

    def encode_arrays(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """`encode_batch` as arrays."""
        return [np.array(ids, np.int32) for ids in self.encode_batch(texts)]

    def encode_prefix(self, prefix: str, specials: Sequence[str]) -> list[int]:
        """Ids of a trusted prefix, in which the tokens of `specials` stand for themselves."""
        if not specials:
            return self.encode(prefix)
        ids: list[int] = []
        for part in re.split("(" + "|".join(map(re.escape, specials)) + ")", prefix):
            if part in specials:
                ids.append(self.special_ids[part])
            elif part:
                ids += self.encode(part)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids; special ids are left out. Inverse of `encode` for lossless tokenizers."""
        special = self._special
        text: str = self._plain.decode([i for i in ids if i not in special], skip_special_tokens=False)
        return text

    def decode_all(self, ids: Sequence[int]) -> str:
        """Text of ids, special tokens by their names."""
        names = {id: token for token, id in self.special_ids.items()}
        text, run = "", [*ids, None]
        plain: list[int] = []
        for id in run:
            if id is None or id in names:
                text += self._plain.decode(plain, skip_special_tokens=False) if plain else ""
                text += names.get(id, "") if id is not None else ""
                plain = []
            else:
                plain.append(id)
        return text

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` with the segment marks."""
        path = Path(folder) / "tokenizer.json"
        path.write_text(json.dumps(self.spec, ensure_ascii=False, indent=1), encoding="utf-8")


def _bos_token(folder: Path) -> str | None:
    path = folder / "tokenizer_config.json"
    if not path.exists():
        return None
    try:
        bos = json.loads(path.read_text(encoding="utf-8")).get("bos_token")
        token: str | None = bos["content"] if isinstance(bos, dict) else bos
    except (OSError, ValueError, AttributeError, LookupError) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}); mend it, or delete it") from error
    return token


def mark_segments(spec: dict[str, Any]) -> dict[str, Any]:
    """A `tokenizer.json` that heeds SEGMENT and ESCAPE. Encodes text without them as before.

    Added tokens are matched literally before normalisation (so that ESCAPE hides them), and a dummy
    leading space, where the tokenizer puts one, is put at the start of every segment. Idempotent.
    """
    spec = copy.deepcopy(spec)
    for token in spec.get("added_tokens", []):
        token.update(normalized=False, lstrip=False, rstrip=False, single_word=False)
    split = {
        "type": "Split",
        "pattern": {"String": SEGMENT},
        "behavior": "Removed",
        "invert": False,
    }
    pre = _steps(spec.get("pre_tokenizer"), "pretokenizers")
    if split in pre:
        return spec
    norm = _steps(spec.get("normalizer"), "normalizers")
    if len(pre) == 1 and pre[0]["type"] == "Metaspace":
        # The same as two normalizers and a split, but Metaspace puts the dummy space only at the start of
        # the whole text, and not before a space of the text's own, where sentencepiece does.
        mark = pre.pop()
        if mark.get("split", True):
            pattern = {"String": mark["replacement"]}
            pre.append({"type": "Split", "pattern": pattern, "behavior": "MergedWithNext", "invert": False})
        prepend = [{"type": "Prepend", "prepend": mark["replacement"]}] if _prepends(mark) else []
        replace = {"type": "Replace", "pattern": {"String": " "}, "content": mark["replacement"]}
        norm = [*norm, *prepend, replace]
    unescape = {"type": "Replace", "pattern": {"String": ESCAPE}, "content": ""}
    prepends = [
        # Prepend works on a whole stretch between added tokens: repeat it at each later segment.
        {"type": "Replace", "pattern": {"Regex": SEGMENT + r"(?=[\s\S])"}, "content": SEGMENT + n["prepend"]}
        for n in norm
        if n["type"] == "Prepend"
    ]
    spec["normalizer"] = {"type": "Sequence", "normalizers": [unescape, *norm, *prepends]}
    spec["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [split, *pre]}
    return spec


def _prepends(metaspace: dict[str, Any]) -> bool:
    return bool(metaspace.get("prepend_scheme", "always") != "never")


def _unmarked(component: dict[str, Any], key: str) -> dict[str, Any] | None:
    """What `mark_segments` made of a component, without what heeds the marks."""
    marks = (json.dumps(SEGMENT)[1:-1], json.dumps(ESCAPE)[1:-1])
    kept = [step for step in component[key] if not any(mark in json.dumps(step) for mark in marks)]
    return {**component, key: kept} if len(kept) > 1 else next(iter(kept), None)


def _steps(component: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    if component is None:
        return []
    steps: list[dict[str, Any]] = component[key] if component["type"] == "Sequence" else [component]
    return steps
