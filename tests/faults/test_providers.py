"""Model servers that drip, fall silent, talk nonsense or are gone, and a caller who names an address of ours."""

import json
import time
from collections import Counter
from collections.abc import Callable

import anyio
import pytest
from aiohttp import web

from tests.audio_providers import asr, serving
from tests.faults.ledger import Ledger, at_rest
from tests.faults.postgres import Db, create, statuses
from tests.faults.scale import rounds, within
from tests.faults.service import echo_provider, service
from tests.processes import resident_kib
from tests.providers import Answer, FakeProvider, FakeServer, body, content, fake_provider, hangs, refuses, trickles
from tests.waiting import SOON, until
from tests.workers.test_provider_trouble import reserved_port

Measured = Callable[[str], None]
LLM_SECONDS = 3
OUTAGE_SECONDS = rounds(15)
# A pause grows to ten seconds, and a bit of chance.
LONGEST_PAUSE = 11
PAUSE_SECONDS = 4
MIB = 2**20
LARGE = 200 * MIB
NONSENSE = {
    "a page of HTML": body("<html>It works!</html>", content_type="text/html"),
    "half of an object": body('{"choices": [{"message": {"conte'),
    "an empty object": body("{}"),
    "no choices": body('{"choices": []}'),
    "NaN": body('{"choices": [{"message": {"content": NaN}}]}'),
}
# Of the machine itself: written in every way that leads there.
OURS = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"]  # noqa: S104


def create_once(db: Db, name: str, task_type: str = "llm_chat", profile: str = "qwen", **job_input: str) -> None:
    """A job of a single attempt."""
    db.execute(
        """
        select aiserv.create_job(
            owner_service => 'telephony', owner_ref => %s, task_type => %s, model_profile => %s, max_attempts => 1,
            input => %s
        )
        """,
        [name, task_type, profile, json.dumps(job_input)],
    )


def endings(db: Db) -> dict[str, tuple[str, str | None]]:
    """How each job has ended, by its name."""
    rows = db.execute("select owner_ref, status, error_category from aiserv.jobs").fetchall()
    return {row["owner_ref"]: (row["status"], row["error_category"]) for row in rows}


def begins() -> Answer:
    """An answer that begins and falls silent."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices": [')
        await anyio.sleep_forever()
        return response

    return Answer(reply)


def large() -> Answer:
    """200 MB, without a word about it beforehand."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(LARGE // MIB):
            await response.write(b"x" * MIB)
        return response

    return Answer(reply)


@pytest.mark.fault(
    "a provider drips, falls silent in the middle, or says nothing",
    "a byte every 50 ms without end; half an answer; none; `LLM_TIMEOUT` 3 s",
    "the attempt ends with `timeout` after 3 s (1 s more at most), its connection is closed, one call an attempt",
)
async def test_a_provider_that_does_not_come_to_an_end_is_left_in_time(
    conninfo: str, db: Db, measured: Measured
) -> None:
    async with fake_provider() as provider:
        provider.answers(trickles(), begins(), hangs())
        with service(
            conninfo, LLM_BASE_URL=provider.base_url, LLM_TIMEOUT=f"{LLM_SECONDS}s", WORKER_LEASE_TIMEOUT="60s"
        ) as running:
            await running.start_worker()
            for name in ("drips", "begins", "hangs"):
                create_once(db, name, user=name)
            await at_rest(db, SOON + LLM_SECONDS)
            await provider.disconnected(3)
            assert running.complaints() == []
    attempts = db.execute(
        "select error_category, extract(epoch from finished_at - started_at)::float as seconds from aiserv.attempts"
    ).fetchall()
    seconds = [row["seconds"] for row in attempts]
    measured(f"ended after {min(seconds):.2f} to {max(seconds):.2f} s; 3 connections closed")
    assert [row["error_category"] for row in attempts] == ["timeout"] * 3
    assert len(provider.requests) == 3
    assert min(seconds) >= LLM_SECONDS - 1
    assert max(seconds) <= within(LLM_SECONDS + 1)


@pytest.mark.fault(
    "a provider talks nonsense",
    "HTML with status 200, half an object, `{}`, no choices, NaN, NUL, 200 MB",
    "`invalid_response`, NUL replaced; one call an attempt; the worker grows by 64 MiB at most and works on",
)
async def test_nonsense_of_a_provider_harms_nobody(conninfo: str, db: Db, measured: Measured) -> None:
    async with fake_provider() as provider:
        with service(
            conninfo, LLM_BASE_URL=provider.base_url, WORKER_LEASE_TIMEOUT="60s", WORKER_CLAIM_LIMIT="1"
        ) as running:
            worker = await running.start_worker()
            create_once(db, "first", user="Hi")
            await at_rest(db, SOON)
            before = resident_kib(worker.popen.pid)
            for name, answer in {**NONSENSE, "200 MB": large(), "NUL": content("N\0L")}.items():
                provider.answers(answer)
                create_once(db, name, user="Hi")
                await at_rest(db, SOON)
            grown = (resident_kib(worker.popen.pid) - before) / 1024
            assert running.complaints() == []
    calls = len(provider.requests)
    attempts = db.execute("select error_category from aiserv.attempts").fetchall()
    (said,) = db.execute("select result ->> 'content' as said from aiserv.jobs where owner_ref = 'NUL'").fetchall()
    assert said == {"said": "N\ufffdL"}
    assert Counter(row["error_category"] for row in attempts) == {None: 2, "invalid_response": len(NONSENSE) + 1}
    assert calls == len(attempts)
    measured(f"{calls} calls in {len(attempts)} attempts; {grown:+.0f} MiB")
    assert grown <= 64


@pytest.mark.fault(
    "a provider has too much to do",
    "429 with `Retry-After: 4` for the first of 20 jobs, with a worker of one slot",
    "no call before the 4 s are over; one call an attempt; no failure is counted, all complete",
)
async def test_a_provider_that_has_too_much_to_do_is_left_alone(conninfo: str, db: Db, measured: Measured) -> None:
    called: list[float] = []

    def timed(answer: Answer) -> Answer:
        async def reply(request: web.Request) -> web.StreamResponse:
            called.append(time.monotonic())
            return await answer.reply(request)

        return Answer(reply)

    async with fake_provider() as provider:
        refusal = refuses(429, "too many requests", headers={"Retry-After": str(PAUSE_SECONDS)})
        provider.answers(timed(refusal), timed(content("Hello.")))
        with service(
            conninfo, LLM_BASE_URL=provider.base_url, WORKER_CLAIM_LIMIT="1", WORKER_LEASE_TIMEOUT="60s"
        ) as running:
            await running.start_worker()
            for number in range(20):
                create(db, f"job-{number}")
            await at_rest(db, SOON + PAUSE_SECONDS)
            assert running.complaints() == []
    row = db.execute("select sum(failures) as failures, sum(attempt) as attempts from aiserv.jobs").fetchone()
    assert statuses(db) == {"completed": 20}
    assert row == {"failures": 0, "attempts": len(called)}
    assert len(called) == 21
    pause = called[1] - called[0]
    measured(f"the second call {pause:.2f} s after the first; {len(called)} calls in {row['attempts']} attempts")
    assert pause >= PAUSE_SECONDS - 0.1


@pytest.mark.fault(
    "a provider is away",
    "nothing listens there for 15 s (150 in a soak), then it is back; 20 jobs",
    "no job is harmed, none fails; the first call 11 s after it is back at the latest: a pause grows to 10 s",
)
async def test_an_outage_of_a_provider_harms_no_job(conninfo: str, db: Db, measured: Measured) -> None:
    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}/v1"
        async with echo_provider(seconds=0) as echo:
            with service(conninfo, LLM_BASE_URL=url, WORKER_LEASE_TIMEOUT="60s") as running:
                await running.start_server()
                await running.start_worker()
                ledger = Ledger()
                for number in range(20):
                    ledger.asked.add(name := f"job-{number}")
                    create(db, name)
                await anyio.sleep(OUTAGE_SECONDS)
                assert statuses(db).keys() <= {"pending", "running"}

                back = time.monotonic()
                async with FakeProvider().listening(port) as provider:
                    provider.answers(Answer(echo.reply, reads=False))
                    await until(lambda: provider.requests, within(LONGEST_PAUSE))
                    seconds = time.monotonic() - back
                    await at_rest(db, SOON)
                ledger.compare(db, echo.executions)
                assert running.complaints() == []
    assert ledger.violations == []
    assert endings(db) == {f"job-{number}": ("completed", None) for number in range(20)}
    harmed = db.execute("select from aiserv.jobs where failures > 0").rowcount
    measured(f"the first call {seconds:.1f} s after it was back; 20 completed, {harmed} harmed")
    assert harmed == 0


class Canary(FakeServer):
    """A server that nobody may ask."""

    asked = 0

    async def reply(self, _request: web.Request) -> web.StreamResponse:
        self.asked += 1
        return web.Response(body=b"RIFF")


@pytest.mark.fault(
    "a caller names an address of the machine itself as that of a recording",
    "8 ways to write it; names that mean another address at each look, and redirects:"
    " [test_sources](../workers/audio/test_sources.py)",
    "0 requests arrive; each job fails with `audio_unavailable` or `invalid_input`",
)
async def test_no_recording_is_fetched_from_the_machine_itself(conninfo: str, db: Db, measured: Measured) -> None:
    async with Canary().listening() as canary, serving(asr()) as whisperx:
        port = canary.url.rpartition(":")[2]
        with service(conninfo, WHISPERX_URL=whisperx.url, WORKER_LEASE_TIMEOUT="60s") as running:
            await running.start_worker()
            for host in OURS:
                create_once(db, host, "transcription", "whisperx", audio_url=f"http://{host}:{port}/a.wav")
            await at_rest(db, SOON)
            assert running.complaints() == []
    ended = Counter(endings(db).values())
    assert ended.keys() <= {("failed", "audio_unavailable"), ("failed", "invalid_input")}, ended
    measured(f"{ended.total()} jobs, {canary.asked} requests")
    assert canary.asked == 0
