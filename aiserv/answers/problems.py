"""Refusals, and that all is well."""

from typing import Literal

from pydantic.json_schema import SkipJsonSchema

from aiserv.answers.base import Answer, Count


class FieldError(Answer):
    """What is wrong with a field; `index` is that of an item of a batch."""

    index: Count | SkipJsonSchema[None] = None
    field: str
    message: str


class ProblemAnswer(Answer):
    """Why a request was refused: RFC 9457. `hint` is there where it helps, `errors` for validation only."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    error: str
    request_id: str
    hint: str | SkipJsonSchema[None] = None
    errors: list[FieldError] | SkipJsonSchema[None] = None


class Health(Answer):
    """That all is well."""

    status: Literal["ok"]
