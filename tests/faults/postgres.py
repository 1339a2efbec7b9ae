"""A PostgreSQL of a test's own, to be killed: the one of the other tests must live."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.rows import DictRow, dict_row

from aiserv.embedded import embedded_postgres
from aiserv.migrate import migrate
from tests.processes import send
from tests.waiting import until

Db = psycopg.Connection[DictRow]
Connect = Callable[[], Db]


@dataclass
class Postgres:
    """A PostgreSQL at the same URL whenever it runs. What it has committed survives whatever is killed."""

    directory: Path
    url: str = ""
    _running: ExitStack = field(default_factory=ExitStack)

    def start(self) -> None:
        """Start it, and wait until it takes connections: recovery included."""
        self.url = self._running.enter_context(embedded_postgres(self.directory, durable=False))

    def stop(self) -> None:
        """Stop it as an administrator does: fast."""
        self._running.close()

    def break_off(self) -> None:
        """Stop it as `pg_ctl stop --mode immediate` does: its processes quit where they are."""
        os.kill(self.pid, signal.SIGQUIT)
        self._running.close()

    @property
    def pid(self) -> int:
        return int((self.directory / "cluster" / "postmaster.pid").read_text().split()[0])

    def kill(self) -> None:
        """Kill the postmaster as the kernel does when memory is out, and see its children off."""
        os.kill(self.pid, signal.SIGKILL)
        self._running.close()

    async def kill_backend(self, pattern: str) -> None:
        """Kill one backend, if there is one of such a name: PostgreSQL ends all the others and recovers."""
        for pid in self.backends(pattern)[:1]:
            send(pid, signal.SIGKILL)
        await until(self.answers, 60)

    def backends(self, pattern: str) -> list[int]:
        """The processes of sessions of such a name."""
        query = "select pid from pg_stat_activity where application_name like %s"
        with self.connect() as connection:
            return [row["pid"] for row in connection.execute(query, [pattern])]

    def answers(self) -> bool:
        try:
            with self.connect() as connection:
                connection.execute("select")
        except psycopg.OperationalError:
            return False
        return True

    def connect(self) -> Db:
        return psycopg.connect(self.url, autocommit=True, row_factory=dict_row)


@contextmanager
def own_postgres(directory: Path) -> Iterator[Postgres]:
    """A PostgreSQL with our schema. Only a crash of the machine could cost what it has acknowledged."""
    postgres = Postgres(directory)
    postgres.start()
    try:
        with postgres.connect() as connection:
            # The setting of a role is stronger than that of the command line, which is for tests without crashes.
            connection.execute("alter role all set synchronous_commit = 'on'")
        migrate(postgres.url)
        yield postgres
    finally:
        postgres.stop()


def standby_of(primary: Postgres, directory: Path) -> Postgres:
    """A standby with a copy of the data of a primary that is stopped."""
    directory.mkdir(mode=0o700, exist_ok=True)
    shutil.copytree(primary.directory / "cluster", directory / "cluster")
    (directory / "cluster" / "postmaster.pid").unlink(missing_ok=True)
    (directory / "cluster" / "standby.signal").touch()
    with (directory / "cluster" / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"primary_conninfo = '{primary.url}&application_name=standby'\n")
    return Postgres(directory)


def create(db: Db, name: str) -> None:
    """A chat job with this reference and prompt."""
    db.execute(
        """
        select aiserv.create_job(
            owner_service => 'telephony', owner_ref => %(name)s, task_type => 'llm_chat', model_profile => 'qwen',
            input => json_build_object('user', %(name)s::text)
        )
        """,
        {"name": name},
    )


def statuses(db: Db) -> dict[str, int]:
    """How many jobs there are in each status."""
    return {row["status"]: row["count"] for row in db.execute("select status, count(*) from aiserv.jobs group by 1")}
