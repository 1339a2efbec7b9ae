"""What a request says: ids in its path, its query, its body as a checked model beside the text it came as."""

import re
from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, TypeVar
from uuid import UUID

import anyio
from aiohttp import hdrs, web
from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from aiserv.api.app_keys import CALLER, DEADLINES, MAX_BATCH_BODY
from aiserv.api.compression import gunzip
from aiserv.api.headers import IDEMPOTENCY_KEY
from aiserv.api.json_text import read_json
from aiserv.fields import Conditions, parse_uuid
from aiserv.http.connections import ask_for_body
from aiserv.models import Request
from aiserv.problems import Problem, too_large

MAX_ERRORS: Final = 100
# Above this a body is read in a thread, so that others are answered meanwhile.
LONG_BYTES: Final = 128 * 1024
# What clients may give as one value with commas.
COMMA_SEPARATED: Final = frozenset({"id", "status", "batch_id"})
JSON: Final = re.compile(r'application/(\w[\w.-]*\+)?json(\s*;\s*charset="?utf-?8"?)?\s*', re.IGNORECASE | re.ASCII)
# An idempotency key as PostgreSQL can store it, and a header can hold it.
KEY: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}")
# What pydantic says of its own types, in the words of ours.
MESSAGES: Final = {
    "missing": "must be given",
    "extra_forbidden": "unknown field",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "int_type": "must be an integer",
    "float_type": "must be a number",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "list_type": "must be a list",
}
# Tells the kinds of an item apart and stands in its path, though no client wrote it.
TAGS: Final = frozenset({"completion", "failure"})

Model = TypeVar("Model", bound=Request)


def path_id(request: web.Request, name: str = "job_id") -> UUID:
    """The id in the path. Raises Problem `invalid_request` for one that is no UUID."""
    try:
        return parse_uuid(request.match_info[name])
    except PydanticCustomError as error:
        raise invalid([{"field": name, "message": error.message()}]) from None


def header_key(request: web.Request) -> str | None:
    """The header Idempotency-Key. Raises Problem `invalid_request` for one that cannot be stored."""
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and not KEY.fullmatch(key):
        raise invalid([{"field": IDEMPOTENCY_KEY, "message": "must be 1 to 200 characters of UTF-8 text"}])
    return key


async def parse(model: type[Model], request: web.Request) -> tuple[str, Model]:
    """The text of the body and what it says; no body is an empty object."""
    text, value = await read_body(request)
    return text, of_caller(validated(model, value), request)


async def read_body(request: web.Request) -> tuple[str, Any]:
    """The text of a JSON body and its value.

    Raises Problem for another media type, no JSON, or too much of it.
    """
    body = await read_json_bytes(request)
    if len(body) > LONG_BYTES:
        return await anyio.to_thread.run_sync(read_json, body)
    return read_json(body)


async def read_json_bytes(request: web.Request) -> bytes:
    """The bytes of a JSON body. Raises Problem for another media type, or too much of it."""
    declared = request.headers.get(hdrs.CONTENT_TYPE)
    if request.body_exists and declared is not None and not JSON.fullmatch(declared):
        raise Problem("unsupported_media_type", "the body must say Content-Type: application/json, and be UTF-8")
    return await read_bytes(request) or b"{}"


async def read_bytes(request: web.Request) -> bytes:
    """The bytes of a body, decompressed; never more than the limit, as declared and as they come."""
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity").strip().lower()
    if request.body_exists and encoding not in {"identity", "gzip"}:
        raise Problem("unsupported_media_type", "the body may be compressed with gzip only")
    limit = request.client_max_size
    if (request.content_length or 0) > limit:
        raise too_large(limit)
    await ask_for_body(request)
    # Most bodies came together with their heads: a deadline and a loop over pieces would cost more than they do.
    body = request.content.read_nowait() if request.content.is_eof() else await _arriving(request)
    if len(body) > limit:
        raise too_large(limit)
    return await anyio.to_thread.run_sync(gunzip, body, limit) if encoding == "gzip" else body


async def _arriving(request: web.Request) -> bytes:
    patience = request.app[DEADLINES].body
    with anyio.move_on_after(patience) as arrival:
        try:
            return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_large(request.client_max_size) from None
    assert arrival.cancelled_caught  # noqa: S101 - nothing else leads here
    raise Problem("invalid_request", f"the body did not arrive within {patience:g} seconds")


def roomy(request: web.Request) -> web.Request:
    """The request with the limit of bodies that hold many jobs."""
    return request.clone(client_max_size=request.app[MAX_BATCH_BODY])


def validated(model: type[Model], value: object) -> Model:
    """The value as the model.

    Raises Problem `invalid_request` that names each field and what is wrong with it.
    """
    if not isinstance(value, dict):
        raise Problem("invalid_request", "the body must be an object")
    try:
        return _of(model, value)
    except ValidationError as error:
        raise invalid(error_list(error.errors())) from None


def query(model: type[Model], request: web.Request, only: AbstractSet[str] | None = None) -> Model:
    """The query, or `only` these parameters of it, as the model.

    A parameter may be repeated, and some may hold several values with commas.
    """
    values: dict[str, Any] = {}
    # What is not there need not be parsed.
    given_names = request.query.keys() if request.query_string else frozenset[str]()
    for name in given_names if only is None else only & given_names:
        given = request.query.getall(name)
        if name in COMMA_SEPARATED:
            given = [part for item in given for part in item.split(",")]
        if len(given) > 1 and not _takes_many(model, name):
            raise invalid([{"field": name, "message": "must be given once"}])
        values[name] = given if len(given) > 1 else given[0]
    try:
        asked = _of(model, values)
    except ValidationError as error:
        raise invalid([_of_query(each) for each in error_list(error.errors())]) from None
    return of_caller(asked, request)


def _of(model: type[Model], value: dict[str, Any]) -> Model:
    # As model_validate does, which spends a quarter of the time on options that nobody gives.
    return model.__pydantic_validator__.validate_python(value)  # type: ignore[no-any-return]  # a Model


def of_caller(asked: Model, request: web.Request) -> Model:
    """What was asked for, confined to the owner that the token is bound to.

    Raises Problem `forbidden` for another owner: an empty answer would look as if there were nothing.
    """
    owner = request[CALLER].owner
    if owner is None or "owner_service" not in type(asked).model_fields:
        return asked
    fields = dict(asked)
    given = fields["owner_service"]
    refuse_other_owners(request, given if isinstance(given, list) else [given])
    confined = [owner] if _takes_many(type(asked), "owner_service") else owner
    # As if it had been given, but not among the fields set: a filter without conditions is still empty.
    return asked.model_construct(asked.model_fields_set, **{**fields, "owner_service": confined})


def refuse_other_owners(request: web.Request, owners: Iterable[str | None], item: str = "") -> None:
    """Raise Problem `forbidden` unless the token may act for all of them; None stands for its own."""
    caller = request[CALLER]
    if caller.owner is not None and any(owner not in {None, caller.owner} for owner in owners):
        raise Problem("forbidden", f"{item}owner_service: the token {caller.name} is for {caller.owner} alone")


def _takes_many(model: type[Request], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is not None and any(isinstance(mark, Conditions) for mark in field.metadata)


def _of_query(error: dict[str, Any]) -> dict[str, Any]:
    message = "unknown parameter" if error["message"] == MESSAGES["extra_forbidden"] else error["message"]
    return {"field": error["field"].partition("[")[0], "message": message}


def error_list(errors: Iterable[ErrorDetails]) -> list[dict[str, Any]]:
    """The errors of a validation as {"field", "message"}."""
    return [{"field": _field(error["loc"]), "message": _message(error)} for error in errors]


def item_error_list(errors: Iterable[ErrorDetails], begin: int) -> list[dict[str, Any]]:
    """The errors of the validation of a list as {"index", "field", "message"}; its first item is number `begin`."""
    return [
        {"index": begin + int(error["loc"][0]), "field": _field(error["loc"][1:]), "message": _message(error)}
        for error in errors
    ]


def _field(location: Sequence[int | str]) -> str:
    parts = [part for part in location if part not in TAGS]
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)[1:]


def _message(error: ErrorDetails) -> str:
    if error["type"] == "string_too_short" and error["ctx"]["min_length"] == 1:
        return "must not be empty"
    # "Input should be …": the field's name stands before it.
    said = re.sub(r"^\w+ should ", "must ", error["msg"])
    return MESSAGES.get(error["type"], said.removesuffix(" after validation"))


def invalid(errors: list[dict[str, Any]]) -> Problem:
    """The problem of a request with these errors, the first of them in its detail."""
    first = errors[0]
    item = f"jobs[{first['index']}]" if "index" in first else ""
    where = ".".join(part for part in (item, first["field"]) if part)
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem("invalid_request", f"{where}: {first['message']}{more}", errors[:MAX_ERRORS])
