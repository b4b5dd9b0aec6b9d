"""A tiny model of random weights behind the endpoint, without Ray, for other people's clients to talk to.

`python -m ochat_ray.bench._client_server FOLDER` makes the model, prints the URL and serves until ended.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import torch
import uvicorn
from transformers import AutoModelForCausalLM

from ochat_ray.config import load_recipe
from ochat_ray.conversation import Message
from ochat_ray.exported import load_exported, write_chat_files
from ochat_ray.model_types import load_model_type
from ochat_ray.serve.access.guard import guard
from ochat_ray.serve.http import create_api
from ochat_ray.serve.models import Models, ServedModel
from ochat_ray.serve.replica import EngineReplica
from ochat_ray.template import ChatTemplate
from ochat_ray.tokenizer import ChatTokenizer
from ochat_ray.train.base import make_tiny

MODEL = "openchat"
SHAPE = ("base.vocab_size=400", "base.hidden_size=64", "base.intermediate_size=96", "base.vocab_multiple=1")
# Added to the logits, which are near zero: replies end soon, strings and objects of a schema close soon.
ENDS, CLOSES, OTHERS = 3.0, 2.5, -12.0


def serve(folder: Path) -> None:
    """Serve until the process is ended; a line with the URL, without /v1, says when clients may come."""
    _make_model(folder)
    config = load_recipe("tiny-cpu", ["serve.engine.cache_tokens=65536"]).serve
    replica = EngineReplica(str(folder), config, gpu=False)
    model = ServedModel.of(load_exported(folder), replica, config, MODEL)
    api = guard(create_api(Models([model], config.aliases), config), config.access)
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()  # clients that come before the server runs wait for it
        print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
        uvicorn.Server(uvicorn.Config(api, log_level="warning", access_log=False)).run(sockets=[sock])
    replica.close()


def _make_model(folder: Path) -> None:
    make_tiny(folder, load_recipe("tiny-cpu", SHAPE))
    template = ChatTemplate(load_model_type(MODEL), ChatTokenizer.load(folder))
    tokenizer = template.tokenizer
    model = AutoModelForCausalLM.from_pretrained(folder)
    texts = [tokenizer.decode([token]) for token in range(tokenizer.vocab_size)]
    biases = torch.tensor(
        [0.0 if text.isascii() and text.isprintable() and text else OTHERS for text in texts]
    )
    biases[[index for index, text in enumerate(texts) if text in ('"', "}", "]", '"}')]] = CLOSES
    biases[template.eot_id] = ENDS
    opening = template.render_prompt([Message("user", "hi")])[-1]
    scale = (2 / model.config.hidden_size) ** 0.5
    with torch.no_grad():
        # Two dimensions are large in embeddings, so that the head's weights for them are biases. One is not
        # in that of the token after which replies begin: they do not end at once.
        model.model.embed_tokens.weight[:, :2] = 1.0
        model.model.embed_tokens.weight[opening, 0] = 0.0
        model.lm_head.weight[:, 0] = biases.clamp(min=0) * scale
        model.lm_head.weight[:, 1] = biases.clamp(max=0) * scale
    model.save_pretrained(folder)
    write_chat_files(folder, template, facts={})


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
