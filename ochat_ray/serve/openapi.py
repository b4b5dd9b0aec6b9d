"""The page of the API, with the bodies that routes parse by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

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


def with_bodies(api: FastAPI, bodies: Mapping[str, type[BaseModel]]) -> None:
    """Describe the body of POST on each path, and the errors of every route."""
    build = api.openapi

    def openapi() -> dict[str, Any]:
        if api.openapi_schema is None:
            page = build()
            schemas = page.setdefault("components", {}).setdefault("schemas", {})
            schemas["Error"] = _error()
            for path, kind in bodies.items():
                schema = kind.model_json_schema(ref_template=REF)
                schemas |= schema.pop("$defs", {})
                schemas[kind.__name__] = schema
                reference = {"$ref": REF.format(model=kind.__name__)}
                operation = page["paths"][path]["post"]
                operation["requestBody"] = {
                    "content": {"application/json": {"schema": reference}},
                    "required": True,
                }
            error = {"application/json": {"schema": {"$ref": REF.format(model="Error")}}}
            for operations in page["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
                    for status, description in STATUSES.items():
                        operation["responses"][status] = {"description": description, "content": error}
            api.openapi_schema = page
        return api.openapi_schema

    api.openapi = openapi  # type: ignore[method-assign]


def _error() -> dict[str, Any]:
    text = {"type": ["string", "null"]}
    fields = {"message": {"type": "string"}, "type": {"type": "string"}, "param": text, "code": text}
    error = {"type": "object", "properties": fields, "required": list(fields)}
    return {"type": "object", "properties": {"error": error}, "required": ["error"]}
