"""The page of the API: the bodies that routes parse by themselves, and the answers that they build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

from ochat_ray.serve.protocol import answers

REF = "#/components/schemas/{model}"
STATUSES = {
    "400": "The request has a fault; the error names the parameter",
    "401": "The key is missing or wrong",
    "404": "The model does not exist here",
    "408": "The body did not come in time",
    "413": "The body is too long",
    "429": "Too many requests; see Retry-After",
    "500": "An error of the server",
    "503": "The engine is being restarted; try again",
    "504": "The request took too long",
}
ANSWERS: dict[str, type[BaseModel]] = {
    "/v1/chat/completions": answers.ChatCompletion,
    "/v1/completions": answers.Completion,
    "/v1/embeddings": answers.Embeddings,
    "/v1/models": answers.ModelList,
    "/v1/models/{name}": answers.Model,
    "/tokenize": answers.Tokens,
    "/detokenize": answers.Text,
    "/health": answers.Health,
    "/ready": answers.Ready,
    "/widget/config": answers.WidgetSettings,
    "/widget/handoff": answers.HandedOff,
}
STREAMED = ("/v1/chat/completions", "/v1/completions")
# Of one server-sent event.
EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "description": "`error` for what goes wrong on the way"},
        "data": {"type": "string", "description": "A chunk or an error as JSON; at the end [DONE]"},
    },
    "required": ["data"],
}
TEXT = {"schema": {"type": "string"}}


def with_bodies(api: FastAPI, bodies: Mapping[str, type[BaseModel]], models: Sequence[str]) -> None:
    """Describe the body of POST on each path, the answers and errors of every route, and the models that
    may be named."""
    build = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            page = build()
            _describe(page, bodies, models)
            api.openapi_schema = page
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _describe(page: dict[str, Any], bodies: Mapping[str, type[BaseModel]], models: Sequence[str]) -> None:
    schemas = page.setdefault("components", {}).setdefault("schemas", {})
    for path, kind in bodies.items():
        content = _json(schemas, kind)
        _name_models(schemas[kind.__name__], models)
        page["paths"][path]["post"]["requestBody"] = {"content": content, "required": True}
    error = _json(schemas, answers.Error)
    for path, operations in page["paths"].items():
        for operation in operations.values():
            responses = operation["responses"]
            responses.pop("422", None)
            if path in ANSWERS:
                responses["200"] = {
                    "description": "The answer",
                    "content": _json(schemas, ANSWERS[path], mode="serialization"),
                }
            for status, description in STATUSES.items():
                responses[status] = {"description": description, "content": error}
    for path in STREAMED:
        content = page["paths"][path]["post"]["responses"]["200"]["content"]
        content["text/event-stream"] = {"schema": EVENT}
    for parameter in page["paths"]["/v1/models/{name}"]["get"]["parameters"]:
        parameter["schema"]["enum"] = list(models)
    page["paths"]["/widget.js"]["get"]["responses"]["200"]["content"] = {"text/javascript": TEXT}
    page["paths"]["/widget/handoff"]["post"]["responses"]["502"] = {
        "description": "Who takes conversations did not",
        "content": error,
    }


def _json(schemas: dict[str, Any], kind: type[BaseModel], *, mode: Any = "validation") -> dict[str, Any]:
    """The content of a JSON body; its schema is added to `schemas`."""
    schema = kind.model_json_schema(ref_template=REF, mode=mode)
    schemas |= schema.pop("$defs", {})
    schemas[kind.__name__] = schema
    return {"application/json": {"schema": {"$ref": REF.format(model=kind.__name__)}}}


def _name_models(schema: dict[str, Any], models: Sequence[str]) -> None:
    """Say in a body's schema which models there are."""
    model = schema["properties"].get("model")
    for one in [] if model is None else model.get("anyOf", [model]):
        if one["type"] == "string":
            one["enum"] = list(models)
