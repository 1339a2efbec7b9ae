"""PostgreSQL as aiserv sees it: a pool of connections, and the queries on it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, LiteralString, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import TupleRow

from aiserv.listener import KEEPALIVES, hang_up
from aiserv.migrate import sql_files
from aiserv.pool import CONNECTING_SECONDS, Pool
from aiserv.problems import database_problem
from aiserv.queries.bulk import BulkQueries
from aiserv.queries.installation import InstallationQueries
from aiserv.queries.jobs import JobQueries
from aiserv.queries.overview import OverviewQueries
from aiserv.queries.transitions import TransitionQueries
from aiserv.queries.work import WorkQueries

# For a lock that another transaction holds, with a connection that others may want.
LOCK_PATIENCE: Final = timedelta(seconds=4)
# After statement_timeout: when PostgreSQL has not said by then that it gave up, it hangs, or what stands before it.
HANGING_SECONDS: Final = 5

# What every method raises when PostgreSQL refuses or cannot be reached.
DatabaseError = psycopg.Error


def is_unavailable(error: Exception) -> bool:
    """Whether PostgreSQL has a bad day: the same call may go well later."""
    problem = database_problem(error)
    return problem is not None and problem.code == "unavailable"


def is_of_one_row(error: Exception) -> bool:
    """Whether PostgreSQL refused a statement, and so undid it, for what may be the fault of one of its rows."""
    state = (isinstance(error, DatabaseError) and error.sqlstate) or ""
    return state.startswith(("40", "55")) or (state != "" and not is_unavailable(error))


def passwords(conninfo: str) -> list[str]:
    """The secret in a connection string, if there is one."""
    password = conninfo_to_dict(conninfo).get("password")
    return [str(password)] if password else []


@dataclass(frozen=True)
class Caps:
    """How many jobs may wait, in all and of one owner; None is any number."""

    pending: int | None = None
    pending_per_owner: int | None = None

    def session(self) -> dict[str, int]:
        """The settings of a session that tell PostgreSQL."""
        given = {"aiserv.max_pending": self.pending, "aiserv.max_pending_per_owner": self.pending_per_owner}
        return {name: most for name, most in given.items() if most is not None}


def _options(conninfo: str) -> str:
    """What the URL itself sets, which an argument would replace; a URL that makes no sense fails at the connection."""
    try:
        return str(conninfo_to_dict(conninfo).get("options", ""))
    except psycopg.ProgrammingError:
        return ""


async def _suit_pooler(connection: psycopg.AsyncConnection) -> None:
    """Prepare no statements where a transaction pooler may give each transaction to another backend.

    There they would be missing, or be others of the same name. A pooler makes up the process that it says it is.
    """
    # As below: the pool would wait for ever.
    given_up = asyncio.get_running_loop().call_later(HANGING_SECONDS, hang_up, connection)
    try:
        found = await (await connection.execute("select pg_backend_pid()")).fetchone()
    finally:
        given_up.cancel()
    if found != (connection.info.backend_pid,):
        connection.prepare_threshold = None


async def why_unreachable(conninfo: str) -> str | None:
    """Why no connection can be made, in PostgreSQL's words, which hold no password; None if one can."""
    try:
        # With settings, as those of a Database: some poolers refuse them.
        connection = await psycopg.AsyncConnection.connect(
            conninfo, connect_timeout=5, autocommit=True, options=f"{_options(conninfo)} -c lock_timeout=1s"
        )
    except psycopg.Error as error:
        return " ".join(str(error).split())
    await connection.close()
    return None


class Database(JobQueries, TransitionQueries, BulkQueries, WorkQueries, OverviewQueries, InstallationQueries):
    """The functions of schema `aiserv`, called through a pool of connections.

    Refusals are psycopg errors with an SQLSTATE of ours (`aiserv.problems`).
    """

    def __init__(self, pool: Pool, patience: float) -> None:
        self._pool = pool
        self._patience = patience

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        conninfo: str,
        *,
        size: int,
        name: str,
        statement_timeout: timedelta = timedelta(seconds=60),
        lock_timeout: timedelta | None = None,
        caps: Caps | None = None,
    ) -> AsyncIterator[Self]:
        """A pool of up to `size` connections, each statement bounded by `statement_timeout`, each create by `caps`.

        A statement waits for a lock no longer than `lock_timeout`, by default `LOCK_PATIENCE`.
        Database time is bounded by the server and not by cancelling: a cancelled query costs its connection. Only when
        the answer stays away for longer still is the statement given up, and the connection with it.
        PostgreSQL need not be up yet: calls wait for it, up to 4 seconds each; and 2 seconds for connections that are
        all in use and do not come back.
        """
        # Read now and not as a default, which would be fixed at import: tests have more patience.
        lock_timeout = LOCK_PATIENCE if lock_timeout is None else lock_timeout
        session = {
            "statement_timeout": int(statement_timeout / timedelta(milliseconds=1)),
            "lock_timeout": int(lock_timeout / timedelta(milliseconds=1)),
            **(caps or Caps()).session(),
        }
        pool = Pool(
            conninfo,
            min_size=1,
            max_size=size,
            timeout=CONNECTING_SECONDS,
            # Its pauses between attempts double until then: after an outage of minutes nobody waits for minutes more.
            reconnect_timeout=CONNECTING_SECONDS,
            open=False,
            configure=_suit_pooler,
            name=name,
            kwargs={
                "autocommit": True,
                "application_name": name,
                "connect_timeout": 5,
                "options": " ".join([_options(conninfo), *(f"-c {name}={value}" for name, value in session.items())]),
                **KEEPALIVES,
            },
        )
        async with pool:
            yield cls(pool, statement_timeout.total_seconds() + HANGING_SECONDS)

    @property
    def size(self) -> int:
        """How many connections there may be."""
        return self._pool.max_size

    async def reconnect(self) -> None:
        """Replace all connections, those in use once they are free. To ask whether one lives may take for ever."""
        await self._pool.drain()

    def connections(self) -> dict[str, int]:
        """How many connections are open and busy, and how many callers are waiting for one."""
        stats = self._pool.get_stats()
        open_ones = stats.get("pool_size", 0)
        busy = open_ones - stats.get("pool_available", 0)
        return {"open": open_ones, "busy": busy, "waiting": stats.get("requests_waiting", 0)}

    async def missing_migrations(self) -> list[str]:
        """The migrations that this version knows and the schema has not had; raises psycopg.Error without a schema."""
        installed = {file.name for file in await self.installed_files()}
        return [name for name, file in sql_files().items() if file.runs_once and name not in installed]

    async def _rows(
        self, query: LiteralString, parameters: dict[str, Any] | None = None, *, binary: bool = False
    ) -> list[TupleRow]:
        # Not the pool's own `connection()`: that ends a transaction, and here every statement is one of its own.
        connection = await self._pool.getconn()
        # Of asyncio itself: a cancel scope around each statement costs more, and cancelling waits for PostgreSQL.
        given_up = asyncio.get_running_loop().call_later(self._patience, hang_up, connection)
        try:
            cursor = await connection.execute(query, parameters, binary=binary)
            return await cursor.fetchall()
        except psycopg.errors.ReadOnlySqlTransaction:
            # A standby answers and will never do: the next connection may find the new primary.
            await connection.close()
            raise
        finally:
            given_up.cancel()
            await self._pool.putconn(connection)
