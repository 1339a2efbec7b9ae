"""The schema however it is installed: by psql or by `aiserv migrate`, once or again, alone or by eight at once."""

import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aiserv.migrate import MigrationError, installed_files, migrate, pending, script
from aiserv.queries.installation import InstalledFile
from tests.conftest import database
from tests.needs import needs

ROOT = Path(__file__).parents[1]

# Everything that makes the schema what it is, as text; object ids differ from database to database.
CATALOG = r"""
select 'function', procedure.oid::regprocedure::text, pg_get_functiondef(procedure.oid), procedure.proacl::text,
    pg_get_userbyid(procedure.proowner), obj_description(procedure.oid, 'pg_proc')
from pg_proc as procedure where procedure.pronamespace = 'aiserv'::regnamespace
union all
select 'column', class.relname || '.' || attribute.attname,
    format('%s %s %s %s', attribute.attnum, format_type(attribute.atttypid, attribute.atttypmod), attribute.attnotnull,
    pg_get_expr(initial.adbin, initial.adrelid)),
    class.relacl::text, pg_get_userbyid(class.relowner), col_description(class.oid, attribute.attnum)
from pg_class as class
join pg_attribute as attribute on attribute.attrelid = class.oid and attribute.attnum > 0 and not attribute.attisdropped
left join pg_attrdef as initial on initial.adrelid = class.oid and initial.adnum = attribute.attnum
where class.relnamespace = 'aiserv'::regnamespace
union all
select 'relation', class.relname, class.reloptions::text,
    case class.relkind when 'v' then pg_get_viewdef(class.oid) when 'i' then pg_get_indexdef(class.oid) end, '',
    obj_description(class.oid, 'pg_class')
from pg_class as class where class.relnamespace = 'aiserv'::regnamespace
union all
select 'constraint', rule.conrelid::regclass || '.' || rule.conname, pg_get_constraintdef(rule.oid), '', '', ''
from pg_constraint as rule where rule.connamespace = 'aiserv'::regnamespace
union all
select 'trigger', trigger.tgrelid::regclass || '.' || trigger.tgname, pg_get_triggerdef(trigger.oid), '', '', ''
from pg_trigger as trigger join pg_class as class on class.oid = trigger.tgrelid
where class.relnamespace = 'aiserv'::regnamespace
union all
select 'schema', nspname, nspacl::text, pg_get_userbyid(nspowner), '', '' from pg_namespace where nspname = 'aiserv'
order by 1, 2
"""


@pytest.fixture
def empty(postgres: str) -> Iterator[Callable[[], str]]:
    """Makes databases without our schema in them; returns their conninfo."""
    with ExitStack() as databases:

        def empty() -> str:
            return make_conninfo(postgres, dbname=databases.enter_context(database(postgres, template="template1")))

        yield empty


@pytest.fixture
def login(postgres: str) -> Iterator[Callable[[str], str]]:
    """Makes users of the given attributes; returns their names."""
    names = []
    with psycopg.connect(postgres, autocommit=True) as administrator:

        def login(attributes: str) -> str:
            name = f"aiserv_user_{uuid4().hex}"
            administrator.execute(f"create role {name} login {attributes}".encode())
            names.append(name)
            return name

        yield login
        for name in names:
            administrator.execute(f"reassign owned by {name} to current_user; drop role {name}".encode())


def owned_by(conninfo: str, name: str) -> str:
    """The same database, owned by this user and seen by it."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        database = conninfo_to_dict(conninfo)["dbname"]
        connection.execute(f'alter database "{database}" owner to {name}'.encode())
    return make_conninfo(conninfo, user=name)


def catalog(conninfo: str) -> list[tuple[str, ...]]:
    with psycopg.connect(conninfo) as connection:
        connection.execute("set search_path = ''")
        return connection.execute(CATALOG.encode()).fetchall()


def psql(conninfo: str, *arguments: str) -> None:
    needs(shutil.which("psql"), "psql: apt-get install postgresql-client")
    subprocess.run(
        ["psql", conninfo, "-qX", "-v", "ON_ERROR_STOP=1", *arguments], check=True, capture_output=True, text=True
    )


def test_psql_and_migrate_make_the_same_schema(empty: Callable[[], str]) -> None:
    by_psql, by_migrate = empty(), empty()

    psql(by_psql, "-f", str(ROOT / "sql" / "install.sql"))
    migrate(by_migrate)

    assert len(catalog(by_psql)) > 300
    assert catalog(by_psql) == catalog(by_migrate)


def test_the_script_of_migrate_is_install_sql_in_one_file(empty: Callable[[], str], tmp_path: Path) -> None:
    by_psql, by_script = empty(), empty()
    (tmp_path / "all.sql").write_text(script())

    psql(by_psql, "-f", str(ROOT / "sql" / "install.sql"))
    psql(by_script, "-f", str(tmp_path / "all.sql"))

    assert catalog(by_psql) == catalog(by_script)


def test_what_psql_installed_is_brought_up_to_date_by_migrate(empty: Callable[[], str]) -> None:
    conninfo = empty()
    psql(conninfo, "-f", str(ROOT / "sql" / "install.sql"))
    before = catalog(conninfo)

    ran = migrate(conninfo)

    assert [name for name in ran if name.startswith("migrations/")] == []
    assert migrate(conninfo) == []
    assert catalog(conninfo) == before


def test_a_second_migrate_finds_nothing_to_do(conninfo: str) -> None:
    assert pending(conninfo) == []
    assert migrate(conninfo) == []


def test_what_somebody_else_made_in_the_schema_is_no_hindrance_to_who_owns_it(
    template: str, login: Callable[[str], str], empty: Callable[[], str]
) -> None:
    administrator = empty()
    conninfo = owned_by(administrator, login("nosuperuser nocreaterole"))
    migrate(conninfo)
    with psycopg.connect(administrator, autocommit=True) as connection:
        connection.execute("create table aiserv.mine ()")
        connection.execute("create view aiserv.my_jobs as select from aiserv.jobs")
        connection.execute("create function aiserv.my_number() returns integer return 1")
        connection.execute("update aiserv.installed set checksum = 'old' where file like 'views/%'")

    ran = migrate(conninfo)

    assert "views/jobs.sql" in ran


def test_what_a_version_made_that_was_never_released_is_recognised(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create function aiserv._claim(other integer) returns integer return 1")
        connection.execute("update aiserv.installed set checksum = 'old' where file = 'functions/_claim.sql'")
    before = catalog(conninfo)

    with pytest.raises(MigrationError, match=r'_claim\.sql .* "aiserv\._claim" is not unique\. .* make it anew'):
        migrate(conninfo)

    assert catalog(conninfo) == before


def test_a_replay_of_all_files_changes_nothing_and_keeps_the_jobs(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("select aiserv.create_job(owner_service => 'a', task_type => 'b', model_profile => 'c')")
        connection.execute("update aiserv.installed set checksum = 'old' where file not like 'migrations/%'")
    before = catalog(conninfo)

    migrate(conninfo)

    assert catalog(conninfo) == before
    with psycopg.connect(conninfo) as connection:
        assert connection.execute("select count(*) from aiserv.claim_jobs(worker_id => 'w')").fetchone() == (1,)


def test_a_function_whose_text_has_changed_is_replayed(conninfo: str) -> None:
    before = catalog(conninfo)
    with psycopg.connect(conninfo) as connection:
        connection.execute(
            "create or replace function aiserv.time_text(moment timestamptz) returns text language sql as 'select 1'"
        )
        connection.execute("update aiserv.installed set checksum = 'old' where file = 'functions/time_text.sql'")

    ran = migrate(conninfo)

    assert "functions/time_text.sql" in ran
    assert catalog(conninfo) == before


def test_an_update_may_take_longer_than_its_role_lets_statements_take(conninfo: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("create table seen (timeout text); grant insert on seen to public")
        connection.execute("""
            create function look() returns event_trigger language plpgsql
            as $$ begin insert into seen values (current_setting('statement_timeout')); end $$
        """)
        connection.execute("create event trigger look on ddl_command_end execute function look()")
        connection.execute("update aiserv.installed set checksum = 'old' where file = 'functions/time_text.sql'")

        migrate(make_conninfo(conninfo, options="-c statement_timeout=1min"))

        assert connection.execute("select distinct timeout from seen").fetchall() == [("0",)]


def test_a_newer_schema_is_refused_and_left_alone(conninfo: str) -> None:
    with psycopg.connect(conninfo) as connection:
        connection.execute("insert into aiserv.installed (file) values ('migrations/9999_future.sql')")
    before = catalog(conninfo)

    with pytest.raises(MigrationError, match="9999_future"):
        migrate(conninfo)

    assert catalog(conninfo) == before


def test_what_others_have_installed_meanwhile_is_seen(empty: Callable[[], str]) -> None:
    conninfo = empty()
    with psycopg.connect(conninfo) as late, psycopg.connect(conninfo) as first:
        assert installed_files(late) == {}
        first.execute("create schema aiserv")
        first.execute("create table aiserv.installed as select 'a' as file, null as checksum, null as version")
        first.commit()

        assert installed_files(late) == {"a": InstalledFile("a", None, None)}


def test_eight_processes_that_start_at_once_install_once(empty: Callable[[], str]) -> None:
    conninfo = empty()
    program = "import sys; from aiserv.migrate import migrate; print(len(migrate(sys.argv[1])))"

    processes = [
        subprocess.Popen([sys.executable, "-c", program, conninfo], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        for _ in range(8)
    ]
    counts = sorted(int(process.communicate()[0]) for process in processes)

    assert [process.returncode for process in processes] == [0] * 8
    assert counts[:7] == [0] * 7
    assert counts[7] > 50
    assert pending(conninfo) == []


def test_a_user_who_may_not_create_roles_owns_the_schema_and_is_told_so(
    empty: Callable[[], str], login: Callable[[str], str], caplog: pytest.LogCaptureFixture
) -> None:
    name = login("nosuperuser nocreaterole")
    conninfo = owned_by(empty(), name)

    with caplog.at_level(logging.WARNING):
        migrate(conninfo)

    assert "sql/roles.sql" in caplog.text
    with psycopg.connect(conninfo) as connection:
        assert connection.execute(
            "select nspowner::regrole::text from pg_namespace where nspname = 'aiserv'"
        ).fetchone() == (name,)
        connection.execute("select aiserv.create_job(owner_service => 'a', task_type => 'b', model_profile => 'c')")
        assert connection.execute("select status from aiserv.claim_jobs(worker_id => 'w')").fetchone() == ("running",)
    assert migrate(conninfo) == []
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute("drop schema aiserv cascade")


def test_a_user_who_was_made_a_member_of_the_owner_hands_the_objects_over(
    postgres: str, template: str, empty: Callable[[], str], login: Callable[[str], str]
) -> None:
    name = login("nosuperuser nocreaterole")
    with psycopg.connect(postgres, autocommit=True) as administrator:
        administrator.execute(f"grant aiserv_owner to {name}".encode())
    conninfo = owned_by(empty(), name)

    migrate(conninfo)

    with psycopg.connect(conninfo) as connection:
        owner = connection.execute(
            "select nspowner::regrole::text from pg_namespace where nspname = 'aiserv'"
        ).fetchone()
    assert owner == ("aiserv_owner",)
