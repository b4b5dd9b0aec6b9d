"""The published figures recomputed from the public raw judgments: figure, published, ours, difference.

The folder is the user's: the judgments of the Vicuna blog, QLoRA, FairEval, AlpacaEval, FastChat, PandaLM and
OpenChat, whose licences keep most of them from being shipped, and `expected.json` with what was published.
"""

from ochat_ray.eval.published.recompute import Compared, compare, table

__all__ = ["Compared", "compare", "table"]
