"""How many rows the embeddings get, and which of them are new. Knows no tensors."""

from __future__ import annotations

from typing import NamedTuple, Self


class Rows(NamedTuple):
    """Rows of an embedding: the first `trained` were learnt, those in `made` are new; all but these stay."""

    trained: int
    made: tuple[int, ...]
    total: int

    @classmethod
    def plan(cls, old_ids: int, new_ids: int, present: int, multiple: int) -> Self:
        """For `present` rows, of a tokenizer that had `old_ids` ids and now has `new_ids`.

        Rows beyond `old_ids` were never trained: those of new ids are made even where they are present.
        There may also be fewer rows than ids: then those of the last old ids are made too. The total is a
        multiple of `multiple`; rows that only fill it up are made as well.
        """
        trained = min(old_ids, present)
        named = max(present, new_ids)
        total = -(-named // multiple) * multiple
        return cls(trained, (*range(trained, new_ids), *range(named, total)), total)
