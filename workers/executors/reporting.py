"""An executor that can show how far it is: its progress is stored with the lease of the attempt."""

import json
import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from pydantic import JsonValue

from aiserv.database import Database, DatabaseError
from aiserv.models import HeartbeatJob, Job
from workers.executors import Executor, Outcome

logger = logging.getLogger(__name__)

# Stores the progress of the running attempt; it does not raise, for progress is a courtesy.
ReportProgress: TypeAlias = Callable[[JsonValue], Awaitable[None]]


def reporting(execute: Callable[[Job, ReportProgress], Awaitable[Outcome]], database: Database) -> Executor:
    """The executor, given a way to report with each job."""

    async def execute_and_report(job: Job) -> Outcome:
        async def report_progress(progress: JsonValue) -> None:
            body = json.dumps({"progress": progress}, ensure_ascii=False, allow_nan=False)
            try:
                await database.heartbeat_job(job.id, body, HeartbeatJob(attempt=job.attempt))
            except DatabaseError as error:
                # A lost lease is the lease keeper's business; all else comes to light at the settlement.
                logger.warning("progress of job %s not stored: %s", job.id, error.sqlstate)

        return await execute(job, report_progress)

    return execute_and_report
