"""What an installation is made of, and what is wrong with it."""

from datetime import datetime
from typing import NamedTuple

from aiserv.queries.base import Queries


class Finding(NamedTuple):
    """What a look at one thing found: `status` is ok, warning or problem, `advice` what to do, None if it is ok."""

    topic: str
    status: str
    detail: str
    advice: str | None = None


class InstalledFile(NamedTuple):
    """A file of `sql/` that the schema was made of; psql leaves neither checksum nor version."""

    name: str
    checksum: str | None
    version: str | None


class Routine(NamedTuple):
    """A function as it is in the database: its body, whether it acts as its owner, and what it sets."""

    name: str
    body: str
    security_definer: bool
    settings: list[str]


class InstallationQueries(Queries):
    """What an installation is made of, and what is wrong with it."""

    async def check_installation(self) -> list[Finding]:
        """What PostgreSQL itself finds, with the rights of who asks."""
        rows = await self._rows(
            "select seen.topic, seen.status, seen.detail, seen.advice from aiserv.check_installation() as seen"
        )
        return [Finding(*row) for row in rows]

    async def setting(self, name: str) -> str | None:
        """What a setting of PostgreSQL is in these sessions, None if nobody gave it a value."""
        rows = await self._rows("select current_setting(%(name)s, true)", {"name": name})
        return str(rows[0][0]) if rows[0][0] else None

    async def installed_files(self) -> list[InstalledFile]:
        """The files that the schema was made of. Raises psycopg.Error without a schema."""
        rows = await self._rows(
            "select known.file, known.checksum, known.version from aiserv.installed_files() as known"
        )
        return [InstalledFile(*row) for row in rows]

    async def routines(self) -> list[Routine]:
        """The functions in the schema, from the catalog, which everybody may read."""
        rows = await self._rows(
            """
            select routine.proname, routine.prosrc, routine.prosecdef, coalesce(routine.proconfig, '{}')
            from pg_catalog.pg_proc as routine
            where routine.pronamespace = 'aiserv'::pg_catalog.regnamespace
            order by routine.proname
            """
        )
        return [Routine(*row) for row in rows]

    async def clock(self) -> datetime:
        """What time PostgreSQL has."""
        return (await self._row("select clock_timestamp()"))[0]  # type: ignore[no-any-return]  # a timestamptz column

    async def is_read_only(self) -> bool:
        """Whether nothing can be written here: after a failover this may have become a standby."""
        return (await self._row("select current_setting('transaction_read_only')::boolean"))[0]  # type: ignore[no-any-return]  # a boolean
