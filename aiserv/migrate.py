"""Install and update the schema from the files of `sql/`, in the order that `sql/install.sql` gives."""

import logging
import random
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg

from aiserv import __version__
from aiserv.queries.installation import InstalledFile

logger = logging.getLogger(__name__)

# Taken by whoever installs, until the end of its transaction. Any number will do, as long as it stays.
INSTALL_LOCK = 7_283_461_905
# Less than deadlock_timeout, 1 s: who installs gives way before PostgreSQL ends the statement of somebody else.
LOCK_TIMEOUT = "500ms"
# The same for the locks of all tables together: whoever waits for the first of them has waited for as long.
LOCKS_TIMEOUT = "800ms"
# A process that hangs, or whose machine is gone, holds up nobody for longer.
IDLE_TIMEOUT = "1min"
ATTEMPTS = 60
# What makes the schema and the rights in it: run with every change of anything else.
ALWAYS = ("schema.sql", "grants.sql")
# What locks tables, or what reads them.
RESHAPING = ("migrations/", "views/", "triggers/")


class MigrationError(Exception):
    """The schema cannot be brought up to date; the message says why and what to do."""


@dataclass(frozen=True)
class SqlFile:
    """A file of `sql/`: its name there, its text, and the SHA-256 of the text."""

    name: str
    text: str

    @property
    def checksum(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    @property
    def runs_once(self) -> bool:
        return self.name.startswith("migrations/")


def sql_directory() -> Path:
    """The folder `sql/`: inside the installed package, or beside it in a checkout."""
    packaged = Path(__file__).parent / "sql"
    return packaged if packaged.is_dir() else Path(__file__).parent.parent / "sql"


def sql_files() -> dict[str, SqlFile]:
    """All files that make the schema, by name, in the order of installation."""
    directory = sql_directory()
    names = re.findall(r"^\\ir (\S+)$", (directory / "install.sql").read_text(), re.MULTILINE)
    return {name: SqlFile(name, (directory / name).read_text()) for name in names}


def migrate(conninfo: str) -> list[str]:
    """Bring the schema up to date in one transaction and return the names of the files that were run.

    Safe when any number of processes start at once, and beside others at work: they go one after the other, and all
    but the first find nothing to do; who would have to wait for a lock, or meets a deadlock, begins anew, and an
    autovacuum gives way. A schema that a newer version has installed is left as it is: old processes may restart during
    a roll-out.
    Raises MigrationError when the schema has migrations that this version cannot know of otherwise, or is not what the
    files expect, and psycopg.Error when PostgreSQL refuses.
    """
    with _connect(conninfo) as connection:
        for attempt in range(ATTEMPTS):
            try:
                with connection.transaction():
                    return _migrate(connection)
            except (psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable):
                if attempt == ATTEMPTS - 1:
                    raise
                logger.info("the schema is in use, trying again to update it")
                _interrupt_vacuums(connection)
                time.sleep(random.uniform(0.05, 0.5))  # noqa: S311 - jitter: no secret hangs on it
    raise AssertionError("unreachable: the last attempt returns or raises")


def _connect(conninfo: str) -> psycopg.Connection:
    # Nothing prepared: behind a transaction pooler it would stay, and meet the next one of its name.
    return psycopg.connect(
        conninfo, autocommit=True, connect_timeout=10, application_name="aiserv migrate", prepare_threshold=None
    )


def _migrate(connection: psycopg.Connection) -> list[str]:
    files = sql_files()
    if not outdated(files, installed_files(connection)):
        return []
    # Whoever waits for a table holds up all who come after it: better to give way and try again. A statement may take
    # long, whatever its role has been told: an index over a large table does.
    connection.execute(
        "select set_config('lock_timeout', %s, true), set_config('idle_in_transaction_session_timeout', %s, true),"
        " set_config('statement_timeout', '0', true)",
        [LOCK_TIMEOUT, IDLE_TIMEOUT],
    )
    connection.execute("select pg_advisory_xact_lock(%s)", [INSTALL_LOCK])
    # Somebody may have been faster.
    installed = installed_files(connection)
    changed = outdated(files, installed)
    if changed:
        _run(connection, files, installed, changed)
    return changed


def pending(conninfo: str) -> list[str]:
    """The names of the files that `migrate` would run."""
    with _connect(conninfo) as connection:
        return outdated(sql_files(), installed_files(connection))


def script() -> str:
    """The whole schema as one file for psql: `install.sql` with what it includes."""
    files = sql_files()
    text = (sql_directory() / "install.sql").read_text()
    return re.sub(r"^\\ir (\S+)$", lambda include: files[include[1]].text, text, flags=re.MULTILINE)


def installed_files(connection: psycopg.Connection) -> dict[str, InstalledFile]:
    """The files this schema was made of; none when nothing is installed."""
    # Not to_regclass: in a transaction it may remember that there was none, though another process has made it since.
    found = connection.execute(
        "select from pg_catalog.pg_tables as known where known.schemaname = 'aiserv' and known.tablename = 'installed'"
    ).fetchone()
    if found is None:
        return {}
    rows = connection.execute("select file, checksum, version from aiserv.installed").fetchall()
    return {name: InstalledFile(name, checksum, version) for name, checksum, version in rows}


def outdated(files: Mapping[str, SqlFile], installed: Mapping[str, InstalledFile]) -> list[str]:
    """The files to run: migrations that have not run, and others whose text has changed.

    After a migration all others run again, because it may have dropped what they made. Without one a function is
    replaced without a lock on any table. The schema itself, and who may do what, come with every change.
    """
    if newer_versions(installed):
        logger.warning("a newer version of aiserv has installed the schema: it is left as it is")
        return []
    if unknown := unknown_migrations(files, installed):
        raise MigrationError(
            f"The schema has {unknown[-1]}, which this version of aiserv does not know: it was installed by a newer "
            "one. Run that version, or a newer one still."
        )
    once = [name for name, file in files.items() if file.runs_once and name not in installed]
    changed = [
        name
        for name, file in files.items()
        if not file.runs_once and (name not in installed or installed[name].checksum != file.checksum)
    ]
    if once:
        return [name for name, file in files.items() if not file.runs_once or name in once]
    return [name for name in files if name in changed or name in ALWAYS] if changed else []


def newer_versions(installed: Mapping[str, InstalledFile]) -> list[str]:
    """The versions of aiserv after this one that have installed something, the latest last."""
    versions = {file.version for file in installed.values() if file.version}
    return sorted((version for version in versions if _numbers(version) > _numbers(__version__)), key=_numbers)


def unknown_migrations(files: Mapping[str, SqlFile], installed: Mapping[str, InstalledFile]) -> list[str]:
    """The migrations that the schema has had and this version does not know."""
    return sorted(name for name in installed if name.startswith("migrations/") and name not in files)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


def _run(
    connection: psycopg.Connection,
    files: dict[str, SqlFile],
    installed: Mapping[str, InstalledFile],
    changed: list[str],
) -> None:
    if any(name.startswith(RESHAPING) for name in changed):
        _hold_writers(connection)
    before = _shape(connection)
    for name in changed:
        if name == "roles.sql":
            _create_roles(connection, files[name])
        else:
            logger.debug("running %s", name)
            try:
                # Whole files, several statements each: without parameters, so that PostgreSQL takes them at once.
                connection.execute(files[name].text.encode())
            except psycopg.ProgrammingError as error:
                if not installed or isinstance(error, psycopg.errors.InsufficientPrivilege):
                    raise
                raise MigrationError(
                    f"sql/{name} does not fit the schema that is there: {error.diag.message_primary}. If a version "
                    "that was never released made the database, make it anew (for aiserv dev, remove the directory of "
                    "its data); what was changed by hand, aiserv doctor names."
                ) from error
    connection.cursor().executemany(
        """
        insert into aiserv.installed (file, checksum, version) values (%s, %s, %s)
        on conflict (file) do update
        set checksum = excluded.checksum, version = excluded.version, installed_at = clock_timestamp()
        """,
        [(name, files[name].checksum, __version__) for name in changed],
    )
    gone = [name for name in installed if name not in files]
    connection.execute("delete from aiserv.installed where file = any(%s)", [gone])
    connection.execute("select from aiserv._record_shape(before => %s::jsonb)", [before])
    logger.info("schema installed: %s of %s files run", len(changed), len(files))


def _hold_writers(connection: psycopg.Connection) -> None:
    """Have all who write wait at their first table.

    Views are replaced long before triggers; who had written already and then reads a view would wait for us, and we for
    them.
    """
    tables = _tables(connection)
    if not tables:
        return
    connection.execute("select set_config('statement_timeout', %s, true)", [LOCKS_TIMEOUT])
    try:
        connection.execute(f"lock table {', '.join(tables)} in share row exclusive mode".encode())
    except psycopg.errors.QueryCanceled as error:
        raise psycopg.errors.LockNotAvailable("the tables of the schema are in use") from error
    connection.execute("set local statement_timeout = 0")


def _interrupt_vacuums(connection: psycopg.Connection) -> None:
    """Have autovacuum give way: PostgreSQL ends it for whoever waits longer than deadlock_timeout.

    Nobody who writes minds this lock, and one at a time meets no deadlock. What does not give way is a VACUUM by hand,
    or one that keeps transaction numbers from running out.
    """
    with suppress(psycopg.errors.LockNotAvailable):
        for table in _tables(connection):
            with connection.transaction():
                connection.execute(
                    """
                    select set_config('lock_timeout', (setting::integer + 500)::text, true),
                        set_config('statement_timeout', '0', true)
                    from pg_catalog.pg_settings where name = 'deadlock_timeout'
                    """
                )
                connection.execute(f"lock table {table} in share update exclusive mode".encode())


def _tables(connection: psycopg.Connection) -> list[str]:
    """The tables of the schema, but for those that somebody else made there."""
    rows = connection.execute(
        """
        select class.oid::regclass::text
        from pg_catalog.pg_namespace as namespace
        join pg_catalog.pg_class as class on class.relnamespace = namespace.oid and class.relowner = namespace.nspowner
        where namespace.nspname = 'aiserv' and class.relkind = 'r'
        order by class.oid
        """
    )
    return [name for (name,) in rows]


def _shape(connection: psycopg.Connection) -> str:
    """What the schema is made of, as JSON: definitions by object."""
    found = connection.execute("select to_regprocedure('aiserv._shape()') is not null").fetchone()
    if not found or not found[0]:
        return "{}"
    row = connection.execute(
        "select jsonb_object_agg(shape.object, shape.definition)::text from aiserv._shape() as shape"
    )
    return str((row.fetchone() or ("{}",))[0])


def _create_roles(connection: psycopg.Connection, roles: SqlFile) -> None:
    try:
        with connection.transaction():
            connection.execute(roles.text.encode())
    except psycopg.errors.InsufficientPrivilege:
        logger.warning(
            "this user may not create the roles, or act as aiserv_owner: it will own the objects itself. For least "
            "privilege let an administrator run sql/roles.sql and grant aiserv_owner to this user before"
        )
