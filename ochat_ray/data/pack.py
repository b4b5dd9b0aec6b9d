"""Millions of small pages to few Parquet files, which are listed, copied and read many times faster."""

from __future__ import annotations
