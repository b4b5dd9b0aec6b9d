"""Settings of the property tests, and made pages whose truth is known."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

# No time limit for one example, on machines that do other things too.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


class KnownPage(NamedTuple):
    """A saved page, and what it was made from: `kind`, `dup_of`, `truth` (turns of role and Markdown)."""

    truth: dict[str, Any]
    page: bytes


@pytest.fixture(scope="session")
def known_pages(shared_data: Path) -> list[KnownPage]:
    """Three thousand pages, some malformed, some copies, where the optional data is at hand."""
    pages: dict[str, bytes] = {}
    truths: list[dict[str, Any]] = []
    with tarfile.open(shared_data / "sharegpt" / "pages-3000.tar.xz", "r|xz") as archive:
        for member in archive:
            data = archive.extractfile(member)
            if data is not None and member.name.endswith(".html"):
                pages[Path(member.name).stem] = data.read()
            elif data is not None and member.name.endswith(".jsonl"):
                truths = [json.loads(line) for line in data]
    return [KnownPage(truth, pages[truth["id"]]) for truth in truths]
