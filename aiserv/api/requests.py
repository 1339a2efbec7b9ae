"""What a request says: its id in the path, its query, its body as a checked model beside the text it came as."""

from collections.abc import Iterable
from typing import Any, Final, TypeVar
from uuid import UUID

from aiohttp import web
from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from aiserv.api.json_text import read_json, refuse_repeated
from aiserv.models import Request, parse_uuid
from aiserv.problems import Problem

MAX_ERRORS: Final = 100
# What pydantic says of its own types, in the words of ours.
MESSAGES: Final = {"missing": "must be given", "extra_forbidden": "unknown field", "none_required": "must be null"}

Model = TypeVar("Model", bound=Request)


def path_id(request: web.Request, name: str = "job_id") -> UUID:
    """The id in the path. Raises Problem `invalid_request` for one that is no UUID."""
    try:
        return parse_uuid(request.match_info[name])
    except PydanticCustomError as error:
        raise Problem("invalid_request", f"{name}: {error.message()}") from None


async def parse(model: type[Model], request: web.Request) -> tuple[str, Model]:
    """The text of the body and what it says; no body is an empty object."""
    no_query(request)
    text, value = await read_body(request)
    refuse_repeated(value)
    return text, validated(model, value)


async def read_body(request: web.Request) -> tuple[str, Any]:
    """The text of a JSON body and its value. Raises Problem for another media type, no JSON, or too much of it."""
    if request.body_exists and request.content_type not in {"application/json", "application/octet-stream"}:
        raise Problem("unsupported_media_type", f"the body is {request.content_type}; it must be application/json")
    if (request.content_length or 0) > request.client_max_size:
        raise web.HTTPRequestEntityTooLarge(max_size=request.client_max_size, actual_size=request.content_length or 0)
    return read_json(await request.read() or b"{}")


def validated(model: type[Model], value: object) -> Model:
    """The value as the model. Raises Problem `invalid_request` that names each field and what is wrong with it."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise invalid(error_list(error.errors())) from None


def query(model: type[Model], request: web.Request, lists: Iterable[str] = ()) -> Model:
    """The query as the model: the parameters in `lists` may be repeated or, for ids and states, comma-separated."""
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        if name in lists:
            values[name] = [part for item in given for part in (item.split(",") if name in {"id", "status"} else [item])]
        elif len(given) > 1:
            raise Problem("invalid_request", f"{name}: must be given once")
        else:
            values[name] = int(given[0]) if given[0].isdecimal() and name == "limit" else given[0]
    return validated(model, values)


def no_query(request: web.Request) -> None:
    """Refuse a query where none is known: a mistyped parameter must never be ignored."""
    for name in request.query:
        raise Problem("invalid_request", f"{name}: unknown parameter", [{"field": name, "message": "unknown parameter"}])


def error_list(errors: Iterable[ErrorDetails], index: int | None = None) -> list[dict[str, Any]]:
    """The errors of a validation as {"field", "message"}, and "index" for an item of a batch."""
    return [
        {
            **({} if index is None else {"index": index}),
            "field": ".".join(str(part) for part in error["loc"]) or error["type"],
            "message": MESSAGES.get(error["type"], error["msg"][0].lower() + error["msg"][1:]),
        }
        for error in errors
    ]


def invalid(errors: list[dict[str, Any]]) -> Problem:
    """The problem of a request with these errors, the first of them in its detail."""
    first = errors[0]
    where = f"jobs[{first['index']}]." if "index" in first else ""
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid_request", f"{where}{first['field']}: {first['message']}{more}", errors[:MAX_ERRORS])
