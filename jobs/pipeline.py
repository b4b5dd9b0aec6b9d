"""Prepare, train and deploy in one Ray job; the endpoint outlives the job.

ray job submit --working-dir . -- \
    python jobs/pipeline.py PAGES OUTPUT --base BASE --recipe openchat
"""

import sys

from ochat_ray.cli import main

sys.exit(main(["pipeline", *sys.argv[1:]]))
