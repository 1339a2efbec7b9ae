"""The command line: reads settings, puts a process together, and turns what went wrong into an exit code."""

import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    import anyio

    from aiserv.settings import Settings

# Modules are imported where they are used: `aiserv --help` must not wait for PostgreSQL's driver.

logger = logging.getLogger("aiserv")
app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False, help="Jobs for AI models, kept in PostgreSQL.")


class Exit(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    USAGE = 2


@app.command()
def dev(
    port: Annotated[int | None, typer.Option(help="Port of the API; otherwise HTTP_PORT.")] = None,
    worker_port: Annotated[int | None, typer.Option(help="Port of the worker's status; otherwise WORKER_HTTP_PORT.")] = None,
    data: Annotated[Path, typer.Option(help="Where the embedded PostgreSQL keeps its data.")] = Path(".aiserv"),
    once: Annotated[bool, typer.Option("--once", help="Stop after the first job, as a smoke test.")] = False,
) -> None:
    """Run everything on an embedded PostgreSQL: server, worker, and without LLM_BASE_URL a stand-in for a model."""
    from aiserv.dev import run_dev  # noqa: PLC0415

    variables = {"HTTP_PORT": port, "WORKER_HTTP_PORT": worker_port}
    settings = _settings({name: str(value) for name, value in variables.items() if value is not None})
    _run(lambda stop: run_dev(settings, data, stop, once=once))


@app.command()
def serve() -> None:
    """Serve the HTTP API."""
    from aiserv.api.process import serve as serve_api  # noqa: PLC0415

    settings = _settings()
    _migrate_on_start(settings)
    _run(lambda stop: serve_api(settings, stop))


@app.command()
def worker(kinds: Annotated[list[str] | None, typer.Argument(help="llm; without it, what is configured.")] = None) -> None:
    """Run a worker that claims jobs and calls models."""
    from workers.process import work  # noqa: PLC0415

    for kind in kinds or []:
        if kind != "llm":
            _fail(Exit.USAGE, f"aiserv worker: there is no worker {kind}; there is: llm")
    settings = _settings()
    _migrate_on_start(settings)
    _run(lambda stop: work(settings, stop))


@app.command()
def migrate(
    status: Annotated[bool, typer.Option("--status", help="Show what would run; exit 1 if anything would.")] = False,
    sql: Annotated[bool, typer.Option("--sql", help="Print the SQL instead, for psql.")] = False,
) -> None:
    """Install the schema, or bring it up to date."""
    from aiserv.migrate import migrate as bring_up_to_date  # noqa: PLC0415
    from aiserv.migrate import pending, script  # noqa: PLC0415

    if sql:
        typer.echo(script())
        return
    conninfo = _settings().database.url
    if status:
        names = _or_fail(lambda: pending(conninfo))
        typer.echo("\n".join(names) if names else "up to date")
        raise SystemExit(Exit.FAILED if names else Exit.DONE)
    names = _or_fail(lambda: bring_up_to_date(conninfo))
    typer.echo(f"{len(names)} files run" if names else "up to date")


@app.command()
def version() -> None:
    """Print the version."""
    from aiserv import __version__  # noqa: PLC0415

    typer.echo(__version__)


def main() -> None:
    """Run the command line."""
    app()


def _settings(variables: dict[str, str] | None = None) -> "Settings":
    from aiserv.logs import configure  # noqa: PLC0415
    from aiserv.settings import Settings, SettingsError  # noqa: PLC0415

    try:
        settings = Settings.load(**(variables or {}))
    except SettingsError as error:
        _fail(Exit.USAGE, str(error))
    configure(settings.log)
    return settings


def _migrate_on_start(settings: "Settings") -> None:
    from aiserv.migrate import migrate as bring_up_to_date  # noqa: PLC0415

    if settings.database.migrate_on_start:
        _or_fail(lambda: bring_up_to_date(settings.database.url))


def _or_fail(action: Callable[[], list[str]]) -> list[str]:
    import psycopg  # noqa: PLC0415

    from aiserv.migrate import MigrationError  # noqa: PLC0415
    from aiserv.settings import SettingsError  # noqa: PLC0415

    try:
        return action()
    except SettingsError as error:
        _fail(Exit.USAGE, str(error))
    except (MigrationError, psycopg.Error) as error:
        _fail(Exit.FAILED, f"the schema could not be brought up to date: {error}")


def _run(process: "Callable[[anyio.Event], Awaitable[None]]") -> None:
    """Run a process until it ends by itself or a signal stops it; a second signal ends it at once."""
    import anyio  # noqa: PLC0415

    from aiserv.settings import SettingsError  # noqa: PLC0415

    async def stop_on_signal(stop: anyio.Event) -> None:
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for number in signals:
                if stop.is_set():
                    os._exit(128 + number)
                stop.set()

    async def run() -> None:
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(stop_on_signal, stop)
            await process(stop)
            tasks.cancel_scope.cancel()

    try:
        anyio.run(run)
    except* SettingsError as group:
        _fail(Exit.USAGE, str(group.exceptions[0]))
    except* OSError as group:
        _fail(Exit.FAILED, str(group.exceptions[0]))


def _fail(code: Exit, message: str) -> NoReturn:
    sys.stderr.write(f"{message}\n")
    raise SystemExit(code)
