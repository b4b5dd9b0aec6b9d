"""Saved chat pages to token files, as a Ray job.

ray job submit --working-dir . -- \
    python jobs/prepare.py PAGES PREPARED --base BASE --recipe openchat
"""

import sys

from ochat_ray.cli import main

sys.exit(main(["prepare", *sys.argv[1:]]))
