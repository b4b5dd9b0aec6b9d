"""`python -m ochat_ray` is `ochat-ray`."""

import sys

from ochat_ray.cli import main

sys.exit(main())
