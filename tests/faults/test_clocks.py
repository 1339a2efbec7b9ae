"""Clocks that are wrong: those of workers do not count, and that of PostgreSQL may jump."""

import shutil
import struct
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import anyio
import pytest

from aiserv import embedded
from tests.faults.load import under_load
from tests.faults.postgres import Db, create, own_postgres
from tests.faults.scale import within
from tests.faults.service import echo_provider, service
from tests.faults.test_networks import completed
from tests.needs import needs
from tests.waiting import until

Measured = Callable[[str], None]
JOBS = 16
LEASE_SECONDS = 18  # renewed every 6: a machine that stands still for seconds costs none
ANSWER_SECONDS = 6.0  # on average: most leases have to be renewed
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    static volatile long *shared;
    const char *text = getenv("CLOCK_SHIFT"), *path = getenv("CLOCK_SHIFT_FILE");
    if (!path) return text ? atol(text) : 0;
    if (!shared) {
        int file = open(path, O_RDONLY);
        shared = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        close(file);
    }
    return *shared;
}

int clock_gettime(clockid_t id, struct timespec *at) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(id, at);
    if (!failed && id == CLOCK_REALTIME) at->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


@pytest.fixture(scope="module")
def shim(scratch: Path) -> str:
    """A library that shifts the clock of whoever preloads it by CLOCK_SHIFT seconds, or those in CLOCK_SHIFT_FILE."""
    compiler = shutil.which("cc")
    needs(compiler, "a C compiler: apt-get install gcc libc6-dev")
    # PostgreSQL may be somebody else, and has to walk there.
    scratch.chmod(0o711)
    source = scratch / "clock.c"
    source.write_text(SHIM)
    library = source.with_suffix(".so")
    subprocess.run([compiler or "cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return str(library)


@pytest.mark.fault(
    "the clocks of two workers are wrong by an hour, either way",
    "a library that is preloaded (`cc`)",
    "no lease (18 s) is lost or held too long while jobs of up to 12 s run; times of the jobs stay in order",
)
async def test_wrong_clocks_of_workers_change_no_lease(conninfo: str, db: Db, shim: str, measured: Measured) -> None:
    async with echo_provider(seconds=ANSWER_SECONDS) as provider:
        with service(conninfo, provider, LD_PRELOAD=shim, WORKER_LEASE_TIMEOUT=f"{LEASE_SECONDS}s") as running:
            ahead = await running.start_worker(CLOCK_SHIFT="3600")
            behind = await running.start_worker(CLOCK_SHIFT="-3600")
            started = time.monotonic()
            for number in range(JOBS):
                create(db, f"job-{number}")
            await until(partial(completed, db, JOBS), 60)
            seconds = time.monotonic() - started
            shown = [datetime.fromisoformat(process.logged()[0]["timestamp"]) for process in (ahead, behind)]
            assert running.complaints() == []
    off = [round((at - datetime.now(UTC)).total_seconds() / 3600) for at in shown]
    row = db.execute(
        "select max(attempt) as attempts, bool_and(created_at <= started_at and started_at <= finished_at) as ordered,"
        " count(distinct worker_id) as workers from aiserv.jobs"
    ).fetchone()
    assert off == [1, -1]
    assert row == {"attempts": 1, "ordered": True, "workers": 2}
    assert provider.executions.total() == JOBS
    measured(f"{JOBS} jobs once each by two workers two hours apart, in {seconds:.0f} s; 0 leases lost")


@dataclass
class Clock:
    """What a process with the library takes for the time: the real one, and so many seconds more."""

    file: Path

    def __post_init__(self) -> None:
        self.file.write_bytes(struct.pack("l", 0))
        self.file.chmod(0o644)

    def set(self, seconds: int) -> None:
        with self.file.open("r+b") as file:
            file.write(struct.pack("l", seconds))


@pytest.fixture
def clock(shim: str, scratch: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every PostgreSQL that the test starts."""
    programs = scratch / "programs"
    programs.mkdir(exist_ok=True)
    clock = Clock(scratch / "clock")
    real = embedded._binaries()
    for program in real.iterdir():
        (programs / program.name).symlink_to(program)
    postgres = programs / "postgres"
    postgres.unlink()
    postgres.write_text(f'#!/bin/sh\nLD_PRELOAD={shim} CLOCK_SHIFT_FILE={clock.file} exec {real}/postgres "$@"\n')
    postgres.chmod(0o755)
    monkeypatch.setattr(embedded, "_binaries", lambda: programs)
    return clock


@pytest.mark.fault(
    "the clock of PostgreSQL jumps an hour ahead, and two hours back",
    "the same library, preloaded by PostgreSQL, while callers and two workers are at it",
    "every invariant of the ledger; a job that comes after a jump is done within 2 s",
)
async def test_a_jump_of_the_clock_loses_nothing_and_holds_nobody_up(
    tmp_path: Path, clock: Clock, measured: Measured
) -> None:
    seconds = []
    with own_postgres(tmp_path) as postgres:
        async with under_load(postgres.url, postgres.connect, 8, workers=2) as load:
            for shift in (3600, -3600):
                await anyio.sleep(1)
                clock.set(shift)
                with postgres.connect() as db:
                    assert hours_ahead(db) == shift / 3600
                    started = time.monotonic()
                    load.ledger.asked.add(name := f"after-{shift}")
                    create(db, name)
                    await until(partial(is_done, db, name))
                    seconds.append(time.monotonic() - started)
                await anyio.sleep(1)
    measured(f"a job done {max(seconds):.1f} s after a jump; {load.ledger.acknowledged} acknowledged, 0 lost")
    assert max(seconds) <= within(2)


def hours_ahead(db: Db) -> int:
    """How far the clock of PostgreSQL is ahead of that of the test."""
    (row,) = db.execute("select clock_timestamp() as now").fetchall()
    now: datetime = row["now"]
    return round((now - datetime.now(UTC)).total_seconds() / 3600)


def is_done(db: Db, name: str) -> bool:
    return db.execute("select from aiserv.jobs where owner_ref = %s and status = 'completed'", [name]).rowcount == 1
