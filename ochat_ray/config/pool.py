"""Pools: nodes of a cluster that are kept for one kind of work."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Pool = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")]
"""Name of a custom resource of Ray's that a pool's nodes have 1 of."""
