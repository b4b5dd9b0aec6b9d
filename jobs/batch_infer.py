"""Answer a file of requests to an exported model as a Ray job, without a server.

ray job submit --working-dir . -- \
    python jobs/batch_infer.py RUN/model REQUESTS.jsonl ANSWERS.jsonl
"""

import sys

from ochat_ray.cli import main

sys.exit(main(["batch", *sys.argv[1:]]))
