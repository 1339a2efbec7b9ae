"""A worker over HTTP as somebody else would write it: one request a turn settles what is done and claims more."""

import asyncio
import sys

import aiohttp

from tests.bench.jobs import PROFILE
from tests.bench.subjects.reporting import Starts, left, run, say

LIMIT = 100


async def work(port: int, every: int) -> None:
    starts = Starts(every)
    claim = {"worker_id": "remote", "model_profiles": [PROFILE], "limit": LIMIT, "wait": "60s"}
    settled: list[dict[str, object]] = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", raise_for_status=True) as http:
        while True:
            async with http.post("/api/v1/jobs/claim", json={**claim, "settle": settled}) as response:
                jobs = (await response.json())["jobs"]
            starts(len(jobs))
            settled = [{"id": job["id"], "attempt": job["attempt"], "result": {"ok": True}} for job in jobs]


async def main(port: int, every: int) -> None:
    task = asyncio.create_task(work(port, every))
    say(port=0)
    await left()
    task.cancel()


if __name__ == "__main__":
    run(main(int(sys.argv[1]), int(sys.argv[2])))
