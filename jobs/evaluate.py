"""Evaluate models as a Ray job; those that are folders answer by batch inference on the cluster.

ray job submit --working-dir . -- \
    python jobs/evaluate.py OUTPUT --recipe recipe.yaml
"""

import sys

from ochat_ray.cli import main

sys.exit(main(["eval", "run", *sys.argv[1:]]))
