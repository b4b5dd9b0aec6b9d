"""Deploy an exported model on the cluster, as a Ray job; the endpoint outlives the job.

ray job submit --working-dir . -- \
    python jobs/serve.py RUN/model serve.host=0.0.0.0
"""

import sys

from ochat_ray.cli import main

sys.exit(main(["serve", *sys.argv[1:]]))
