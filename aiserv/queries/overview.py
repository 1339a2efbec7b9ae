"""Queues, workers and numbers."""

import json
from datetime import timedelta
from typing import Any, Final

from aiserv.filters import Stats
from aiserv.models import SetQueue
from aiserv.queries.base import Queries

# A limit that is left out stays; null lifts it.
KEEP: Final = -1
KEEP_TEXT: Final = ""


class OverviewQueries(Queries):
    """Queues, workers and numbers."""

    async def list_queues(
        self, model_profile: str | None = None, task_type: str | None = None, owner_service: str | None = None
    ) -> tuple[str, str]:
        """Queues as a JSON array, and the version of the settings of the one that was named; numbers of one owner."""
        row = await self._row(
            """
            select
                coalesce(json_agg(
                    aiserv.queue_json(queue) order by queue.model_profile, queue.task_type nulls first
                ), '[]')::text,
                coalesce(max(aiserv.queue_version(queue)) filter (
                    where queue.task_type is not distinct from %(task_type)s
                ), '0')
            from aiserv.list_queues(
                model_profile => %(model_profile)s, task_type => %(task_type)s, owner_service => %(owner_service)s
            ) as queue
            """,
            {"model_profile": model_profile, "task_type": task_type, "owner_service": owner_service},
        )
        return row[0], row[1]

    async def set_queue(
        self,
        model_profile: str,
        task_type: str | None,
        settings: SetQueue,
        versions: list[str] | None,
        *,
        actor: str | None,
    ) -> tuple[str, str]:
        """The queue with the settings that are given changed, and their version; only if it was at one of these."""
        given = {name: getattr(settings, name) for name in settings.model_fields_set}
        row = await self._row(
            """
            select aiserv.queue_json(queue)::text, aiserv.queue_version(queue)
            from aiserv.set_queue(
                model_profile       => aiserv.check_queue_version(
                    model_profile => %(model_profile)s, task_type => %(task_type)s, versions => %(versions)s
                ),
                task_type           => %(task_type)s,
                paused              => %(paused)s,
                pause_reason        => %(pause_reason)s,
                max_running         => %(max_running)s,
                requests_per_minute => %(requests_per_minute)s,
                tokens_per_minute   => %(tokens_per_minute)s,
                actor               => %(actor)s
            ) as queue
            """,
            {
                "model_profile": model_profile,
                "task_type": task_type,
                "versions": versions,
                "actor": actor,
                "paused": bool(given["paused"]) if "paused" in given else None,
                "pause_reason": given.get("pause_reason", KEEP_TEXT),
                **{name: given.get(name, KEEP) for name in ("max_running", "requests_per_minute", "tokens_per_minute")},
            },
        )
        return row[0], row[1]

    async def list_workers(self, owner_service: str | None = None) -> str:
        """The workers, as a JSON array, with the jobs of one owner that they hold."""
        return await self._text(
            """
            select coalesce(json_agg(json_build_object(
                'worker_id', worker.worker_id,
                'instance_id', worker.instance_id,
                'kind', worker.kind,
                'task_types', worker.task_types,
                'model_profiles', worker.model_profiles,
                'slots', worker.slots,
                'owner_service', worker.owner_service,
                'busy', worker.busy,
                'last_seen_at', aiserv.time_text(worker.last_seen_at),
                'state', worker.state,
                'jobs', worker.jobs
            ) order by worker.worker_id, worker.started_at), '[]')::text
            from aiserv.list_workers(owner_service => %(owner_service)s) as worker
            """,
            {"owner_service": owner_service},
        )

    async def show_stats(self, chosen: Stats) -> str:
        """The numbers, as a JSON object."""
        ago = isinstance(chosen.since, timedelta)
        return await self._text(
            """
            select aiserv.stats(
                owner_service => %(owner_service)s,
                task_type     => %(task_type)s,
                model_profile => %(model_profile)s,
                since         => coalesce(%(since)s::timestamptz, clock_timestamp() - %(ago)s::interval)
            )::text
            """,
            {**chosen.parameters(), "since": None if ago else chosen.since, "ago": chosen.since if ago else None},
        )

    async def stats(self) -> dict[str, Any]:
        """The numbers of the whole installation, as `aiserv.stats` gives them."""
        return json.loads(await self._text("select aiserv.stats()::text"))  # type: ignore[no-any-return]  # an object

    async def queues(self) -> list[dict[str, Any]]:
        """The queues with `model_profile`, `task_type`, `paused` and `running` of each."""
        rows = await self._rows("select model_profile, task_type, paused, running from aiserv.list_queues()")
        names = ("model_profile", "task_type", "paused", "running")
        return [dict(zip(names, row, strict=True)) for row in rows]

    async def troubles(self) -> dict[str, str]:
        """The providers in trouble, and in a few words since when, until when and why."""
        rows = await self._rows(
            """
            select provider.name, provider.category, aiserv.time_text(provider.paused_until)
            from aiserv.providers as provider
            """
        )
        return {name: f"{category} until {until}" for name, category, until in rows}
