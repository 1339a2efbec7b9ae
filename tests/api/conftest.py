"""A real server for each test, on a port and a database of its own."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from functools import partial
from hashlib import sha256
from pathlib import Path

import anyio
import psycopg
import pytest
from aiohttp import ClientSession
from anyio.from_thread import start_blocking_portal

from aiserv.api.process import serve
from aiserv.http.serving import USUAL_DEADLINES, Deadlines
from aiserv.settings import Settings
from tests.api.client import Api
from tests.api.streams import Stream, Subscribe
from tests.api.waits import Waits
from tests.conftest import be_patient, database, url_of
from tests.invariants import broken
from tests.waiting import let_pass

# Starts a server with these variables on top; says its port.
Start = Callable[..., "Running"]
# A client with the token of this name.
As = Callable[[str], Api]
# All jobs, and all who claim, with settings of queues.
STORED = (
    "select array(select job from aiserv.jobs as job), array(select worker from aiserv.worker as worker),"
    " array(select queue from aiserv.queue_setting as queue)"
)
# Scope: what else it may besides what needs it.
MAY = {
    "read": {"read"},
    "write": {"read", "write"},
    "worker": {"worker"},
    "admin": {"read", "write", "worker", "admin"},
}


class Running:
    """A server that runs in a thread."""

    def __init__(self, port: int, stop: Callable[[], None], let_pass: Callable[[float], None]) -> None:
        self.port = port
        self.stop = stop
        self.let_pass = let_pass


@contextmanager
def servers(conninfo: str) -> Iterator[Start]:
    """Starts servers of the API on this database; they stop at the end."""
    with ExitStack() as stack:
        portal = stack.enter_context(start_blocking_portal())

        def start_server(deadlines: Deadlines = USUAL_DEADLINES, **variables: str) -> Running:
            given = {"DATABASE_URL": conninfo, "HTTP_HOST": "127.0.0.1", "HTTP_PORT": "0", **variables}
            stop = portal.call(anyio.Event)
            future, port = portal.start_task(partial(serve, Settings.load({}, **given), stop, deadlines))
            stack.callback(future.result)
            stack.callback(portal.call, stop.set)
            return Running(port, partial(portal.call, stop.set), partial(portal.call, let_pass))

        yield start_server


@pytest.fixture
def start(conninfo: str, patient: None) -> Iterator[Start]:
    """Starts servers of the API on the test's database; they stop at its end."""
    with servers(conninfo) as start:
        yield start


@pytest.fixture(scope="module")
def refusing_port(postgres: str, template: str) -> Iterator[int]:
    """Where a server listens that is shared by all tests of a file whose requests change nothing; its one job stays."""
    with (
        database(postgres, template=template) as name,
        psycopg.connect(url_of(postgres, name), autocommit=True) as db,
        servers(url_of(postgres, name)) as start,
    ):
        db.execute("select aiserv.create_job(owner_service => 'a', task_type => 'b', model_profile => 'c')")
        stored = db.execute(STORED).fetchall()
        with pytest.MonkeyPatch.context() as monkeypatch:
            be_patient(monkeypatch)
            port = start().port
        yield port
        assert db.execute(STORED).fetchall() == stored
        assert broken(db) == []


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    """A client that decompresses nothing and asks for nothing by itself."""
    async with ClientSession(auto_decompress=False, skip_auto_headers=["Accept-Encoding", "User-Agent"]) as session:
        yield session


@pytest.fixture
def api(start: Start, session: ClientSession) -> Api:
    """A client of a server that is open to everybody."""
    return Api(session, start().port)


@pytest.fixture
def refusing(refusing_port: int, session: ClientSession) -> Api:
    """As `api`, for tests whose requests change nothing."""
    return Api(session, refusing_port)


@pytest.fixture
def subscribe(api: Api, session: ClientSession) -> Subscribe:
    """Subscribes to the events of the server of `api`."""

    @asynccontextmanager
    async def subscribe(query: str = "", **headers: str) -> AsyncIterator[Stream]:
        await api.listening()
        url = f"http://127.0.0.1:{api.port}/api/v1/events?{query}"
        async with session.get(url, headers={k.replace("_", "-"): v for k, v in headers.items()}) as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/event-stream"
            assert "X-Request-Id" in response.headers
            stream = Stream(response)
            await stream.block()
            yield stream

    return subscribe


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """The waits in the servers of the test."""
    return Waits(monkeypatch)


@pytest.fixture
def acting(start: Start, session: ClientSession, tmp_path: Path) -> As:
    """Clients with tokens: read, write, worker, admin for all owners, a-read, … for owner a, and plain for all."""
    file = tmp_path / "tokens.toml"
    file.write_text("".join(entry(scope, scope, "*") + entry(f"a-{scope}", scope, "a") for scope in MAY))
    port = start(AI_SERVICE_TOKEN="plain", AI_SERVICE_TOKENS_FILE=str(file)).port
    return lambda token: Api(session, port, token)


def entry(name: str, scope: str, owner: str) -> str:
    """The table of a token that is its own name."""
    return f'[{name}]\nscope = "{scope}"\nowner_service = "{owner}"\nsha256 = "{sha256(name.encode()).hexdigest()}"\n'
