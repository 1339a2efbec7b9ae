"""`aiserv bench`: creates, drains and picks up jobs of its own on a database, and takes them away again."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from aiserv.bench.child import TASK_TYPE
from aiserv.bench.children import Child, ChildError, started
from aiserv.bench.load import HttpConnection, LoadError, closed_loop, paced, percentile, request
from aiserv.bench.report import Report
from aiserv.database import Database, why_unreachable
from aiserv.embedded import embedded_postgres
from aiserv.filters import CancelJobs
from aiserv.migrate import migrate
from aiserv.settings import Settings
from aiserv.tokens import ANY_OWNER, new_token

OWNER: Final = "aiserv-bench"
WORKER_SLOTS: Final = 500
REPORTS: Final = 50
# Connections, not clients: a database of others has to spare them.
ALONE_CONNECTIONS: Final = 16
BATCH_CONNECTIONS: Final = 4
PICKUP_CONNECTIONS: Final = 8
LOOK_SECONDS: Final = 0.02
PATIENCE_SECONDS: Final = 60.0
MILLISECONDS: Final = 1000
# What the children take besides the environment: any free port, no housekeeping of others' jobs, no caps on ours.
OURS: Final = {
    "HTTP_HOST": "127.0.0.1",
    "HTTP_PORT": "0",
    "WORKER_HTTP_HOST": "127.0.0.1",
    "WORKER_HTTP_PORT": "0",
    "WORKER_CLAIM_LIMIT": str(WORKER_SLOTS),
    "WORKER_ID": "aiserv-bench",
    "JOB_RETENTION": "0",
    "MAX_PENDING": "",
    "MAX_PENDING_PER_OWNER": "",
    "HTTP_MAX_BODY": "",
    "HTTP_MAX_BATCH_BODY": "",
    "LOG_LEVEL": "warning",
    "LOG_FORMAT": "json",
}


class BenchError(Exception):
    """The benchmark could not be made; the message says why."""


@dataclass(frozen=True)
class Options:
    """How much is done: seconds of each part, and how many of what; parts, batches and clients are at most `jobs`."""

    seconds: float = 5.0
    jobs: int = 20_000
    batch: int = 1000
    connections: int = 64
    rate: float = 200.0
    input_bytes: int = 300


def run_bench(settings: Settings, options: Options, say: Callable[[str], None]) -> Report:
    """The figures of the database of the settings, or of an embedded PostgreSQL if they have none.

    All jobs are of a model profile made up for this run, and are deleted at its end, also after Ctrl-C.
    Raises BenchError, and what `embedded_postgres` and `Database` raise.
    """
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aiserv-bench-")))
        variables = dict(OURS)
        url, name = settings.database.configured_url, "the database of DATABASE_URL"
        if url is None:
            say("starting an embedded PostgreSQL, with fsync on")
            url = variables["DATABASE_URL"] = stack.enter_context(embedded_postgres(directory / "postgres"))
            migrate(url)
            name = f"an embedded PostgreSQL below {directory.parent}"
        elif unreachable := asyncio.run(why_unreachable(url)):
            raise BenchError(f"PostgreSQL of DATABASE_URL cannot be used: {unreachable}")
        # Its server is open to nobody else on this machine; the file has the digest only, and so has the command.
        token, table = new_token("bench", "admin", ANY_OWNER)
        tokens = directory / "tokens.toml"
        tokens.write_text(table)
        variables |= {"AI_SERVICE_TOKEN": "", "AI_SERVICE_TOKENS_FILE": str(tokens)}
        bench = _Bench(options, url, variables, token, directory / "log", say)
        try:
            return bench.run(name)
        except (ChildError, LoadError) as error:
            raise BenchError(str(error)) from error


@dataclass
class _Bench:
    """One run."""

    _options: Options
    _url: str
    _variables: dict[str, str]
    _token: str
    _log: Path
    _say: Callable[[str], None]
    _profile: str = field(default_factory=lambda: f"aiserv-bench-{uuid4().hex[:12]}")
    _created: int = 0
    _port: int = 0

    def run(self, name: str) -> Report:
        report = Report(name, options=asdict(self._options))
        ready = False
        try:
            with self._children("server") as (server,):
                self._port = server.port
                self._check()
                ready = True
                self._measure(report)
        finally:
            # After the server has ended: until then it may still store what it was asked for.
            if ready:
                self._clean_up()
        return report

    def _measure(self, report: Report) -> None:
        options = self._options
        self._say("creating jobs one by one over HTTP")
        report.create_single_per_second = self._post("/api/v1/jobs", self._job, 1, options.connections)
        self._say("creating jobs one by one, each with a commit of its own")
        report.create_alone_connections = min(options.connections, ALONE_CONNECTIONS)
        report.create_alone_per_second = asyncio.run(self._create_alone(report.create_alone_connections))
        self._say(f"creating jobs {options.batch} at a time")
        report.create_batch_per_second = self._post(
            "/api/v1/jobs/batch?return=ids", {"jobs": [self._job] * options.batch}, options.batch, BATCH_CONNECTIONS
        )
        self._say(f"working off {self._created} jobs")
        report.drain_per_second, report.drained_jobs = self._drain()
        self._say(f"picking up jobs at {options.rate:g} a second")
        report.pickup_ms = self._pick_up()

    @property
    def _job(self) -> dict[str, Any]:
        text = "x" * max(self._options.input_bytes - len('{"text": ""}'), 0)
        return {
            "owner_service": OWNER,
            "task_type": TASK_TYPE,
            "model_profile": self._profile,
            "input": {"text": text},
        }

    def _post(self, path: str, body: object, jobs: int, connections: int) -> float:
        """Jobs a second, for the seconds of a part or until there are as many jobs as there may be."""
        content = request("POST", path, json.dumps(body).encode(), token=self._token)
        most = self._options.jobs // jobs
        load = closed_loop(
            self._port, [content], connections=min(connections, most), seconds=self._options.seconds, most=most
        )
        self._created += len(load.latencies) * jobs
        return load.rate * jobs

    async def _create_alone(self, connections: int) -> float:
        job = json.dumps(self._job)
        created = 0
        async with Database.open(self._url, size=connections, name="aiserv bench") as database:
            begin = time.monotonic()
            deadline = begin + self._options.seconds

            async def create() -> None:
                nonlocal created
                while time.monotonic() < deadline and created < self._options.jobs:
                    created += 1
                    await database.create_each([job])

            await asyncio.gather(*(create() for _ in range(connections)))
            seconds = time.monotonic() - begin
        self._created += created
        return created / seconds

    def _drain(self) -> tuple[float, int]:
        jobs = self._created
        with self._children("worker", every=max(jobs // REPORTS, 1)) as (worker,):
            begin, count = float("inf"), 0
            deadline = time.monotonic() + PATIENCE_SECONDS
            # A few jobs are finished before the worker has said that it began.
            while self._unfinished() or begin == float("inf"):
                for message in worker.messages():
                    begin, count = min(begin, message["at"]), message["started"]
                    deadline = time.monotonic() + PATIENCE_SECONDS
                if time.monotonic() > deadline:
                    raise BenchError(f"no job started for {PATIENCE_SECONDS:.0f} seconds, after {count} of {jobs}")
                time.sleep(LOOK_SECONDS)
            return jobs / (time.monotonic() - begin), jobs

    def _pick_up(self) -> dict[str, float]:
        with self._children("worker", every=1) as (worker,):
            called = asyncio.run(self._create_paced())
            took = []
            for _ in called:
                message = worker.message("id")
                took.append((message["at"] - called[message["id"]]) * MILLISECONDS)
        return {f"p{percent}": percentile(took, percent) for percent in (50, 95, 99)}

    async def _create_paced(self) -> dict[str, float]:
        content = request("POST", "/api/v1/jobs", json.dumps(self._job).encode(), token=self._token)
        free: asyncio.Queue[HttpConnection] = asyncio.Queue()
        for _ in range(PICKUP_CONNECTIONS):
            free.put_nowait(await HttpConnection.open(self._port))
        called: dict[str, float] = {}

        async def create() -> None:
            at = time.monotonic()
            connection = await free.get()
            status, body = await connection.ask(content)
            free.put_nowait(connection)
            if status != HTTPStatus.CREATED:
                raise LoadError(f"HTTP {status}: {body.decode(errors='replace')}")
            called[json.loads(body)["id"]] = at

        options = self._options
        await paced(create, options.rate, min(options.seconds, options.jobs / options.rate))
        while not free.empty():
            free.get_nowait().close()
        return called

    def _unfinished(self) -> int:
        queue = self._get(f"/api/v1/stats?model_profile={self._profile}")["queue"]
        return int(queue["pending"] + queue["running"])

    def _check(self) -> None:
        """Raise BenchError unless the server can work with the database."""
        status, body = asyncio.run(self._ask("/readyz"))
        if status != HTTPStatus.OK:
            said = json.loads(body)
            raise BenchError(f"the database is not ready: {said.get('detail') or said.get('error') or said}")

    def _get(self, path: str) -> dict[str, Any]:
        status, body = asyncio.run(self._ask(path))
        if status != HTTPStatus.OK:
            raise LoadError(f"HTTP {status}: {body.decode(errors='replace')}")
        answer: dict[str, Any] = json.loads(body)
        return answer

    async def _ask(self, path: str) -> tuple[int, bytes]:
        connection = await HttpConnection.open(self._port)
        try:
            return await connection.ask(request("GET", path, token=self._token))
        finally:
            connection.close()

    def _clean_up(self) -> None:
        """Raise BenchError if it is interrupted."""
        try:
            self._say("cleaning up")
            asyncio.run(self._delete_jobs())
        except KeyboardInterrupt:
            raise BenchError(
                f"interrupted while its jobs were deleted: some of model_profile {self._profile} are left"
            ) from None

    async def _delete_jobs(self) -> None:
        """Cancel what is left of our jobs, and delete them all."""
        async with Database.open(self._url, size=1, name="aiserv bench") as database:
            found = True
            while found:
                left = database.cancel_jobs(CancelJobs(model_profile=[self._profile]), actor="aiserv bench")
                pieces = [piece async for piece in left]
                deleted = await database.delete_jobs(self._profile, actor="aiserv bench")
                found = bool(pieces) or deleted > 0

    @contextmanager
    def _children(self, what: str, *, every: int = 1) -> Iterator[list[Child]]:
        given = [f"--set={name}={value}" for name, value in self._variables.items()]
        profile = ["--model-profile", self._profile, "--every", str(every)]
        # -P: a `workers` in the directory of whoever measures is none of ours.
        command = [sys.executable, "-P", "-m", "aiserv.bench.child", what, *profile, *given]
        with started([command], None, self._log) as children:
            yield children
