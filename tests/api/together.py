"""Requests that come while nothing can be stored: the first is on its way, all others wait for the next statement.

They wait in the order in which they are given.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import anyio
import psycopg
import pytest
from psycopg.rows import DictRow
from pydantic import JsonValue

from aiserv.grouping import Grouping
from tests.api.client import Answer, Api
from tests.waiting import until

Db = psycopg.Connection[DictRow]
Connect = Callable[..., Db]
# The path and the body of a POST.
Post = tuple[str, JsonValue]


class Together:
    """Holds up `function`, which stores what is asked for."""

    def __init__(self, api: Api, connect: Connect, function: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self._api = api
        self._holder, self._watcher = connect(), connect()
        self._backends = f"""
            select pid from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock' and query like '%aiserv.{function}(%'
        """.encode()
        self._taken_in: list[object] = []
        self.answers: dict[str, Answer] = {}
        take_in = Grouping.__call__

        async def counted(grouping: Grouping[Any, Any], item: object) -> object:
            self._taken_in.append(item)
            return await take_in(grouping, item)

        monkeypatch.setattr(Grouping, "__call__", counted)

    async def post(self, first: Post, others: dict[str, Post], meanwhile: Callable[[], object] = lambda: None) -> None:
        """Have the first on its way and the others behind it, do something meanwhile, and let them all go."""
        self._taken_in.clear()
        async with anyio.create_task_group() as tasks:
            with self._holder.transaction():
                self._holder.execute("lock table aiserv.job in share mode")
                tasks.start_soon(self._post, "first", first)
                await self.until_held_up()
                for number, (name, request) in enumerate(others.items(), 2):
                    tasks.start_soon(self._post, name, request)
                    # The server runs in a thread of its own.
                    await until(partial(self._has_taken_in, number))
                meanwhile()

    async def until_held_up(self) -> None:
        await until(lambda: self._watcher.execute(self._backends).fetchall())

    def terminate(self) -> None:
        """End the connection on which the statement is held up."""
        self._watcher.execute(b"select pg_terminate_backend(pid) from (%s) as backend" % self._backends)

    @property
    def statuses(self) -> dict[str, int]:
        return {name: answer.status for name, answer in self.answers.items()}

    def _has_taken_in(self, number: int) -> bool:
        return len(self._taken_in) == number

    async def _post(self, name: str, request: Post) -> None:
        self.answers[name] = await self._api.post(*request)
