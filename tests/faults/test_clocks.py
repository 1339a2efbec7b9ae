"""Workers whose clock is wrong: only PostgreSQL's counts."""

import shutil
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial

import pytest

from tests.faults.postgres import Db, create
from tests.faults.service import echo_provider, service
from tests.faults.test_networks import completed
from tests.needs import needs
from tests.waiting import until

Measured = Callable[[str], None]
JOBS = 16
LEASE_SECONDS = 9
ANSWER_SECONDS = 3.0  # on average: most leases have to be renewed
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static long shift(void) { const char *text = getenv("CLOCK_SHIFT"); return text ? atol(text) : 0; }

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
def shim(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library that shifts the clock of whoever preloads it by CLOCK_SHIFT seconds."""
    compiler = shutil.which("cc")
    needs(compiler, "a C compiler: apt-get install gcc libc6-dev")
    source = tmp_path_factory.mktemp("shim") / "clock.c"
    source.write_text(SHIM)
    library = source.with_suffix(".so")
    subprocess.run([compiler or "cc", "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return str(library)


@pytest.mark.fault(
    "the clocks of two workers are wrong by an hour, either way",
    "a library that is preloaded (`cc`)",
    "no lease (9 s) is lost or held too long while jobs of up to 6 s run; times of the jobs stay in order",
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
