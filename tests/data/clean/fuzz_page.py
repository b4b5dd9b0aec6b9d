"""One target for fuzzers: any bytes as a saved page. `test_fuzz.py` feeds it some hundred pages in each run.

For longer runs, atheris mutates pages by what they reach (`pip install atheris`, on Linux, best in an
environment of its own). libFuzzer's options may follow the folder of pages to start from:

    python -m tests.data.clean.fuzz_page [FOLDER] [-max_total_time=300] [-max_len=20000]
"""

from __future__ import annotations

import importlib
import sys

from ochat_ray.data.clean.markdown import to_markdown
from ochat_ray.data.read.errors import SourceError
from ochat_ray.data.read.page import read_page


def feed(data: bytes) -> int:
    """Read a page and convert its answers; returns how many. Raises what neither may raise.

    Bytes that are no page are taken for an answer, so that a fuzzer meets the converter at once.
    """
    try:
        answers = [turn.value for turn in read_page(data).turns if turn.html]
    except SourceError as error:
        assert error.reason and error.detail.strip()
        to_markdown(data.decode(errors="replace")).encode()
        return 0
    for value in answers:
        to_markdown(value).encode()
    return len(answers)


def main() -> None:
    """Fuzz until a failure, or as libFuzzer's options say."""
    atheris = importlib.import_module("atheris")  # no dependency of ours
    atheris.instrument_all()
    atheris.Setup(sys.argv, lambda data: (feed(data), None)[1])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
