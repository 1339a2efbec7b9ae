"""Our own processes, as the benchmark starts them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from aiserv.bench.children import Child, started
from tests.bench.jobs import PROFILE
from tests.bench.scenario import Bench
from tests.processes import ENVIRON

# Jobs in progress at once of a worker that drains: the best for ours, as each peer has its best.
SLOTS: Final = 500
ROOT: Final = Path(__file__).parents[2]


def environment(url: str, **variables: str) -> dict[str, str]:
    """Nothing of the environment of whoever measures, but what every process of the tests has."""
    return {
        **ENVIRON,
        "DATABASE_URL": url,
        "WORKER_CLAIM_LIMIT": str(SLOTS),
        "JOB_RETENTION": "0",
        "LOG_LEVEL": "warning",
        **variables,
    }


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module of this checkout."""
    return [sys.executable, "-m", module, *arguments]


@contextmanager
def server(bench: Bench, url: str) -> Iterator[Child]:
    """A server process, ready."""
    with started([python("aiserv.bench.child", "server")], environment(url), bench.log, ROOT) as (child,):
        yield child


@contextmanager
def workers(bench: Bench, url: str, count: int = 1, *, every: int, slots: int = SLOTS) -> Iterator[list[Child]]:
    """So many worker processes, idle, that report each n-th start of a job."""
    command = python("aiserv.bench.child", "worker", "--model-profile", PROFILE, "--every", str(every))
    variables = environment(url, WORKER_CLAIM_LIMIT=str(slots))
    with started([command] * count, variables, bench.log, ROOT) as children:
        yield children


@contextmanager
def subject(bench: Bench, name: str, url: str, *arguments: str) -> Iterator[Child]:
    """A process of one that we compare ourselves with, ready."""
    command = python(f"tests.bench.subjects.{name}", *arguments)
    with started([command], environment(url), bench.log, ROOT) as (child,):
        yield child


def is_installed(bench: Bench, name: str) -> bool:
    """Whether a peer of the Python index is there; if not, the reader is told."""
    if find_spec(name) is None:
        bench.note(f"{name} is not installed, so nothing is compared with it: `make bench` installs it.")
        return False
    return True
