"""The headers that clients may send and get, for the OpenAPI document."""

from typing import Any, Final

from multidict import istr

# Of the kind that is looked up as it is: any other name is made lower-case first, each time.
IDEMPOTENCY_KEY: Final = istr("Idempotency-Key")
TRACEPARENT: Final = istr("traceparent")
PREFER: Final = istr("Prefer")

_ETAGS: Final = {"type": "string", "examples": ['"pe-0-1717922952000000"']}

REQUEST_HEADERS: Final[dict[str, dict[str, Any]]] = {
    IDEMPOTENCY_KEY: {
        "description": "As idempotency_key in the body, or for a whole batch: a known one answers what it made.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
    },
    TRACEPARENT: {"description": "The W3C trace context of the caller.", "schema": {"type": "string"}},
    PREFER: {
        "description": "wait=30 waits up to so many seconds for the end, as the parameter wait does.",
        "schema": {"type": "string", "examples": ["wait=30"]},
    },
    "If-None-Match": {"description": "Answer 304 if the job is still at this version.", "schema": _ETAGS},
    "If-Match": {
        "description": "Refuse with 412 unless it is at one of these versions.",
        "schema": {**_ETAGS, "format": "etags"},
    },
    "Last-Event-ID": {
        "description": "Resume behind this event; event resync says that this is not possible.",
        "schema": {"type": "string"},
    },
}

ANSWER_HEADERS: Final[dict[str, dict[str, Any]]] = {
    "X-Request-Id": {
        "description": "The id of the request, the client's own if it sent one.",
        "schema": {"type": "string"},
    },
    "ETag": {"description": "The version of what is shown.", "schema": {"type": "string"}},
    "Location": {"description": "Where the job is.", "schema": {"type": "string"}},
    "Idempotency-Replayed": {"description": "true for what was there already.", "schema": {"type": "string"}},
    "Preference-Applied": {"description": "The wait that Prefer asked for.", "schema": {"type": "string"}},
}
