"""Providers in trouble: their jobs wait unharmed, and nobody knocks but one probe at a time."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import anyio
import pytest
from aiohttp import web

from aiserv.models import Job
from tests.providers import Answer, content, fake_provider, refuses
from tests.waiting import SOON, until
from tests.workers.chats import chat_at
from tests.workers.running import Db, after, create, finished, heard, job, meddler, raises, running
from workers.attempt import End
from workers.executors import Outcome
from workers.failures import Failure
from workers.worker import Worker

JOBS = 200

ATTEMPTS = """
select attempt.started_at, attempt.finished_at, attempt.outcome
from aiserv.jobs as job cross join lateral aiserv.list_attempts(job.id) as attempt
order by attempt.started_at
"""


@contextmanager
def reserved_port() -> Iterator[int]:
    """A port that refuses connections and that nobody else gets."""
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


def count(db: Db, status: str) -> int:
    row = db.execute("select count(*) as jobs from aiserv.jobs where status = %s", [status]).fetchone()
    assert row
    return int(row["jobs"])


def trouble(db: Db) -> tuple[int, datetime] | None:
    """The how many-th pause of the provider it is, and when it ends; None when it is well."""
    row = db.execute("select pauses, paused_until from aiserv.providers").fetchone()
    return (row["pauses"], row["paused_until"]) if row else None


def pauses(db: Db) -> int:
    known = trouble(db)
    return known[0] if known else 0


def pause_left(db: Db) -> timedelta:
    """How much longer the provider in trouble is left alone."""
    known = trouble(db)
    assert known
    return known[1] - datetime.now(UTC)


async def all_look(db: Db, *workers: Worker) -> None:
    """Wait until each worker has begun another claim."""
    for worker in workers:
        claims = meddler(worker.claim_database).claims
        await heard(worker, lambda: db.execute("notify aiserv_ready, 'qwen'"))
        await until(lambda: meddler(worker.claim_database).claims > claims)  # noqa: B023 - awaited here


async def test_the_trouble_of_a_provider_gives_the_job_back_unharmed(conninfo: str, db: Db) -> None:
    overloaded = raises(Failure("rate_limited", "later, says sk-1", retry_after=timedelta(minutes=5)))

    async with running(conninfo, overloaded, secrets=["sk-1"]) as worker:
        job_id = create(db)
        await until(lambda: worker.record.ends[End.RELEASED] == 1)

    released = job(db, job_id)
    assert (released["status"], released["failures"]) == ("pending", 0)
    assert (released["error_category"], released["error_message"]) == ("rate_limited", "later, says [redacted]")
    assert timedelta(minutes=4) < pause_left(db) < timedelta(minutes=6)
    assert worker.record.last_error == "rate_limited"


async def test_a_job_fails_with_the_trouble_when_patience_is_over(conninfo: str, db: Db) -> None:
    down = raises(Failure("provider_unavailable", "no connection"))

    async with running(conninfo, down, patience=timedelta(0)) as worker:
        failed = await finished(db, create(db))
        await until(lambda: worker.record.ends[End.FAILED] == 1)

    assert (failed["status"], failed["failures"], failed["error_category"]) == ("failed", 0, "provider_unavailable")


async def test_a_provider_in_trouble_is_known_though_another_one_did_the_job(conninfo: str, db: Db) -> None:
    async def by_the_other(_job: Job) -> Outcome:
        return Outcome("heard", None, {"voxtral-small": Failure("unauthorized", "no key")})

    async with running(conninfo, by_the_other, providers={"qwen": ["whisperx", "voxtral-small"]}):
        for _ in range(2):
            assert (await finished(db, create(db)))["status"] == "completed"

    rows = db.execute("select name, category from aiserv.providers").fetchall()
    assert [(row["name"], row["category"]) for row in rows] == [("voxtral-small", "unauthorized")]


@pytest.mark.slow
async def test_an_outage_harms_no_job_and_is_probed_by_one_at_a_time(conninfo: str, db: Db) -> None:
    may_answer = anyio.Event()
    for _ in range(JOBS):
        create(db, {"user": "Hello?"})

    with reserved_port() as port:
        url = f"http://127.0.0.1:{port}/v1"
        async with (
            chat_at(url) as chat,
            running(conninfo, chat, worker_id="worker-1") as one,
            running(conninfo, chat, worker_id="worker-2") as other,
        ):
            await until(lambda: pauses(db) >= 4)
            async with fake_provider(port) as provider:
                provider.answers(after(may_answer, content("Back.")), content("Hello."))
                with anyio.fail_after(SOON):
                    await provider.called()
                # The probe is there.
                await all_look(db, one, other)
                assert (provider.in_progress, len(provider.requests)) == (1, 1)
                may_answer.set()
                await until(lambda: count(db, "completed") == JOBS, 4 * SOON)

    assert trouble(db) is None
    assert db.execute("select from aiserv.jobs where failures > 0 or status <> 'completed'").fetchall() == []
    attempts = db.execute(ATTEMPTS).fetchall()
    known_at = min(row["finished_at"] for row in attempts)
    first_wave = [row for row in attempts if row["started_at"] < known_at]
    back = next(n for n, row in enumerate(attempts) if row["outcome"] == "completed")
    probes = attempts[len(first_wave) : back + 1]
    assert len(first_wave) <= one.slots + other.slots
    assert 4 <= len(probes) <= 8
    assert all(earlier["finished_at"] <= later["started_at"] for earlier, later in pairwise(probes))
    assert len(attempts) == JOBS + back


@pytest.mark.slow
async def test_both_workers_respect_the_time_that_a_provider_asks_for(conninfo: str, db: Db) -> None:
    in_time = []

    async def judge(request: web.Request) -> web.StreamResponse:
        known = trouble(db)
        in_time.append(known is not None and datetime.now(UTC) >= known[1])
        return await content("Hello.").reply(request)

    async with (
        fake_provider() as provider,
        chat_at(provider.base_url) as chat,
        running(conninfo, chat, worker_id="worker-1") as one,
        running(conninfo, chat, worker_id="worker-2") as other,
    ):
        provider.answers(refuses(429, "later", headers={"Retry-After": "3600"}))
        with db.transaction():
            for _ in range(20):
                create(db, {"user": "Hello?"})
        await until(lambda: trouble(db))
        # No claim is under way any more that began before the trouble was known.
        await all_look(db, one, other)
        await until(lambda: count(db, "running") == 0)
        refused = len(provider.requests)
        asked_for = pause_left(db)
        provider.answers(Answer(judge), content("Hello."))
        db.execute("update aiserv.provider set paused_until = clock_timestamp() + interval '1 second'")
        db.execute("notify aiserv_ready, 'qwen'")

        await until(lambda: count(db, "completed") == 20)

    assert refused <= one.slots + other.slots
    assert timedelta(minutes=59) < asked_for < timedelta(minutes=61)
    assert in_time == [True]
    assert db.execute("select from aiserv.jobs where failures > 0").fetchall() == []
