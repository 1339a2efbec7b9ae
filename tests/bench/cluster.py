"""A PostgreSQL of its own for the benchmark: durable, on a real disk, gone afterwards."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from aiserv.embedded import embedded_postgres
from aiserv.migrate import migrate

# Those of a modest server. fsync, synchronous_commit and full_page_writes stay on, as PostgreSQL comes.
SETTINGS: Final = {
    "shared_buffers": "512MB",
    "max_connections": "200",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",  # none in the middle of a figure, whoever's it is
    "log_line_prefix": "<%a> ",
}
FSYNCS: Final = 200
BLOCK: Final = b"\0" * 8192


@dataclass
class Cluster:
    """A running server: `url` is for its superuser, `log` what it writes."""

    url: str
    log: Path

    @contextmanager
    def database(self, *, schema: bool = True) -> Iterator[str]:
        """The URL of a new database, with our schema in it unless told otherwise; dropped afterwards."""
        name = f"bench_{uuid4().hex}"
        self.execute(sql.SQL("create database {} strategy wal_log").format(sql.Identifier(name)))
        parts = urlsplit(self.url)
        url = f"{parts.scheme}://{parts.netloc}/{name}?{parts.query}"
        try:
            if schema:
                migrate(url)
            yield url
        finally:
            self.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))

    def execute(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement)


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """A server with its data in that directory, which must lie on a real disk."""
    shutil.rmtree(directory, ignore_errors=True)
    try:
        with embedded_postgres(directory) as url, psycopg.connect(url, autocommit=True) as connection:
            for name, value in SETTINGS.items():
                connection.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value)))
        with embedded_postgres(directory) as url:
            yield Cluster(url, directory / "log")
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def fsync_milliseconds(directory: Path) -> float:
    """How long the disk takes to keep a block for good: the median of some."""
    path = directory / "fsync"
    took = []
    with path.open("wb") as file:
        for _ in range(FSYNCS):
            file.seek(0)
            file.write(BLOCK)
            file.flush()
            begin = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - begin)
    path.unlink()
    return median(took) * 1000
