"""The OpenAPI document, made of the table of routes and the models, and the page that shows it."""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from http import HTTPStatus
from inspect import getdoc
from pathlib import Path
from typing import Any, Final, Literal

from aiohttp import web
from anyio import to_thread
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from aiserv import __version__
from aiserv.answers.problems import Health, ProblemAnswer
from aiserv.api.examples import EXAMPLES
from aiserv.api.glossary import explained
from aiserv.api.headers import ANSWER_HEADERS, REQUEST_HEADERS
from aiserv.api.routing import Route
from aiserv.models import CreateJobs
from aiserv.problems import TITLES

WEB: Final = Path(__file__).parent.parent / "web"
PAGE: Final = {"docs.html": "text/html", "docs.css": "text/css", "docs.js": "text/javascript"}
# The page runs nothing but its own script, and talks to this server only.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self';"
    " frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
REFERENCE: Final = "#/components/schemas/{model}"

EVERYWHERE: Final = ["invalid_request", "unauthorized", "forbidden", "unavailable"]
WITH_BODY: Final = ["invalid_json", "payload_too_large", "unsupported_media_type"]
PROBES: Final = {
    "/healthz": ("Answer while the process turns.", Health, []),
    "/readyz": ("Say whether requests can be served, and why not.", Health, ["unavailable"]),
    "/metrics": ("Show the metrics for Prometheus.", None, []),
}
BEARER: Final = (
    "Each operation names the scope it needs. A token of scope write may also read, one of scope admin everything;"
    " one that is bound to an owner_service sees and touches its jobs alone."
)
# Generated clients send the defaults that they know. In these bodies that says more than leaving them out: it makes a
# filter of an empty one, and goes over what the items of a batch share.
WITHOUT_DEFAULTS: Final = {"NewJob", "CreateJobs", "RetryJobs", "CancelJobs"}
NDJSON: Final = "A job a line; what the jobs share stands in the query, as JSON where it is no text."
Json = dict[str, Any]


def openapi(table: Iterable[Route]) -> Json:
    """The document for these routes, as a JSON object."""
    routes = list(table)
    paths: Json = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, routes)
    for path, (summary, model, codes) in PROBES.items():
        content = {"text/plain": {}} if model is None else _json_content(model)
        answers = {"200": {"description": summary, "content": content}, **_refusals(codes)}
        name = path.removeprefix("/")
        paths[path] = {
            "get": {"operationId": name, "summary": summary, "tags": ["probes"], "security": [], "responses": answers}
        }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "aiserv",
            "version": __version__,
            "description": "A durable queue for AI jobs. Errors are RFC 9457 problems; times are RFC 3339 in UTC.",
        },
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "description": BEARER}},
            "schemas": _schemas(routes),
            "responses": {
                "Problem": {
                    "description": "Why the request was refused.",
                    "headers": {"X-Request-Id": ANSWER_HEADERS["X-Request-Id"]},
                    "content": {"application/problem+json": {"schema": _reference(ProblemAnswer)}},
                }
            },
        },
    }


def _operation(route: Route, routes: list[Route]) -> Json:
    summary = (getdoc(route.handler) or "").replace("\n", " ")
    operation: Json = {
        "operationId": operation_id(route, routes),
        "summary": summary,
        "security": [{"bearer": [route.scope]}],
        "tags": [route.handler.__module__.rpartition(".")[2]],
        "parameters": [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)],
        "responses": _answers(route),
    }
    if route.body:
        required = any(field.is_required() for field in route.body.model_fields.values())
        content = _json_content(route.body)
        if route.body in EXAMPLES:
            content["application/json"]["example"] = EXAMPLES[route.body]
        if route.body is CreateJobs:
            content["application/x-ndjson"] = {"schema": {"type": "string", "format": "binary", "description": NDJSON}}
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def operation_id(route: Route, routes: list[Route]) -> str:
    """The name of the handler; where it serves several paths, with the last parameter of the longer one."""
    longer = any(
        other.handler is route.handler and other.method == route.method and len(other.path) < len(route.path)
        for other in routes
    )
    name = route.handler.__name__
    return f"{name}_of_{route.path.rpartition('{')[2].rstrip('}')}" if longer else name


def _path_parameters(route: Route) -> list[Json]:
    names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
    text = {"type": "string", "minLength": 1, "maxLength": 200}
    uuid = {"type": "string", "format": "uuid"}
    return [
        {"name": name, "in": "path", "required": True, "schema": uuid if name.endswith("_id") else text}
        for name in names
    ]


def _query_parameters(route: Route) -> list[Json]:
    properties = _plain(route.query.model_json_schema())["properties"] if route.query.model_fields else {}
    return [
        {"name": name, "in": "query", "schema": explained(route.query.__name__, name, _of_query(schema))}
        for name, schema in properties.items()
    ]


def _of_query(schema: Json) -> Json:
    """A parameter is never null: it is left out. One that may be repeated is a list."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"]
    if not kinds:
        return schema
    lists = [kind for kind in kinds if kind.get("type") == "array"]
    (chosen,) = lists or (kinds if len(kinds) == 1 else [{"anyOf": kinds}])
    merged = {**{key: value for key, value in schema.items() if key != "anyOf"}, **chosen}
    # How many values a query may have, the length of its line decides.
    return {key: value for key, value in merged.items() if key != "maxItems"}


def _header_parameters(route: Route) -> list[Json]:
    return [{"name": name, "in": "header", **REQUEST_HEADERS[name]} for name in route.headers]


def _answers(route: Route) -> Json:
    answers: Json = {}
    for status, model in route.answers.items():
        headers = {"X-Request-Id": ANSWER_HEADERS["X-Request-Id"]}
        headers |= {name: ANSWER_HEADERS[name] for name in route.answer_headers}
        answer: Json = {"description": _description(model, status), "headers": headers}
        if isinstance(model, str):
            answer |= {"content": {model: {"schema": {"type": "string"}}}} if model else {}
        else:
            answer["content"] = _json_content(model)
        if status in {200, 201} and route.links:
            answer["links"] = {
                name: {"operationId": name, "parameters": dict([parameter])} for name, parameter in route.links.items()
            }
        answers[str(status)] = answer
    return answers | _refusals([*EVERYWHERE, *(WITH_BODY if route.body else []), *route.refusals])


def _refusals(codes: Sequence[str]) -> Json:
    refusals = {}
    for status in sorted({TITLES[code][0] for code in codes}):
        said = ", ".join(f"`{code}`" for code in codes if TITLES[code][0] == status)
        refusals[str(status)] = {"$ref": "#/components/responses/Problem", "description": said}
    return refusals


def _description(model: type[BaseModel] | str, status: int) -> str:
    if isinstance(model, str):
        return "Unchanged." if status == HTTPStatus.NOT_MODIFIED else "A stream."
    return (getdoc(model) or "").replace("\n", " ")


def _json_content(model: type[BaseModel]) -> Json:
    return {"application/json": {"schema": _reference(model)}}


def _reference(model: type[BaseModel]) -> Json:
    return {"$ref": REFERENCE.format(model=model.__name__)}


def _schemas(routes: list[Route]) -> Json:
    bodies: set[type[BaseModel]] = {route.body for route in routes if route.body}
    answers = {model for route in routes for model in route.answers.values() if not isinstance(model, str)}
    models = sorted(bodies | answers | {Health, ProblemAnswer}, key=lambda model: model.__name__)
    wanted: list[tuple[Any, Literal["validation"]]] = [(model, "validation") for model in models]
    _, document = models_json_schema(wanted, ref_template=REFERENCE)
    schemas: Json = _plain(document["$defs"])
    shown = {model.__name__ for model in bodies} | {"NewJob", "CreateJob", "Usage", "SettleCompletion", "SettleFailure"}
    for name, schema in schemas.items():
        schema["properties"] = {
            field: explained(name, field, each) for field, each in schema.get("properties", {}).items()
        }
        # An answer may grow new fields; a request with unknown ones is refused.
        if name not in shown:
            schema.pop("additionalProperties", None)
        if name in WITHOUT_DEFAULTS:
            for member in schema["properties"].values():
                member.pop("default", None)
    return schemas


def _plain(schema: Any) -> Any:  # noqa: ANN401 - JSON
    """The schema without titles, which repeat names, and without nulls that stand for "left out"."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    noise = {("title", str), ("default", type(None))}
    return {key: _plain(value) for key, value in schema.items() if (key, type(value)) not in noise}


@cache
def text_of(table: tuple[Route, ...]) -> str:
    """The document as it is committed and served."""
    return json.dumps(openapi(table), indent=2, ensure_ascii=False) + "\n"


def document_routes(table: tuple[Route, ...]) -> list[web.RouteDef]:
    """`/openapi.json`, and `/docs` with what it is made of."""

    async def show_openapi(_request: web.Request) -> web.Response:
        # A start does not wait for it, and nobody else for who asks first: it takes a tenth of a second.
        return web.Response(text=await to_thread.run_sync(text_of, table), content_type="application/json")

    async def show_docs(request: web.Request) -> web.Response:
        name = request.match_info.get("file", "docs.html")
        if name not in PAGE:
            raise web.HTTPNotFound
        headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
        return web.Response(text=_file(name), content_type=PAGE[name], headers=headers)

    return [
        web.get("/openapi.json", show_openapi),
        web.get("/docs", show_docs),
        web.get("/docs/{file}", show_docs),
    ]


@cache
def _file(name: str) -> str:
    return (WEB / name).read_text(encoding="utf-8")
