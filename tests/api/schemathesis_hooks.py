"""What schemathesis needs to know of our formats, and what would make its run long or say nothing."""

import re
from typing import Any

import schemathesis
from hypothesis import strategies

DURATION = re.compile(r"\d+(\.\d+)?(ms|s|m|h)?")
# A list of a thousand ids does not fit into a request line.
MAX_VALUES = 20

schemathesis.openapi.format(
    "go-duration",
    strategies.builds("{}{}".format, strategies.integers(1, 59), strategies.sampled_from(["s", "", ".5s"])),
)
schemathesis.openapi.format("etags", strategies.sampled_from(["*", '"a"', 'W/"a", "b"']))


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:  # noqa: ANN401 - schemathesis has no public types
    """Mend what a schema cannot say of a request that it lets pass."""
    # A cursor is opaque: only one that the API gave is valid, and tests of ours turn those pages.
    if isinstance((case.query or {}).get("cursor"), str):
        del case.query["cursor"]
    for name, values in (case.query or {}).items():
        case.query[name] = values[:MAX_VALUES] if isinstance(values, list) else values
    # JSON Schema takes 1.0 for an integer, we do not.
    case.body = body = _with_integers(case.body)
    if not isinstance(body, dict):
        return
    # A claim that waits makes the run long.
    if isinstance(body.get("wait"), str) or _is_duration(body.get("wait")):
        body["wait"] = "0s"
    # The header and the body may both have the key, but not two.
    if isinstance(body.get("idempotency_key"), str) and "Idempotency-Key" in (case.headers or {}):
        body["idempotency_key"] = case.headers["Idempotency-Key"]
    if isinstance(body.get("jobs"), list):
        _mend_batch(body)


def _mend_batch(body: dict[str, Any]) -> None:
    """What counts is each job with what it shares: that it says its kind, and has one time and a key of its own."""
    jobs = [job for job in body["jobs"] if isinstance(job, dict)]
    for job in jobs:
        for name in ("owner_service", "task_type", "model_profile"):
            if job.get(name) is None:
                job[name] = "a"
    for part in (body, body.get("defaults"), *jobs):
        if isinstance(part, dict) and _is_duration(part.get("delay")):
            del part["delay"]
        if isinstance(part, dict) and isinstance(part.get("idempotency_key"), str):
            del part["idempotency_key"]


def _is_duration(value: object) -> bool:
    return DURATION.fullmatch(str(value)) is not None


def _with_integers(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _with_integers(member) for name, member in value.items()}
    return [_with_integers(item) for item in value] if isinstance(value, list) else value
