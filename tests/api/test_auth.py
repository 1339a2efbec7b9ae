"""Tokens: who may use the API, and what is open."""

import pytest
from aiohttp import ClientSession

from aiserv.api.routes import OPEN
from tests.api.client import CHAT, Api
from tests.api.conftest import Start

TOKENS = "old-secret, new-secret"


@pytest.fixture
def guarded(start: Start, session: ClientSession) -> Api:
    return Api(session, start(AI_SERVICE_TOKEN=TOKENS).port)


@pytest.mark.parametrize("token", ["old-secret", "new-secret"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER "])
async def test_every_token_opens_the_api(guarded: Api, token: str, scheme: str) -> None:
    answer = await guarded.post("jobs", CHAT, Authorization=f"{scheme} {token}")

    assert answer.status == 201


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer wrong", "Bearer old-secret, new-secret", "Basic old-secret", "old-secret"],
)
async def test_without_a_token_the_api_is_closed(guarded: Api, header: str | None) -> None:
    answer = await guarded.get("jobs", **({} if header is None else {"Authorization": header}))

    assert answer.refusal == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/api/v1", "/api/v1/", "/api/v1/nothing", "/api/v2/jobs", "/api", "/%61pi/v1/jobs"])
async def test_unknown_paths_of_the_api_are_closed_too(guarded: Api, path: str) -> None:
    assert (await guarded.get(path)).refusal == (401, "unauthorized")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"])
async def test_unknown_methods_are_closed_too(guarded: Api, method: str) -> None:
    assert (await guarded.send(method, "jobs")).refusal == (401, "unauthorized")


async def test_probes_and_documents_are_open(guarded: Api) -> None:
    for path in (*OPEN, "/docs/docs.js", "/docs/docs.css"):
        assert (await guarded.get(path)).status == 200, path


async def test_bytes_that_are_no_ascii_are_a_wrong_token(guarded: Api) -> None:
    for token in (b"\xff\xfe", "müll".encode(), b"\xed\xa0\x80"):
        answer = await guarded.raw(
            b"GET /api/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer " + token + b"\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 401 ")


async def test_the_token_is_looked_at_before_the_body_is_read(guarded: Api) -> None:
    answer = await guarded.first(
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1000\r\n\r\n{"
    )

    assert answer.startswith(b"HTTP/1.1 401 ")


async def test_without_configured_tokens_the_api_is_open(api: Api) -> None:
    assert (await api.get("jobs", Authorization="Bearer whatever")).status == 200
