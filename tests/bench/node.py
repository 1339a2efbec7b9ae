"""The peers in JavaScript: Graphile Worker and pg-boss, when Node is there and they are installed in build/."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, LiteralString

import psycopg

from aiserv.bench.children import Child, started
from tests.bench.processes import ROOT, environment
from tests.bench.scenario import Bench

SCRIPTS: Final = Path(__file__).parent / "subjects"


@dataclass(frozen=True)
class Peer:
    """A package of npm, and what asks whether its queue is empty."""

    name: str
    package: str
    unfinished: LiteralString

    def is_drained(self, connection: psycopg.Connection) -> bool:
        row = connection.execute(f"select not exists ({self.unfinished})".encode()).fetchone()
        return bool(row and row[0])


GRAPHILE: Final = Peer("graphile", "graphile-worker", "select from graphile_worker._private_jobs")
PG_BOSS: Final = Peer("pgboss", "pg-boss", "select from pgboss.job where state < 'completed'")


def is_installed(bench: Bench, peer: Peer) -> bool:
    """Whether it can be measured; if not, the reader is told."""
    if shutil.which("node") is None:
        bench.note("There is no Node, so nothing is compared with Graphile Worker and pg-boss.")
        return False
    if not (bench.build / "node" / "node_modules" / peer.package).is_dir():
        bench.note(f"{peer.package} is not installed, so nothing is compared with it: `make bench` installs it.")
        return False
    return True


@contextmanager
def worker(bench: Bench, peer: Peer, url: str, every: int) -> Iterator[Child]:
    """A process of the peer, ready."""
    directory = bench.build / "node"
    # Node looks for packages beside the script.
    for name in ("reporting.mjs", f"{peer.name}.mjs"):
        shutil.copy(SCRIPTS / name, directory / name)
    command = ["node", str(directory / f"{peer.name}.mjs"), str(every)]
    variables = {**environment(url), "NO_LOG_SUCCESS": "1"}
    with started([command], variables, bench.log, ROOT) as (child,):
        yield child


def fill(child: Child, count: int) -> None:
    child.tell(str(count))
