"""Millions of small saved pages to few Parquet files, as a Ray job.

ray job submit --working-dir . -- \
    python jobs/pack.py PAGES PACKED
"""

import sys

from ochat_ray.cli import main

sys.exit(main(["pack", *sys.argv[1:]]))
