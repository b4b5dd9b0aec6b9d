"""`python -m ochat_ray.bench NAME [options]`: each module of this package is a benchmark."""

from __future__ import annotations

import importlib
import pkgutil
import sys

from ochat_ray import bench

NAMES = sorted(
    module.name for module in pkgutil.iter_modules(bench.__path__) if not module.name.startswith("_")
)

if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
    sys.exit(f"usage: python -m ochat_ray.bench {{{','.join(NAMES)}}} [options]")
importlib.import_module(f"ochat_ray.bench.{sys.argv[1]}").main(sys.argv[2:])
