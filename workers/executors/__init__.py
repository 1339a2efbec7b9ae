"""What a worker runs: an executor turns the `input` of a job into an outcome."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from pydantic import JsonValue

from workers.failures import Failure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aiserv.models import Job


@dataclass(frozen=True)
class Outcome:
    """What a successful attempt leaves: the job's `result`, and the tokens spent.

    `usage` has what the provider counted of `prompt_tokens`, `completion_tokens` and
    `total_tokens`, or is None. `troubles` has the failures, fit to be stored, of providers in
    trouble by their names, where another one did the job.
    """

    result: JsonValue
    usage: dict[str, int] | None
    troubles: "Mapping[str, Failure]" = field(default_factory=dict)


# Raises `workers.failures.Failure`; any other exception is a bug (`internal`). Cancelling it
# closes the connection to the provider.
Executor: TypeAlias = "Callable[[Job], Awaitable[Outcome]]"


def input_of(job: "Job") -> JsonValue:
    """The input of the job. Raises `Failure` for JSON that Python cannot hold: endless depth, thousands of digits."""
    try:
        return job.input
    except (ValueError, RecursionError) as error:
        raise Failure("invalid_input", f"input: cannot be read: {type(error).__name__}") from None
