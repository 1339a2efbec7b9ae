"""Refusals as RFC 9457 problems: one table from SQLSTATE to code, one from code to status."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
from psycopg_pool import PoolTimeout

from aiserv.pool import PoolExhausted

TITLES: Final = {
    "invalid_json": (400, "Invalid JSON"),
    "invalid_request": (400, "Invalid request"),
    "empty_filter": (400, "Empty filter"),
    "unauthorized": (401, "Unauthorized"),
    "forbidden": (403, "Forbidden"),
    "not_found": (404, "Not found"),
    "method_not_allowed": (405, "Method not allowed"),
    "invalid_state": (409, "Invalid state"),
    "lease_lost": (409, "Lease lost"),
    "precondition_failed": (412, "Precondition failed"),
    "payload_too_large": (413, "Payload too large"),
    "unsupported_media_type": (415, "Unsupported media type"),
    "idempotency_mismatch": (422, "Idempotency mismatch"),
    "queue_full": (429, "Queue full"),
    "internal": (500, "Internal error"),
    "unavailable": (503, "Unavailable"),
}

SQLSTATES: Final = {
    "JN404": "not_found",
    "JS409": "invalid_state",
    "JL409": "lease_lost",
    "JK422": "idempotency_mismatch",
    "JV400": "invalid_request",
    "JE400": "empty_filter",
    "JP412": "precondition_failed",
    "JF403": "forbidden",
    "JQ429": "queue_full",
}

# The SQLSTATE of a statement that has waited long enough for a lock of another transaction.
LOCK_NOT_AVAILABLE: Final = "55P03"
# The database's bad day, by the first characters of the SQLSTATE: connection lost, out of resources,
# shutting down or read-only after a failover, timeouts, deadlocks, serialization failures.
UNAVAILABLE: Final = ("08", "53", "57", "25006", "40", LOCK_NOT_AVAILABLE)
RETRY_AFTER_SECONDS: Final = 1
# How our functions say what is wrong with an argument: jobs[3].task_type: must not be empty.
_COMPLAINT: Final = re.compile(r"(?:jobs\[(?P<index>\d+)\]\.?)?(?P<field>\w*(?:\[\d+\])?): (?P<message>.*)", re.DOTALL)


@dataclass
class Problem(Exception):  # noqa: N818 - the RFC's word
    """A refusal, raised anywhere and answered as `application/problem+json`.

    `errors` lists what is wrong with the fields of a request: {"field", "message"}, and "index" in a batch. `hint` says
    what to do, where that is worth saying.
    """

    code: str
    detail: str
    errors: Sequence[dict[str, Any]] = ()
    headers: dict[str, str] = field(default_factory=dict)
    hint: str | None = None

    @property
    def status(self) -> int:
        return TITLES[self.code][0]

    def body(self, request_id: str) -> dict[str, Any]:
        """The members of the answer."""
        status, title = TITLES[self.code]
        body: dict[str, Any] = {
            "type": f"/problems/{self.code}",
            "title": title,
            "status": status,
            "code": self.code,
            "detail": self.detail,
            "error": self.detail,
            "request_id": request_id,
        }
        said = {"hint": self.hint, "errors": list(self.errors)}
        return body | {name: value for name, value in said.items() if value}


def unauthorized() -> Problem:
    """The problem of a request without a token that is known."""
    return Problem(
        "unauthorized",
        "a valid bearer token is needed: Authorization: Bearer <token>",
        headers={"WWW-Authenticate": "Bearer"},
    )


def unavailable(detail: str) -> Problem:
    """The problem of a service that will be back: the client should come again."""
    return Problem("unavailable", detail, headers={"Retry-After": str(RETRY_AFTER_SECONDS)})


def too_large(most: int) -> Problem:
    """The problem of a body of more bytes than its route takes."""
    return Problem(
        "payload_too_large",
        f"the body is over {most / 2**20:g} MiB, as sent or when decompressed",
        hint="Send less at once. The limits are HTTP_MAX_BODY and HTTP_MAX_BATCH_BODY of the server.",
    )


def database_problem(error: BaseException) -> Problem | None:
    """The problem that an error of the database means to a client, or None for a bug of ours."""
    if isinstance(error, PoolTimeout):
        busy = "all connections to PostgreSQL are busy"
        return unavailable(busy if isinstance(error, PoolExhausted) else f"PostgreSQL cannot be reached, or {busy}")
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate or ""
    if state in SQLSTATES:
        return refusal(state, error.diag.message_primary or "", error.diag.message_hint)
    if state == "22P02" and "json" in (error.diag.message_primary or ""):
        return Problem("invalid_json", "the body is not valid JSON")
    if state.startswith(UNAVAILABLE) or (not state and isinstance(error, psycopg.OperationalError)):
        return unavailable("PostgreSQL cannot be reached or did not answer in time")
    return None


def refusal(sqlstate: str, message: str, hint: str | None) -> Problem:
    """The problem that a refusal of our functions means to a client."""
    code = SQLSTATES[sqlstate]
    complaint = _COMPLAINT.fullmatch(message) if code == "invalid_request" else None
    if complaint:
        index = {"index": int(complaint["index"])} if complaint["index"] else {}
        return Problem(
            code, message, [{**index, "field": complaint["field"], "message": complaint["message"]}], hint=hint
        )
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if code == "queue_full" else {}
    return Problem(code, message, headers=headers, hint=hint)
