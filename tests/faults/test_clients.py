"""Clients that vanish by the thousand."""

import socket
import struct
import time
from collections.abc import Callable

import aiohttp
import anyio
import anyio.lowlevel
import pytest

from aiserv.serving import allow_many_connections
from tests.faults.load import JOB
from tests.faults.service import answers, service
from tests.processes import descriptors, resident_kib
from tests.waiting import until

Measured = Callable[[str], None]
CLIENTS = 1000
HEAD = "HTTP/1.1\r\nHost: x\r\n"
# Closing resets the connection: https://man7.org/linux/man-pages/man7/socket.7.html
RESET = struct.pack("ii", 1, 0)


@pytest.mark.fault(
    "a thousand clients vanish",
    "500 wait for a job and 500 claim with `wait`, then all connections are reset",
    "their sockets are closed within 2 s; the next job goes to a claim that is there; the pool answers",
)
async def test_clients_that_vanish_leave_nothing_behind(conninfo: str, measured: Measured) -> None:
    allow_many_connections()
    with service(conninfo) as running:
        server = await running.start_server()
        url, port = running.urls[0], running.ports[0]
        await answers(f"{url}/metrics", "aiserv_listener_connected 1.0", 200, 20)
        async with aiohttp.ClientSession(f"{url}/api/v1/", timeout=aiohttp.ClientTimeout(total=30)) as http:
            async with http.post("jobs", json={**JOB, "task_type": "never"}) as response:
                job_id = (await response.json())["id"]
            before = descriptors(server.popen.pid)
            claim = '{"worker_id": "gone", "task_types": ["rare"], "wait": "60s"}'
            post = (
                f"POST /api/v1/jobs/claim {HEAD}Content-Type: application/json\r\nContent-Length: {len(claim)}\r\n\r\n"
            )
            get = f"GET /api/v1/jobs/{job_id}?wait=60s {HEAD}\r\n"
            clients = []
            for number in range(CLIENTS):
                client = socket.create_connection(("127.0.0.1", port))
                client.sendall((post + claim if number % 2 else get).encode())
                clients.append(client)
                await anyio.lowlevel.checkpoint()
            await until(lambda: descriptors(server.popen.pid) >= before + CLIENTS, 20)
            # Each has been read and waits.
            await answers(f"{url}/healthz", "", 200, 20)

            for client in clients:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                client.close()
            vanished = time.monotonic()
            await until(lambda: descriptors(server.popen.pid) <= before + 10, 20)
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
        assert running.complaints() == []
    assert claimed == [created]
    measured(f"closed within {closed:.1f} s; the next job claimed in {taken:.1f} s; {memory:.0f} MiB")
    assert closed <= 2
