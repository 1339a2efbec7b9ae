"""An executor whose calls are measured."""

import time

from aiserv.metrics import WorkerMetrics
from aiserv.models import Job
from workers.executors import Executor, Outcome
from workers.failures import Failure


def observed(provider: str, execute: Executor, metrics: WorkerMetrics) -> Executor:
    """The executor, each of its calls shown in `aiserv_provider_request_seconds` under the provider's name."""

    async def execute_and_measure(job: Job) -> Outcome:
        started = time.monotonic()
        outcome = "cancelled"
        try:
            answer = await execute(job)
            outcome = "ok"
        except Failure as failure:
            outcome = failure.category
            raise
        except Exception:
            outcome = "internal"
            raise
        finally:
            metrics.provider_request(provider, outcome, time.monotonic() - started)
        return answer

    return execute_and_measure
