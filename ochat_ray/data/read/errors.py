"""What can be wrong with a document, as the code of a reason and a sentence."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib


class SourceError(Exception):
    """A document, or what is left of it, that cannot be used: the code of a reason and a sentence."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


# What reading a damaged file raises, besides OSError and pyarrow's errors, which are OSError or ValueError.
DAMAGED = (
    EOFError,
    zlib.error,
    struct.error,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    ValueError,
    RuntimeError,
)
