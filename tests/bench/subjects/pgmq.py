"""pgmq, by the functions of the SQL file that its Python package brings."""

import json
import sys
from importlib.resources import files

import psycopg

from tests.bench.subjects.reporting import Starts, create_for, database_url, payload, run, say

QUEUE = "bench"
READ = 100
HIDDEN_SECONDS = 600
CREATORS = 16
SEND = "select pgmq.send(%s, %b::jsonb)"


def install(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(files("pgmq").joinpath("sql/pgmq.sql").read_bytes())
        connection.execute("select pgmq.create(%s)", [QUEUE])


def fill(connection: psycopg.Connection, count: int) -> None:
    connection.execute(
        "select count(*) from pgmq.send_batch(%s, array_fill(%s::jsonb, array[%s]))",
        [QUEUE, json.dumps(payload()), count],
    )


def is_drained(connection: psycopg.Connection) -> bool:
    row = connection.execute(f"select not exists (select from pgmq.q_{QUEUE})".encode()).fetchone()
    return bool(row and row[0])


def drain(connection: psycopg.Connection, every: int) -> None:
    starts = Starts(every)
    say(port=0)
    while sys.stdin.readline():
        while jobs := connection.execute(
            "select msg_id, message from pgmq.read(%b, %b::integer, %b::integer)", [QUEUE, HIDDEN_SECONDS, READ]
        ).fetchall():
            starts(len(jobs))
            connection.execute("select pgmq.delete(%b, %b::bigint[])", [QUEUE, [number for number, _ in jobs]])


async def create() -> None:
    connections = [
        await psycopg.AsyncConnection.connect(database_url(), autocommit=True, prepare_threshold=0)
        for _ in range(CREATORS)
    ]
    message = json.dumps(payload())
    await create_for(lambda lane: connections[lane].execute(SEND, [QUEUE, message]), CREATORS)


if __name__ == "__main__":
    if sys.argv[1] == "create":
        run(create())
    else:
        with psycopg.connect(database_url(), autocommit=True, prepare_threshold=0) as opened:
            drain(opened, int(sys.argv[2]))
