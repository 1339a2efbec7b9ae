"""A TCP proxy before PostgreSQL that can do to a connection what networks and poolers do."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import ByteStream, SocketAttribute, SocketStream
from psycopg.conninfo import conninfo_to_dict, make_conninfo

NOTIFICATION, READY, KEY = b"A", b"Z", b"K"  # https://www.postgresql.org/docs/18/protocol-message-formats.html

MADE_UP = b"\x7f\xff\xff\xff"


@dataclass
class TcpProxy:
    """The way through is `conninfo`."""

    host: str
    port: str
    conninfo: str = ""
    swallow_notifications: bool = False
    # As poolers do, whose clients are served by one backend after the other.
    make_up_process_ids: bool = False
    # Those of which PostgreSQL works on something: their next answer is not complete.
    asking: set[SocketStream] = field(default_factory=set)
    flows: anyio.Event = field(default_factory=anyio.Event)
    streams: set[SocketStream] = field(default_factory=set)
    hung: set[SocketStream] = field(default_factory=set)

    def cut(self) -> None:
        """Break all connections."""
        for stream in self.streams:
            with suppress(OSError):
                stream.extra(SocketAttribute.raw_socket).shutdown(socket.SHUT_RDWR)  # noqa: S610 - of anyio

    def freeze(self) -> None:
        """Pass nothing on, and say nothing: a peer that hangs."""
        self.flows = anyio.Event()

    def hang(self) -> None:
        """Pass nothing on for those that are connected, for ever; who comes anew is served."""
        self.hung |= self.streams

    def thaw(self) -> None:
        """Pass on what has come, and what comes."""
        self.flows.set()

    async def handle(self, client: SocketStream) -> None:
        """Pass bytes until one side is done."""
        async with client:
            try:
                server = await self._connect()
            except OSError:
                # Nobody there: the client is told as a proxy does it.
                return
            async with server, anyio.create_task_group() as tasks:
                self.streams.add(client)
                tasks.start_soon(self._up, client, server, tasks.cancel_scope)
                await self._down(server, client)
                tasks.cancel_scope.cancel()
        self.streams.discard(client)

    async def _connect(self) -> ByteStream:
        if self.host.startswith("/"):
            return await anyio.connect_unix(f"{self.host}/.s.PGSQL.{self.port}")
        return await anyio.connect_tcp(self.host, int(self.port))

    async def _up(self, client: SocketStream, server: ByteStream, done: anyio.CancelScope) -> None:
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                data = await client.receive()
                await self._may_pass(client)
                self.asking.add(client)
                await server.send(data)
        done.cancel()

    async def _down(self, server: ByteStream, client: SocketStream) -> None:
        rest = b""
        with suppress(anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            while True:
                rest += await server.receive()
                await self._may_pass(client)
                messages, rest = self._messages(rest, client)
                if messages:
                    await client.send(messages)

    async def _may_pass(self, client: SocketStream) -> None:
        await self.flows.wait()
        if client in self.hung:
            await anyio.sleep_forever()

    def _messages(self, received: bytes, client: SocketStream) -> tuple[bytes, bytes]:
        """The whole messages in it, but for those to be swallowed, and the rest.

        A transaction pooler swallows notifications between transactions: those with an answer it passes on.
        """
        passed = b""
        while len(received) >= 5:
            kind, length = received[:1], int.from_bytes(received[1:5])
            if len(received) < 1 + length:
                break
            if kind == READY:
                self.asking.discard(client)
            if not (kind == NOTIFICATION and self.swallow_notifications and client not in self.asking):
                message = received[: 1 + length]
                made_up = kind == KEY and self.make_up_process_ids
                passed += message[:5] + MADE_UP + message[9:] if made_up else message
            received = received[1 + length :]
        return passed, received


@asynccontextmanager
async def tcp_proxy(conninfo: str, host: str = "127.0.0.1") -> AsyncIterator[TcpProxy]:
    """A proxy before the PostgreSQL of a test, at this address."""
    known = conninfo_to_dict(conninfo)
    proxy = TcpProxy(str(known["host"]), str(known.get("port") or 5432))
    proxy.thaw()
    listener = await anyio.create_tcp_listener(local_host=host)
    port = listener.extra(SocketAttribute.local_port)  # noqa: S610 - of anyio
    proxy.conninfo = make_conninfo(conninfo, host=host, port=port, sslmode="disable", gssencmode="disable")
    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, proxy.handle)
        yield proxy
        tasks.cancel_scope.cancel()
