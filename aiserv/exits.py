"""How a command ends: an exit code, and a sentence for whoever typed it."""

import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NoReturn, TypeVar

# Modules are imported where they are used, as in `aiserv.cli`.

_T = TypeVar("_T")


class Exit(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    USAGE = 2


def fail(code: Exit, message: str) -> NoReturn:
    """Say it on standard error, and end."""
    sys.stderr.write(f"aiserv: {message}\n")
    raise SystemExit(code)


def or_usage(setting: Callable[[], _T]) -> _T:
    """The value of a setting; without it the process ends."""
    from aiserv.settings import SettingsError  # noqa: PLC0415

    try:
        return setting()
    except SettingsError as error:
        fail(Exit.USAGE, str(error))


def or_fail(action: Callable[[], list[str]]) -> list[str]:
    """What a look at the schema, or its update, returns; if it fails, the process ends."""
    from aiserv.database import DatabaseError  # noqa: PLC0415
    from aiserv.migrate import MigrationError  # noqa: PLC0415

    try:
        return action()
    except (MigrationError, DatabaseError) as error:
        fail(Exit.FAILED, f"the schema could not be brought up to date: {error}")


def fail_as_expected(error: BaseException) -> None:
    """End with a sentence if a person at the command line can do something about the error, or about one within it."""
    from aiohttp import ClientError  # noqa: PLC0415

    from aiserv.database import DatabaseError  # noqa: PLC0415
    from aiserv.dev import FirstJobError  # noqa: PLC0415
    from aiserv.embedded import EmbeddedPostgresError  # noqa: PLC0415
    from aiserv.http.serving import ServingError  # noqa: PLC0415
    from aiserv.migrate import MigrationError  # noqa: PLC0415
    from aiserv.settings import SettingsError  # noqa: PLC0415

    expected = ServingError | EmbeddedPostgresError | MigrationError | DatabaseError | FirstJobError | ClientError
    for cause in _causes(error):
        if isinstance(cause, SettingsError):
            fail(Exit.USAGE, str(cause))
        if isinstance(cause, expected):
            fail(Exit.FAILED, str(cause))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The errors that task groups have wrapped."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _causes(inner)
    else:
        yield error
