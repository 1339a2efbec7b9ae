"""Prometheus metrics of a server and of a worker: no owner, reference or id is ever a label."""

from collections import Counter as Counts
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

import anyio
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from aiserv.counters import Counter, Histogram

STATUSES: Final = ("pending", "running", "completed", "failed", "cancelled")
# From a NOTIFY round trip to an hour in the queue; from a cached answer to an hour of audio.
PICKUP_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)
ATTEMPT_BUCKETS: Final = tuple(0.02 * 2**power for power in range(18))
REQUEST_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


# Callers choose the words: beyond so many pairs of task type and model profile they count as others.
MAX_KINDS: Final = 1000
OTHER: Final = "other"


class Metrics:
    """What servers and workers both count, in a registry of their own."""

    def __init__(self) -> None:
        # Described, a metric can be asked for by its name, and none can take the name of another.
        self.registry = CollectorRegistry(auto_describe=True)
        self._transitions = Counter(
            "aiserv_transitions",
            "Transitions of jobs that this process made.",
            ["transition", "task_type", "model_profile"],
            registry=self.registry,
        )
        self._kinds: set[tuple[str, str]] = set()
        self._listener_connected = Gauge(
            "aiserv_listener_connected",
            "Whether this process hears notifications (1) or not (0).",
            registry=self.registry,
        )
        self._tasks = Gauge("aiserv_tasks", "Tasks of the event loop of this process.", registry=self.registry)
        self._connections = Gauge(
            "aiserv_database_connections",
            "Connections to PostgreSQL, open and of them busy, and callers that are waiting for one.",
            ["state"],
            registry=self.registry,
        )

    def transition(self, transition: str, task_type: str, model_profile: str, count: int = 1) -> None:
        self._transitions.add(count, (transition, *self._kind(task_type, model_profile)))

    def transitions(self, transition: str, kinds: Iterable[tuple[str, str]]) -> None:
        """Count one for each task type and model profile."""
        for (task_type, model_profile), count in Counts(kinds).items():
            self.transition(transition, task_type, model_profile, count)

    def _kind(self, task_type: str, model_profile: str) -> tuple[str, str]:
        kind = task_type, model_profile
        if kind not in self._kinds:
            if len(self._kinds) >= MAX_KINDS:
                return OTHER, OTHER
            self._kinds.add(kind)
        return kind

    def resources(self, connections: Callable[[], dict[str, int]]) -> None:
        """Show the tasks of the event loop and the connections by state, asked at every scrape."""
        self._tasks.set_function(lambda: len(anyio.get_running_tasks()))
        for state in connections():
            self._connections.labels(state).set_function(partial(lambda state: connections()[state], state))

    def listener(self, connected: Callable[[], bool]) -> None:
        """Show whether the listener is connected, asked at every scrape."""
        self._listener_connected.set_function(connected)


class ServerMetrics(Metrics):
    """What a server counts, and what the database knows when somebody scrapes."""

    def __init__(self) -> None:
        super().__init__()
        self._requests = Histogram(
            "aiserv_http_request_seconds",
            "Requests by route template.",
            ["route", "method", "status"],
            bounds=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self._unfenced = Counter(
            "aiserv_unfenced_settlements",
            "Settlements without an attempt: a late one could hit the attempt of a successor.",
            registry=self.registry,
        )
        self._jobs = _JobGauges()
        self.registry.register(self._jobs)

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        self._requests.observe(seconds, (route, method, status))

    def settlement(self, *, fenced: bool) -> None:
        if not fenced:
            self._unfenced.add()

    def jobs(self, stats: dict[str, Any], queues: list[dict[str, Any]]) -> None:
        """Show the numbers of `aiserv.stats` and the pauses of `aiserv.list_queues` from now on."""
        self._jobs.stats = stats
        self._jobs.queues = queues


class WorkerMetrics(Metrics):
    """What a worker counts."""

    def __init__(self) -> None:
        super().__init__()
        self._pickup = Histogram(
            "aiserv_pickup_seconds",
            "From the moment a job was due to its claim, both by PostgreSQL's clock.",
            bounds=PICKUP_BUCKETS,
            registry=self.registry,
        )
        self._attempts = Histogram(
            "aiserv_attempt_seconds",
            "Attempts of this worker.",
            ["task_type", "model_profile", "outcome"],
            bounds=ATTEMPT_BUCKETS,
            registry=self.registry,
        )
        self._provider_requests = Histogram(
            "aiserv_provider_request_seconds",
            "Calls of providers; outcome is ok or an error category.",
            ["provider", "outcome"],
            bounds=ATTEMPT_BUCKETS,
            registry=self.registry,
        )
        self._tokens = Counter(
            "aiserv_tokens", "Tokens as providers reported them.", ["model_profile", "kind"], registry=self.registry
        )
        self._slots = Gauge("aiserv_worker_slots", "How many jobs this worker does at once.", registry=self.registry)
        self._busy = Gauge("aiserv_worker_slots_busy", "How many jobs it does now.", registry=self.registry)

    def slots(self, slots: int, busy: Callable[[], int]) -> None:
        """Show the slots, and how many are busy, asked at every scrape."""
        self._slots.set(slots)
        self._busy.set_function(busy)

    def pickup(self, seconds: float) -> None:
        self._pickup.observe(seconds)

    def attempt(self, task_type: str, model_profile: str, outcome: str, seconds: float) -> None:
        self._attempts.observe(seconds, (task_type, model_profile, outcome))

    def provider_request(self, provider: str, outcome: str, seconds: float) -> None:
        self._provider_requests.observe(seconds, (provider, outcome))

    def tokens(self, model_profile: str, usage: dict[str, int] | None) -> None:
        for kind in ("prompt", "completion"):
            self._tokens.add((usage or {}).get(f"{kind}_tokens", 0), (model_profile, kind))


class _JobGauges(Collector):
    """The state of the tables: the same on every server, so aggregate with max, not with sum."""

    def __init__(self) -> None:
        self.stats: dict[str, Any] = {"groups": []}
        self.queues: list[dict[str, Any]] = []

    def collect(self) -> list[GaugeMetricFamily]:
        jobs = GaugeMetricFamily("aiserv_jobs", "Jobs by status.", labels=["status", "task_type", "model_profile"])
        oldest = GaugeMetricFamily(
            "aiserv_oldest_pending_seconds", "How long the oldest due job has waited.", labels=["model_profile"]
        )
        paused = GaugeMetricFamily(
            "aiserv_queue_paused", "Whether a model profile is paused.", labels=["model_profile"]
        )
        counts: dict[tuple[str, str, str], int] = {}
        waiting: dict[str, float] = {}
        for group in self.stats["groups"]:
            profile = group["model_profile"]
            for status in STATUSES:
                key = (status, group["task_type"], profile)
                counts[key] = counts.get(key, 0) + group[status]
            waiting[profile] = max(waiting.get(profile, 0), group["oldest_pending_seconds"] or 0)
        for labels, count in counts.items():
            jobs.add_metric(labels, count)
        for profile, seconds in waiting.items():
            oldest.add_metric([profile], seconds)
        for queue in self.queues:
            if queue["task_type"] is None:
                paused.add_metric([queue["model_profile"]], float(queue["paused"]))
        return [jobs, oldest, paused]
