"""A pool of connections that says soon when it is exhausted."""

import asyncio
from typing import Final

import anyio
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

# With the time in which a dead connection is noticed, as long as a client should wait to hear that it is no use.
CONNECTING_SECONDS: Final = 4
# While all are in use and none is given back: a lock holds them, or statements that are too long. Two seconds in looks,
# and not until a moment: while the machine stands still, nobody can give anything back.
LOOKS: Final = 8
LOOK_SECONDS: Final = 0.25


class PoolExhausted(PoolTimeout):
    """All connections were in use for a while, and none was given back."""


class Pool(AsyncConnectionPool):
    """Who asks waits `CONNECTING_SECONDS` for a connection to be made, and as long while those in use come back.

    When for two seconds none has come back, all those are turned away who have waited as long: what holds the
    connections may go on for any time, and their clients had better hear of it. In a line that moves nobody is.
    """

    # Of those who have a connection or want one, and of the former.
    _callers = 0
    _held = 0
    # How often one was given back.
    _returns = 0

    async def getconn(self, timeout: float | None = None) -> AsyncConnection:  # noqa: ASYNC109 - psycopg's own
        """A connection, to be given back by `putconn`. Raises PoolExhausted, and PoolTimeout for other reasons."""
        self._callers += 1
        try:
            # A timer and a scope for those alone who have to wait.
            must_wait = self._callers > self.max_size
            connection = await (self._from_others(timeout) if must_wait else super().getconn(timeout))
        except BaseException:
            self._callers -= 1
            raise
        self._held += 1
        return connection

    async def putconn(self, conn: AsyncConnection) -> None:
        """Give a connection back."""
        self._callers -= 1
        self._held -= 1
        self._returns += 1
        await super().putconn(conn)

    async def _from_others(self, most_seconds: float | None) -> AsyncConnection:
        """A connection that somebody gives back, waited for in the pool's own line."""
        loop = asyncio.get_running_loop()
        patience = anyio.CancelScope()
        timer: asyncio.TimerHandle

        def look(returns: int, left: int) -> None:
            nonlocal timer
            # With some not in use the pool is connecting: that is not the fault of those who hold the others.
            stands_still = self._held >= self.max_size and self._returns == returns
            if stands_still and left == 0:
                patience.cancel()
            else:
                timer = loop.call_later(LOOK_SECONDS, look, self._returns, left - 1 if stands_still else LOOKS - 1)

        timer = loop.call_later(LOOK_SECONDS, look, self._returns, LOOKS - 1)
        try:
            with patience:
                return await super().getconn(most_seconds)
        finally:
            timer.cancel()
        raise PoolExhausted(f"no connection was given back for {LOOKS * LOOK_SECONDS:g} s")
