"""Fine-tune on prepared token files, as a Ray job.

ray job submit --working-dir . -- \
    python jobs/train.py PREPARED RUN --base BASE --recipe openchat train.num_workers=8
"""

import sys

from ochat_ray.cli import main

sys.exit(main(["train", *sys.argv[1:]]))
