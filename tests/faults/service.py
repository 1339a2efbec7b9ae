"""Servers and workers as processes, to be killed and started again, and what they said."""

import json
import random
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import aiohttp
import anyio
from aiohttp import web

from tests.faults.scale import IS_ALONE
from tests.processes import Process, aiserv
from tests.providers import Answer, FakeProvider, content, fake_provider, refuses
from tests.waiting import SOON

# The usual half second for newcomers is for a machine that does nothing else.
SERVER = "aiserv" if IS_ALONE else "tests.faults.patient"
# Short, so that a killed worker's jobs are soon somebody else's.
LEASE_SECONDS = 2
SLOTS = 8
TRACES = re.compile(r"Traceback|never awaited|never retrieved|\"level\": ?\"(?:error|critical)\"")


@dataclass
class Service:
    """Processes of aiserv on one PostgreSQL; each has a number, and keeps its port when it is started anew."""

    stack: ExitStack
    variables: dict[str, str]
    servers: list[Process] = field(default_factory=list)
    workers: list[Process] = field(default_factory=list)
    logs: list[Process] = field(default_factory=list)
    ports: list[int] = field(default_factory=list)

    @property
    def urls(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    async def start_server(self, number: int | None = None, **variables: str) -> Process:
        """A new server, or one in place of that with this number, once it listens."""
        if number is not None:
            server = self.launch_server(number, **variables)
            await server.port()
            return server
        return await self._listening(self._start("serve", module=SERVER, **variables))

    async def start_hurried_server(self, seconds: float, **variables: str) -> Process:
        """A new server with so many seconds for each thing that a client does, once it listens."""
        return await self._listening(self._start(str(seconds), module="tests.faults.hurried", **variables))

    async def start_worker(self, number: int | None = None, **variables: str) -> Process:
        """A new worker, or one in place of that with this number, once it is there."""
        worker = self.launch_worker(number, **variables)
        await worker.port()
        return worker

    def launch_server(self, number: int, **variables: str) -> Process:
        """A server in place of that with this number; it may not listen yet."""
        self.servers[number] = self._start("serve", module=SERVER, HTTP_PORT=str(self.ports[number]), **variables)
        return self.servers[number]

    def launch_worker(self, number: int | None = None, **variables: str) -> Process:
        """A worker that may not be there yet."""
        names = {"WORKER_ID": f"worker-{len(self.workers) if number is None else number}"}
        worker = self._start("worker", **{**names, **variables})
        if number is None:
            self.workers.append(worker)
        else:
            self.workers[number] = worker
        return worker

    def complaints(self) -> list[str]:
        """Lines in any log that no fault excuses: tracebacks and errors."""
        return [line[:2000] for process in self.logs for line in process.text.splitlines() if TRACES.search(line)]

    async def _listening(self, server: Process) -> Process:
        self.ports.append(await server.port())
        self.servers.append(server)
        return server

    def _start(self, *arguments: str, module: str = "aiserv", **variables: str) -> Process:
        process = self.stack.enter_context(aiserv(*arguments, module=module, **{**self.variables, **variables}))
        self.logs.append(process)
        return process


@contextmanager
def service(conninfo: str, provider: "EchoProvider | None" = None, **variables: str) -> Iterator[Service]:
    """No process yet: tests start those they need."""
    own = {
        "DATABASE_URL": conninfo,
        "LLM_BASE_URL": provider.fake.base_url if provider else "http://127.0.0.1:9/v1",
        "WORKER_CLAIM_LIMIT": str(SLOTS),
        "WORKER_LEASE_TIMEOUT": f"{LEASE_SECONDS}s",
        "MIGRATE_ON_START": "false",
    }
    with ExitStack() as stack:
        yield Service(stack, {**own, **variables})


@dataclass
class EchoProvider:
    """A provider that answers with the prompt, and remembers how often each prompt has come."""

    fake: FakeProvider
    rng: random.Random
    seconds: float = 0.02
    executions: Counter[str] = field(default_factory=Counter)
    # Prompts that begin with this are refused the first time.
    stumbles: str = "stumble"
    # And those are never answered.
    hangs: str = "hang"

    async def reply(self, request: web.Request) -> web.StreamResponse:
        asked = json.loads(await request.text())
        prompt = asked["messages"][-1]["content"]
        self.executions[prompt] += 1
        if prompt.startswith(self.hangs):
            await anyio.sleep_forever()
        await anyio.sleep(self.rng.uniform(0, 2 * self.seconds))
        refused = prompt.startswith(self.stumbles) and self.executions[prompt] == 1
        answer = refuses(400, "this prompt stumbles once") if refused else content(prompt)
        return await answer.reply(request)


@asynccontextmanager
async def echo_provider(seed: int = 0, seconds: float = 0.02) -> AsyncIterator[EchoProvider]:
    """The provider; each answer takes `seconds` on average."""
    async with fake_provider() as fake:
        provider = EchoProvider(fake, random.Random(seed), seconds)
        fake.answers(Answer(provider.reply, reads=False))
        yield provider


async def get(url: str, seconds: float = SOON) -> tuple[int, str]:
    """Status and text of one request."""
    timeout = aiohttp.ClientTimeout(total=seconds)
    async with aiohttp.ClientSession(timeout=timeout) as http, http.get(url) as response:
        return response.status, await response.text()


async def answers(url: str, text: str, status: int, seconds: float = SOON) -> float:
    """In how many seconds a request is answered with this status, and this in its text."""
    started = time.monotonic()
    with anyio.fail_after(seconds):
        while True:
            with suppress(aiohttp.ClientError):
                answered, body = await get(url)
                if answered == status and text in body:
                    return time.monotonic() - started
            await anyio.sleep(0.02)
