"""What the OpenAPI document says about every route: its errors, as problems (RFC 9457) with a stable code."""

from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI

PROBLEM_TYPE: Final = "application/problem+json"
#: Statuses that `errors` and validation answer with, and who may get them.
ERRORS: Final = {
    400: "The request is not what this document says.",
    401: "No token or session, or one that has ended.",
    403: "The token lacks a scope, or the request comes from another site.",
    404: "There is no such thing, or it belongs to another account.",
    409: "It does not go together with the state of things.",
    413: "The body is too large.",
    421: "The cloud is not known under this name.",
    422: "The content of the request is refused.",
    429: "Too many attempts; `Retry-After` is in seconds.",
    500: "The cloud failed; its log says more.",
    503: "Too much of this is going on at the moment.",
    504: "A device does not answer.",
}
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "title": "Problem",
    "required": ["status", "code", "detail"],
    "properties": {
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable, such as `cloud.unknown-device`."},
        "detail": {"type": "string", "description": "Cause and remedy in one line."},
        "rows": {
            "type": "array",
            "description": "Of a table that is refused.",
            "items": {
                "type": "object",
                "required": ["row", "reason"],
                "properties": {"row": {"type": "integer"}, "reason": {"type": "string"}},
            },
        },
    },
}
_SECURITY: Final = {
    "token": {"type": "http", "scheme": "bearer", "description": "The admin token or an API token."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "cloudsim_session",
        "description": "Of a browser, with `X-CSRF-Token` for everything that changes something.",
    },
}
_PUBLIC: Final = {("post", "/session"), ("post", "/registrations")}


def describe(api: FastAPI) -> None:
    """Make the document of `api` say what holds for all routes. To be called when it has them all."""
    document = api.openapi()
    document["servers"] = [{"url": "/api/v1"}]
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas["Problem"] = _PROBLEM
    document["components"]["securitySchemes"] = _SECURITY
    for method, path, operation in _operations(document):
        responses = operation["responses"]
        for status, description in ERRORS.items():
            responses[str(status)] = _problem(description)
        if (method, path) not in _PUBLIC:
            operation["security"] = [{"token": []}, {"session": []}]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method.upper() in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                yield method, path, operation


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {PROBLEM_TYPE: {"schema": schema}}}
