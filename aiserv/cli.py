"""The command line: reads settings and puts a process together."""

import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aiserv.exits import Exit, fail, fail_as_expected, or_fail, or_usage

if TYPE_CHECKING:
    import anyio
    from anyio.abc import TaskStatus

    from aiserv.settings import Settings

# Modules are imported where they are used: `aiserv --help` must not wait for PostgreSQL's driver.

logger = logging.getLogger(__name__)
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Jobs for AI models, kept in PostgreSQL.",
)

# Containers that are started together come up in any order: so long may PostgreSQL take.
START_SECONDS: Final = 60.0
START_PAUSE_SECONDS: Final = 1.0


@app.command()
def dev(
    port: Annotated[int | None, typer.Option(help="Port of the API; otherwise HTTP_PORT.")] = None,
    worker_port: Annotated[
        int | None, typer.Option(help="Port of the worker's status; otherwise WORKER_HTTP_PORT.")
    ] = None,
    data: Annotated[Path, typer.Option(help="Where the embedded PostgreSQL keeps its data.")] = Path(".aiserv"),
    once: Annotated[bool, typer.Option("--once", help="Stop after the first job, as a smoke test.")] = False,  # noqa: FBT002 - an option by its name
) -> None:
    """Run everything on an embedded PostgreSQL. Without LLM_BASE_URL a stand-in takes the place of a model.

    Settings are environment variables, explained in the README.
    """
    from aiserv.dev import run_dev  # noqa: PLC0415

    variables = {"HTTP_PORT": port, "WORKER_HTTP_PORT": worker_port}
    given = {name: str(value) for name, value in variables.items() if value is not None}
    # What there is to say, dev says itself.
    settings = _settings(given, log_level="warning")
    _run(lambda stop: run_dev(settings, data, stop, once=once))


@app.command()
def serve() -> None:
    """Serve the HTTP API. Settings are environment variables, explained in the README."""
    from aiserv.api.process import serve as serve_api  # noqa: PLC0415

    settings = _settings()
    _migrate_on_start(settings)
    _run(lambda stop: serve_api(settings, stop))


@app.command()
def worker(
    kinds: Annotated[
        list[str] | None, typer.Argument(help="llm, transcription, or both; without it, what is configured.")
    ] = None,
) -> None:
    """Run a worker that claims jobs and calls models. Settings are environment variables, explained in the README."""
    from workers.process import Kind, choose_kinds, work  # noqa: PLC0415

    for kind in kinds or []:
        if kind not in list(Kind):
            fail(Exit.USAGE, f"there is no worker {kind}; there are: {', '.join(Kind)}")
    settings = _settings()
    or_usage(lambda: choose_kinds(settings, kinds or []))
    _migrate_on_start(settings)
    _run(lambda stop: work(settings, stop, kinds or []))


@app.command()
def migrate(
    status: Annotated[bool, typer.Option("--status", help="Show what would run; exit 1 if anything would.")] = False,  # noqa: FBT002 - as above
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead, for psql.")] = False,  # noqa: FBT002 - as above
) -> None:
    """Install the schema, or bring it up to date."""
    from aiserv.migrate import migrate as bring_up_to_date  # noqa: PLC0415
    from aiserv.migrate import pending, script  # noqa: PLC0415

    if sql:
        typer.echo(script())
        return
    conninfo = _conninfo(_settings())
    if status:
        names = or_fail(lambda: pending(conninfo))
        typer.echo("\n".join(names) if names else "up to date")
        raise SystemExit(Exit.FAILED if names else Exit.DONE)
    names = or_fail(lambda: bring_up_to_date(conninfo))
    typer.echo(f"{len(names)} files run" if names else "up to date")


@app.command()
def sidecar() -> None:
    """Serve what the AI server that it runs on is doing. These are its GPUs, containers and model servers.

    Settings are environment variables, explained in the README.
    """
    from aiserv.sidecar.process import watch  # noqa: PLC0415

    settings = _settings()
    _run(lambda stop: watch(settings.sidecar, stop))


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,  # noqa: FBT002 - as above
) -> None:
    """Look for what is wrong, and say what to do. It takes a server's variables; exit 1 if there is a problem."""
    import anyio  # noqa: PLC0415

    from aiserv import doctor  # noqa: PLC0415

    settings = _settings(log_level="error")
    _conninfo(settings)
    try:
        findings = anyio.run(doctor.examine, settings)
    except Exception as error:
        fail_as_expected(error)
        raise
    typer.echo(doctor.as_json(findings) if as_json else doctor.as_text(findings))
    raise SystemExit(Exit.FAILED if doctor.worst(findings) == "problem" else Exit.DONE)


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="What logs, refusals and aiserv.actions call it.")],
    scope: Annotated[str, typer.Option(help="read, write, worker or admin.")],
    owner: Annotated[str, typer.Option(help="The owner_service it is bound to; * for all.")],
) -> None:
    """Make a token with a scope and an owner. It goes to standard error, its table for the file to standard output.

    The file is AI_SERVICE_TOKENS_FILE: it has a digest of the token, which is shown only this once.
    """
    from aiserv.tokens import new_token  # noqa: PLC0415

    try:
        secret, table = new_token(name, scope, owner)
    except ValueError as error:
        fail(Exit.USAGE, str(error))
    typer.echo(secret, err=True)
    typer.echo(table)


@app.command()
def bench(  # noqa: PLR0917 - typer calls it by name
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="How long each part takes.")] = 5.0,
    jobs: Annotated[int, typer.Option(min=1, max=10_000_000, help="The most jobs of a part at full speed.")] = 20_000,
    batch: Annotated[int, typer.Option(min=1, max=100_000, help="Jobs in a batch.")] = 1000,
    connections: Annotated[int, typer.Option(min=1, max=1000, help="Clients that create one by one.")] = 64,
    rate: Annotated[float, typer.Option(min=1, max=10_000, help="Jobs a second while pick-up is measured.")] = 200.0,
    input_bytes: Annotated[int, typer.Option(min=12, max=1_000_000, help="The size of an input.")] = 300,
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,  # noqa: FBT002 - as above
) -> None:
    """Measure how fast jobs are created, begun, worked off. On DATABASE_URL, or without it on an embedded PostgreSQL.

    All jobs are its own, and are deleted at the end.
    """
    from aiserv.bench.run import BenchError, Options, run_bench  # noqa: PLC0415
    from aiserv.database import DatabaseError  # noqa: PLC0415
    from aiserv.embedded import EmbeddedPostgresError  # noqa: PLC0415
    from aiserv.migrate import MigrationError  # noqa: PLC0415

    settings = _settings(log_level="warning")
    if settings.database.configured_url:
        _conninfo(settings)
    options = Options(seconds, jobs, min(batch, jobs), min(connections, jobs), rate, input_bytes)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        report = run_bench(settings, options, lambda text: typer.echo(f"{text} ...", err=True))
    except KeyboardInterrupt:
        fail(Exit.FAILED, "interrupted; its jobs are gone")
    except (BenchError, DatabaseError, EmbeddedPostgresError, MigrationError) as error:
        fail(Exit.FAILED, str(error))
    if json:
        typer.echo(report.as_json())
    else:
        report.show()


@app.command()
def version() -> None:
    """Print the version."""
    from aiserv import __version__  # noqa: PLC0415

    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    app()


def _settings(variables: dict[str, str] | None = None, *, log_level: str | None = None) -> "Settings":
    """The settings, with logs set up: at this level, unless LOG_LEVEL says another."""
    from aiserv.logs import configure  # noqa: PLC0415
    from aiserv.settings import Settings, SettingsError  # noqa: PLC0415

    try:
        settings = Settings.load(**(variables or {}))
    except SettingsError as error:
        fail(Exit.USAGE, str(error))
    quiet = log_level is not None and "level" not in settings.log.model_fields_set
    configure(settings.log.model_copy(update={"level": log_level}) if quiet else settings.log)
    return settings


def _migrate_on_start(settings: "Settings") -> None:
    """Bring the schema up to date if that is wanted, as soon as PostgreSQL can be reached."""
    from aiserv.migrate import migrate as bring_up_to_date  # noqa: PLC0415

    conninfo = _conninfo(settings)
    if settings.database.migrate_on_start:
        or_fail(lambda: _patiently(lambda: bring_up_to_date(conninfo)))


def _patiently(action: Callable[[], list[str]]) -> list[str]:
    """What the action returns, tried again while PostgreSQL cannot be reached and there is time to start."""
    from aiserv.database import DatabaseError, is_unavailable  # noqa: PLC0415

    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            return action()
        except DatabaseError as error:
            left = deadline - time.monotonic()
            if not is_unavailable(error) or left <= 0:
                raise
            logger.warning("waiting for PostgreSQL, giving up in %.0f s: %s", left, error)
            time.sleep(START_PAUSE_SECONDS)


def _conninfo(settings: "Settings") -> str:
    from aiserv.database import DatabaseError, passwords  # noqa: PLC0415

    conninfo = or_usage(lambda: settings.database.url)
    try:
        passwords(conninfo)
    except DatabaseError as error:
        fail(Exit.USAGE, f"DATABASE_URL: {error}")
    return conninfo


def _run(process: "Callable[[anyio.Event], Awaitable[None]]") -> None:
    """Run a process until it ends by itself or a signal stops it; a second signal ends it at once."""
    import anyio  # noqa: PLC0415

    from aiserv import event_loop  # noqa: PLC0415

    async def stop_on_signal(stop: anyio.Event, *, task_status: "TaskStatus[None]") -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            task_status.started()
            async for number in signals:
                if stop.is_set():
                    os._exit(128 + number)
                stop.set()

    async def run() -> None:
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            await tasks.start(stop_on_signal, stop)
            await process(stop)
            tasks.cancel_scope.cancel()

    try:
        event_loop.run(run)
    except Exception as error:
        fail_as_expected(error)
        raise
