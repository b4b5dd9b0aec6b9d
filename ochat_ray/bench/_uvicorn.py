"""The endpoint under plain uvicorn: `python -m ochat_ray.bench._uvicorn MODEL PORT STREAMS`."""

from __future__ import annotations

import sys

import uvicorn

from ochat_ray.config import ServeConfig
from ochat_ray.config.serve import EngineConfig
from ochat_ray.exported import load_exported
from ochat_ray.serve.access.guard import guard
from ochat_ray.serve.http import create_api
from ochat_ray.serve.models import Models, ServedModel
from ochat_ray.serve.replica import EngineReplica


def main(folder: str, port: int, streams: int) -> None:
    config = ServeConfig(engine=EngineConfig(max_running=streams, cache_tokens=32768))
    exported = load_exported(folder)
    model = ServedModel.of(exported, EngineReplica(folder, config, gpu=False), config, None)
    api = guard(create_api(Models([model], {}), config), config.access)
    uvicorn.run(api, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
