"""The worker's own HTTP port: health, readiness, metrics, and what it is doing."""

import time
from typing import Any

from aiohttp import web

from aiserv.fields import time_text
from aiserv.probes import database_readiness, probe_routes
from aiserv.settings import WorkerSettings
from aiserv.values import go_duration
from workers.attempt import End
from workers.worker import Worker


def status_application(worker: Worker, settings: WorkerSettings) -> web.Application:
    """The application of a worker; all of it open, so there are no payloads and no secrets in it."""

    async def readiness() -> str | None:
        return "the worker is draining" if worker.draining else await database_readiness(worker.lease_database)

    async def status(_request: web.Request) -> web.Response:
        """Show what the worker is and does."""
        return web.json_response(worker_status(worker, settings))

    application = web.Application()
    application.add_routes(probe_routes(worker.metrics.registry, readiness))
    application.router.add_get("/worker/status", status)
    return application


def worker_status(worker: Worker, settings: WorkerSettings) -> dict[str, Any]:
    """The members of `GET /worker/status`."""
    listener, record = worker.listener, worker.record
    state = "draining" if worker.draining else "running" if worker.attempts else "idle"
    return {
        "worker_id": worker.worker_id,
        "instance_id": str(worker.instance_id),
        "state": state,
        "started_at": time_text(record.started_at),
        "uptime_seconds": time.monotonic() - record.started,
        "task_types": worker.task_types,
        "model_profiles": worker.model_profiles,
        "claim_limit": worker.slots,
        "poll_interval": go_duration(settings.poll_interval),
        "lease_timeout": go_duration(settings.lease_timeout),
        "in_flight": [
            {
                "id": str(attempt.job.id),
                "task_type": attempt.job.task_type,
                "attempt": attempt.job.attempt,
                "started_at": time_text(attempt.job.started_at),
                "lease_expires_at": time_text(attempt.lease_expires_at),
            }
            for attempt in worker.attempts.values()
        ],
        "processed": record.ends.total(),
        "completed": record.ends[End.COMPLETED],
        "failed": record.ends[End.FAILED],
        "released": record.ends[End.RELEASED],
        "lease_lost": record.ends[End.LEASE_LOST],
        "last_claim_at": time_text(record.last_claim_at),
        "last_error": record.last_error,
        "listener": {
            "connected": listener is not None and listener.connected,
            "last_notification_at": time_text(listener.last_notification_at if listener else None),
            "reconnects": max(listener.reconnects, 0) if listener else 0,
        },
    }
