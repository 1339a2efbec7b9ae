"""Callers that create, cancel, retry, read and work over HTTP, and write down every answer."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import anyio

from tests.faults.ledger import Ledger, at_rest
from tests.faults.postgres import Connect
from tests.faults.scale import CALLER_PAUSE, within
from tests.faults.service import EchoProvider, Service, echo_provider, service
from tests.invariants import broken

JOB = {"owner_service": "telephony", "task_type": "llm_chat", "model_profile": "qwen"}
REMOTE = {**JOB, "task_type": "remote", "model_profile": "remote"}
# For a request that no process answers because none is there.
GIVE_UP_SECONDS = within(30)
REST_SECONDS = 180.0
REFUSALS = {404, 409, 503}
Caller = Callable[[], Awaitable[None]]


@dataclass
class Load:
    """Mixed callers. Each turns to another server when one is away, and repeats only what may be repeated."""

    service: Service
    rng: Random
    ledger: Ledger = field(default_factory=Ledger)
    pause: float = CALLER_PAUSE
    slowest: float = 0.0
    sent: int = 0
    unavailable: int = 0
    resets: int = 0
    surprises: list[str] = field(default_factory=list)
    _numbers: int = 0
    _stopped: bool = False
    _http: aiohttp.ClientSession = field(init=False)

    @asynccontextmanager
    async def running(self, connect: Connect) -> AsyncIterator[None]:
        """Callers at work until the end of the block; then all that wait get their answers, and all jobs are done."""
        # Connections are not kept: one that a server closes while it is idle would look like a reset.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=GIVE_UP_SECONDS)
        callers: list[Caller] = [
            self.create_with_key, self.create_with_key, self.create_without_key, self.create_batch,
            self.cancel, self.read_and_retry,
        ]  # fmt: skip
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as self._http,
            anyio.create_task_group() as workers,
        ):
            workers.start_soon(self._work_for_ever)
            async with anyio.create_task_group() as tasks:
                for caller in callers:
                    tasks.start_soon(self._repeat, caller)
                yield
                self._stopped = True
            with connect() as db:
                await at_rest(db, REST_SECONDS)
            workers.cancel_scope.cancel()

    async def _repeat(self, caller: Caller) -> None:
        while not self._stopped:
            await caller()
            await anyio.sleep(self.rng.uniform(0, 2 * self.pause))

    async def _work_for_ever(self) -> None:
        while True:
            await self.work()
            await anyio.sleep(self.pause)

    def name(self) -> str:
        """The name of a new job; some fail at first."""
        self._numbers += 1
        kind = "stumble" if self.rng.random() < 0.05 else "job"
        return f"{kind}-{self._numbers}"

    def new(self, name: str) -> dict[str, Any]:
        self.ledger.asked.add(name)
        kind = REMOTE if self.rng.random() < 0.2 else JOB
        return {**kind, "owner_ref": name, "input": {"user": name}}

    async def create_with_key(self) -> None:
        """Create one, and insist."""
        name = self.name()
        answer = await self.insist("jobs", {**self.new(name), "idempotency_key": name})
        self.ledger.was_created(answer, name)

    async def create_without_key(self) -> None:
        """Create one, or never know: it is not repeated."""
        name = self.name()
        if created := await self.post("jobs", self.new(name)):
            self.ledger.was_created(created, name)

    async def create_batch(self) -> None:
        """Create some, all or none, and insist."""
        names = [self.name() for _ in range(5)]
        self.ledger.batches.append(names)
        body = {"jobs": [self.new(name) for name in names]}
        answer = await self.insist("jobs/batch", body, {"Idempotency-Key": str(uuid4())})
        for name, shown in zip(names, answer["jobs"], strict=True):
            self.ledger.was_created(shown, name)

    async def cancel(self) -> None:
        """Cancel one of the last."""
        if job_id := self._some():
            shown = await self.post(f"jobs/{job_id}/cancel", {})
            if shown:
                self.ledger.was_cancelled(shown)

    async def read_and_retry(self) -> None:
        """Look at one of the last, and retry it if it has failed."""
        if not (job_id := self._some()):
            return
        shown = await self.request("GET", f"jobs/{job_id}?wait=100ms")
        if shown:
            self.ledger.was_read(shown)
        if shown and shown["status"] == "failed":
            # Also when the answer is lost: it may have been retried, once.
            self.ledger.retried[job_id] += 1
            await self.post(f"jobs/{job_id}/retry", {})

    async def work(self) -> None:
        """Work as a remote worker: claim, settle, and repeat both until they are answered."""
        claim = {"worker_id": "remote", "claim_id": str(uuid4()), "model_profiles": ["remote"], "limit": 5,
                 "lease": "3s"}  # fmt: skip
        claimed = await self.insist("jobs/claim", claim)
        for job in claimed["jobs"]:
            name = job["owner_ref"]
            self.ledger.executions[name] += 1
            verb, words = self._ending(name)
            body = {"attempt": job["attempt"], **words}
            if shown := await self.insist(f"jobs/{job['id']}/{verb}", body):
                outcomes = {"complete": "completed", "release": "released"}
                outcome = outcomes.get(verb) or ("failed" if shown["status"] == "failed" else "retrying")
                self.ledger.was_ended((UUID(job["id"]), job["attempt"]), outcome, shown)

    def _ending(self, name: str) -> tuple[str, dict[str, Any]]:
        """How a remote worker ends an attempt: the verb and its body. One in ten is given back, two in ten fail."""
        luck = self.rng.random()
        if luck < 0.1:
            return "release", {}
        if luck < 0.3:
            return "fail", {"category": "timeout", "message": "", "retryable": luck < 0.2, "retry_after": "0s"}
        return "complete", {"result": {"content": name}}

    def _some(self) -> UUID | None:
        latest = list(self.ledger.created)[-200:]
        return self.rng.choice(latest) if latest else None

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        return await self.request("POST", path, body)

    async def insist(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> dict[str, Any]:
        """The answer, however often it takes; empty for a refusal that will stay."""
        while True:
            answer = await self.request("POST", path, body, headers)
            if answer is not None:
                return answer
            await anyio.sleep(self.pause / 4)

    async def request(
        self, method: str, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any] | None:
        """A success, an empty one for a refusal, or None: nobody was there, or had no time."""
        url = self.rng.choice(self.service.urls)
        started = time.monotonic()
        self.sent += 1
        try:
            async with self._http.request(method, f"{url}/api/v1/{path}", json=body, headers=headers) as response:
                answer: dict[str, Any] = await response.json()
        except aiohttp.ClientConnectorError:
            return None
        except aiohttp.ClientError:
            self.resets += 1
            return None
        except TimeoutError:
            self.surprises.append(f"{method} {path}: no answer in {GIVE_UP_SECONDS:.0f} seconds")
            return None
        self.slowest = max(self.slowest, time.monotonic() - started)
        if response.status < 400:
            return answer
        if response.status not in REFUSALS:
            self.surprises.append(f"{method} {path}: {response.status} {answer}")
        self.unavailable += response.status == 503
        return None if response.status == 503 else {}


def checked(load: Load, connect: Connect, provider: EchoProvider, running: Service) -> None:
    """What every fault must leave: everything acknowledged as it was, and logs without a traceback."""
    with connect() as db:
        load.ledger.compare(db, provider.executions)
        assert broken(db) == []
    assert load.ledger.violations == []
    assert load.surprises == []
    assert running.complaints() == []


@asynccontextmanager
async def under_load(
    conninfo: str,
    connect: Connect,
    seed: int,
    *,
    servers: int = 1,
    workers: int = 1,
    pause: float = CALLER_PAUSE,
    answer_seconds: float = 0.02,
) -> AsyncIterator[Load]:
    """So many servers and workers, with callers at work until the end of the block; then their books are compared."""
    async with echo_provider(seconds=answer_seconds) as provider:
        with service(conninfo, provider) as running:
            for start in [running.start_server] * servers + [running.start_worker] * workers:
                await start()
            load = Load(running, Random(seed), pause=pause)
            async with load.running(connect):
                yield load
            checked(load, connect, provider, running)
