"""Texts to token ids by the fastest tokenizer that is installed and yields the same ids."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from ochat_ray.tokenizer import ESCAPE, SEGMENT, ChatTokenizer

Arrays = list[NDArray[np.int32]]

# What tokenizers are known to differ on: white space, digits, scripts, emoji, marks that combine, bytes.
SAMPLES = (
    "",
    " ",
    "  two leading spaces and two trailing  ",
    "\n\n\ta\r\n b\t\tc \n",
    "It's 3.14159, isn't it? 1234567 and 1,000,000; 0xFF 1e-9",
    "def f(x: list[int]) -> int:\n    return sum(x)  # total\n\n\nclass A:\n\tpass\n",
    "<s> </s> <|end_of_turn|> <unk> [INST] <0x0A> <|im_start|>",
    "na\u00efve caf\u00e9 e\u0301 \u1e9e \u0130stanbul \ufb01n",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002 \u3053\u3093\u306b\u3061\u306f \uc548\ub155\ud558\uc138\uc694",
    "\u041f\u0440\u0438\u0432\u0435\u0442 \u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "\u0928\u092e\u0938\u094d\u0924\u0947",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f \u200b\u00a0\u2003|\ufeff",
    "$$\\int_0^1 x^2\\,dx = \\frac{1}{3}$$ `a``b` **c** _d_ ~~e~~ | f | \\| g |",
    "\u2581low\u2581line \u2581 \u0000 \x7f \x1b[0m",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" * 4,
)


class Encoder:
    """Encodes texts as a ChatTokenizer does. `backend` is gigatoken where it can be used, else tokenizers.

    gigatoken is used after it agreed on SAMPLES, and as long as it agrees on the first of each batch.
    """

    CHECKED = 16  # texts of each batch that both encode

    def __init__(self, tokenizer: ChatTokenizer) -> None:
        self.tokenizer = tokenizer
        self._fast = _gigatoken(tokenizer)
        if self._fast is not None and not self._agree(SAMPLES):
            self._fast = None

    @property
    def backend(self) -> str:
        """The tokenizer in use, with its version."""
        name = "tokenizers" if self._fast is None else "gigatoken"
        return f"{name} {version(name)}"

    def __call__(self, texts: Sequence[str]) -> Arrays:
        """Ids of each text, none of them special."""
        if self._fast is None or not self._agree(texts[: self.CHECKED]):
            return self.tokenizer.encode_arrays(texts)
        found = self._fast(texts)
        for number, text in enumerate(texts):
            if SEGMENT in text or ESCAPE in text:  # marks of ours, which only our tokenizer heeds
                found[number] = self.tokenizer.encode_arrays([text])[0]
        return found

    def _agree(self, texts: Sequence[str]) -> bool:
        assert self._fast is not None
        plain = [text for text in texts if SEGMENT not in text and ESCAPE not in text]
        ours, theirs = self.tokenizer.encode_arrays(plain), self._fast(plain)
        return all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def _gigatoken(tokenizer: ChatTokenizer) -> Callable[[Sequence[str]], Arrays] | None:
    """gigatoken over the same vocabulary, or None where it is not installed or does not know its like."""
    try:
        import awkward
        from gigatoken import Tokenizer
    except ImportError:
        return None
    try:
        fast = Tokenizer.from_json(json.dumps(tokenizer.bare_spec))
    except Exception:  # it raises bare ones for what it does not support
        return None

    def encode(texts: Sequence[str]) -> Arrays:
        if not texts:
            return []
        rows = fast.encode_batch(list(texts), parallel=False)
        ids = awkward.to_numpy(awkward.flatten(rows)).view(np.int32)  # from uint32: ids are far below 2**31
        ends = np.cumsum(awkward.to_numpy(awkward.num(rows))).tolist()
        return [ids[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    return encode
