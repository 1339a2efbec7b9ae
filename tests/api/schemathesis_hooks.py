"""What schemathesis needs to know of our formats, and what would make its run long or say nothing."""

import re
from typing import Any

import schemathesis
from hypothesis import strategies

DURATION = re.compile(r"\d+(\.\d+)?(ms|s|m|h)?")
# A list of a thousand ids does not fit into a request line.
MOST_VALUES = 20

schemathesis.openapi.format(
    "go-duration",
    strategies.builds("{}{}".format, strategies.integers(1, 59), strategies.sampled_from(["s", "", ".5s"])),
)
schemathesis.openapi.format("etags", strategies.sampled_from(["*", '"a"', 'W/"a", "b"']))


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:  # noqa: ANN401 - schemathesis has no public types
    """Wait for nothing; keep lines short; and write integers as such: JSON Schema takes 1.0 for one, we do not."""
    if isinstance((case.query or {}).get("cursor"), str):
        del case.query["cursor"]
    for name, values in (case.query or {}).items():
        case.query[name] = values[:MOST_VALUES] if isinstance(values, list) else values
    case.body = body = _with_integers(case.body)
    if not isinstance(body, dict):
        return
    if isinstance(body.get("wait"), str) or _is_duration(body.get("wait")):
        body["wait"] = "0s"
    if isinstance(body.get("idempotency_key"), str) and "Idempotency-Key" in (case.headers or {}):
        body["idempotency_key"] = case.headers["Idempotency-Key"]
    _name_kinds(case.operation.definition.raw["operationId"], body)
    # A delay in one place and a run_at in another meet in a job.
    jobs = body.get("jobs")
    for part in (body, body.get("defaults"), *jobs) if isinstance(jobs, list) else ():
        if isinstance(part, dict) and _is_duration(part.get("delay")):
            del part["delay"]


def _name_kinds(operation: str, body: dict[str, Any]) -> None:
    """No schema can say that each job of a batch needs what names its kind: itself, or from what the jobs share."""
    for job in body.get("jobs") or () if operation == "create_jobs" else ():
        for name in ("owner_service", "task_type", "model_profile") if isinstance(job, dict) else ():
            if job.get(name) is None:
                job[name] = "a"


def _is_duration(value: object) -> bool:
    return DURATION.fullmatch(str(value)) is not None


def _with_integers(value: Any) -> Any:  # noqa: ANN401 - JSON
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _with_integers(member) for name, member in value.items()}
    return [_with_integers(item) for item in value] if isinstance(value, list) else value
