"""Clients that vanish by the thousand."""

import json
import select
import socket
import struct
import time
from collections.abc import Callable, Iterable
from uuid import UUID

import aiohttp
import anyio
import anyio.lowlevel
import pytest

from aiserv.http.serving import allow_many_connections
from tests.faults.footprint import back_at, footprint
from tests.faults.load import JOB
from tests.faults.postgres import Db
from tests.faults.scale import rounds, within
from tests.faults.service import answers, service
from tests.processes import descriptors, resident_kib
from tests.waiting import SOON, until

Measured = Callable[[str], None]
CLIENTS = 1200
CREATES = rounds(500)
HANDS = 400
LEASE_SECONDS = 2
HEAD = "HTTP/1.1\r\nHost: x\r\n"
# Closing resets the connection: https://man7.org/linux/man-pages/man7/socket.7.html
RESET = struct.pack("ii", 1, 0)
CREATE = """
select job.id
from aiserv.create_jobs(
    jobs => (select json_agg(json_build_object()) from generate_series(1, %s)),
    defaults => '{"owner_service": "telephony", "task_type": "llm_chat", "model_profile": "qwen"}'
) as job
"""


def vanish(clients: Iterable[socket.socket]) -> None:
    """Reset their connections, whatever is on its way."""
    for client in clients:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        client.close()


def post(path: str, body: object) -> bytes:
    text = json.dumps(body)
    head = f"POST /api/v1/{path} {HEAD}Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
    return (head + text).encode()


@pytest.mark.fault(
    "a thousand clients vanish",
    "400 wait for a job, 400 claim with `wait` and 400 listen to events, then all connections are reset",
    "their sockets are closed within 2 s; the next job goes to a claim that is there; tasks and connections as before",
)
async def test_clients_that_vanish_leave_nothing_behind(conninfo: str, measured: Measured) -> None:
    allow_many_connections()
    with service(conninfo) as running:
        server = await running.start_server()
        url, port = running.urls[0], running.ports[0]
        await answers(f"{url}/metrics", "aiserv_listener_connected 1.0", 200)
        connector, timeout = aiohttp.TCPConnector(force_close=True), aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(f"{url}/api/v1/", connector=connector, timeout=timeout) as http:
            async with http.post("jobs", json={**JOB, "task_type": "never"}) as response:
                job_id = (await response.json())["id"]
            before, held = descriptors(server.popen.pid), await footprint(server)
            claim = post("jobs/claim", {"worker_id": "gone", "task_types": ["rare"], "wait": "60s"})
            get = f"GET /api/v1/jobs/{job_id}?wait=60s {HEAD}\r\n".encode()
            listen = f"GET /api/v1/events {HEAD}\r\n".encode()
            clients = []
            for number in range(CLIENTS):
                client = socket.create_connection(("127.0.0.1", port))
                client.sendall((claim, get, listen)[number % 3])
                clients.append(client)
                await anyio.lowlevel.checkpoint()
            await until(lambda: descriptors(server.popen.pid) >= before + CLIENTS)
            # Each has been read and waits.
            await answers(f"{url}/healthz", "", 200)

            vanish(clients)
            vanished = time.monotonic()
            await until(lambda: descriptors(server.popen.pid) <= before + 10)
            closed = time.monotonic() - vanished

            started = time.monotonic()
            claimed: list[str] = []

            async def take() -> None:
                body = {"worker_id": "here", "task_types": ["rare"], "wait": "20s"}
                async with http.post("jobs/claim", json=body) as response:
                    claimed.extend(job["id"] for job in (await response.json())["jobs"])

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(take)
                await anyio.sleep(0.2)
                async with http.post("jobs", json={**JOB, "task_type": "rare"}) as response:
                    created = (await response.json())["id"]
            taken = time.monotonic() - started
            memory = resident_kib(server.popen.pid) / 1024
            await back_at(held, server)
        assert running.complaints() == []
    assert claimed == [created]
    measured(f"closed within {closed:.1f} s; the next job claimed in {taken:.1f} s; {memory:.0f} MiB")
    assert closed <= within(2)


@pytest.mark.fault(
    "clients vanish in the middle of grouped creates",
    "500 (5,000 in a soak) send a create with a key; half of them read the answer, half reset the connection at once",
    "what was answered is there; repeated with their keys all are there once; files, tasks and connections as before",
)
async def test_creates_of_clients_that_vanish_are_there_once_or_not_at_all(
    conninfo: str, db: Db, measured: Measured
) -> None:
    allow_many_connections()
    with service(conninfo) as running:
        server = await running.start_server()
        port = running.ports[0]
        await answers(f"{running.urls[0]}/metrics", "aiserv_listener_connected 1.0", 200)
        held = await footprint(server)
        bodies = [{**JOB, "owner_ref": str(number), "idempotency_key": str(number)} for number in range(CREATES)]

        clients = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in bodies]
        for client, body in zip(clients, bodies, strict=True):
            client.sendall(post("jobs", body))
        vanish(clients[1::2])
        answered = await anyio.to_thread.run_sync(lambda: [answer_of(client) for client in clients[::2]])
        vanish(clients[::2])
        await back_at(held, server)
        found = db.execute("select id, owner_ref from aiserv.jobs").fetchall()
        there = {row["owner_ref"]: row["id"] for row in found}

        async with aiohttp.ClientSession(f"{running.urls[0]}/api/v1/") as http:
            for body in bodies:
                async with http.post("jobs", json=body) as response:
                    assert response.status == 200 or body["owner_ref"] not in there
        assert running.complaints() == []
    assert {UUID(job["id"]): job["owner_ref"] for job in answered}.items() <= {
        row["id"]: row["owner_ref"] for row in found
    }.items()
    jobs = db.execute("select count(*) as all, count(distinct owner_ref) as names from aiserv.jobs").fetchone()
    assert jobs == {"all": CREATES, "names": CREATES}
    measured(f"{len(answered)} answered and there, {len(there) - len(answered)} of {CREATES // 2} others there, too")


def answer_of(client: socket.socket) -> dict[str, str]:
    """The job in the answer that a client reads."""
    with client.makefile("rb") as stream:
        size = 0
        while (line := stream.readline()).strip():
            if line.lower().startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        body = stream.read(size)
    assert size, "no answer"
    answered: dict[str, str] = json.loads(body)
    return answered


@pytest.mark.fault(
    "workers vanish while they are given jobs",
    "400 claim over HTTP with `wait`, 400 jobs are created at once, and all connections reset once one was answered",
    "all jobs are with another worker within the lease (2 s) + 2 s; files, tasks and busy connections as before",
)
async def test_jobs_claimed_for_workers_that_vanish_come_back(conninfo: str, db: Db, measured: Measured) -> None:
    allow_many_connections()
    claim = {"task_types": ["llm_chat"], "lease": f"{LEASE_SECONDS}s", "wait": "60s"}
    with service(conninfo) as running:
        server = await running.start_server()
        await answers(f"{running.urls[0]}/metrics", "aiserv_listener_connected 1.0", 200)
        held = await footprint(server)
        hands = [socket.create_connection(("127.0.0.1", running.ports[0])) for _ in range(HANDS)]
        for number, hand in enumerate(hands):
            hand.sendall(post("jobs/claim", {**claim, "worker_id": f"gone-{number}"}))
        await answers(f"{running.urls[0]}/healthz", "", 200)

        created = db.execute(CREATE, [HANDS]).fetchall()
        await anyio.to_thread.run_sync(lambda: select.select(hands, [], [], SOON))
        vanish(hands)
        vanished = time.monotonic()
        taken: set[str] = set()
        async with aiohttp.ClientSession(f"{running.urls[0]}/api/v1/") as http:
            body = {"worker_id": "here", "task_types": ["llm_chat"], "limit": 100, "lease": "1h", "wait": "1s"}
            with anyio.fail_after(within(LEASE_SECONDS + 2)):
                while len(taken) < HANDS:
                    async with http.post("jobs/claim", json=body) as response:
                        taken |= {job["id"] for job in (await response.json())["jobs"]}
        seconds = time.monotonic() - vanished
        await back_at(held, server)
        assert running.complaints() == []
    assert taken == {str(row["id"]) for row in created}
    ended = db.execute("select outcome, count(*) from aiserv.attempt group by 1").fetchall()
    outcomes = {row["outcome"]: row["count"] for row in ended}
    assert outcomes.keys() <= {"released", "lease_expired"}
    measured(f"all {HANDS} taken within {seconds:.1f} s; attempts of those that vanished: {outcomes}")
