"""Scoped tokens: every route with every scope."""

from itertools import product

from aiohttp import ClientSession, ClientTimeout

from aiserv.api.openapi import openapi
from aiserv.api.routes import TABLE
from aiserv.api.routing import Route
from tests.api.client import CHAT, UNKNOWN
from tests.api.conftest import MAY, As
from tests.waiting import SOON


def target(route: Route) -> str:
    path = route.path
    for name in ("job_id", "batch_id", "model_profile", "task_type"):
        path = path.replace(f"{{{name}}}", UNKNOWN)
    return path


async def test_a_scope_allows_its_routes_and_no_other(acting: As, session: ClientSession) -> None:
    allowed = set()

    for token, route in product([*MAY, "plain"], TABLE):
        # A body that nobody takes: whoever is allowed so far hears 400, or 404 for what is not there.
        url = f"http://127.0.0.1:{acting(token).port}{target(route)}?x=1"
        async with session.request(
            route.method, url, headers={"Authorization": f"Bearer {token}"}, timeout=ClientTimeout(SOON)
        ) as answer:
            if answer.status != 403:
                allowed.add((token, route.method, route.path))

    assert allowed == {
        (token, route.method, route.path)
        for token, route in product([*MAY, "plain"], TABLE)
        if route.scope in MAY.get(token, {route.scope})
    }


async def test_a_refusal_names_the_token_and_both_scopes(acting: As) -> None:
    answer = await acting("read").post("jobs", CHAT)

    assert answer.refusal == (403, "forbidden")
    assert answer.problem["detail"] == "this needs a token of scope write; read has read"


async def test_a_scope_is_looked_at_before_the_body_is_read(acting: As) -> None:
    answer = await acting("read").first(
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: a\r\nConnection: close\r\nAuthorization: Bearer read\r\n"
        b"Content-Length: 1000\r\n\r\n{"
    )

    assert answer.startswith(b"HTTP/1.1 403 ")


async def test_head_needs_the_scope_of_get(acting: As) -> None:
    assert (await acting("worker").send("HEAD", "stats")).status == 403
    assert (await acting("read").send("HEAD", "stats")).status == 200


async def test_what_is_not_there_is_404_and_405_with_every_token(acting: As) -> None:
    for token in [*MAY, *(f"a-{scope}" for scope in MAY)]:
        assert (await acting(token).get("nothing")).refusal == (404, "not_found")
        assert (await acting(token).send("DELETE", "jobs")).refusal == (405, "method_not_allowed")


def test_the_document_shows_the_scope_of_every_operation() -> None:
    paths = openapi(TABLE)["paths"]

    for route in TABLE:
        operation = paths[route.path][route.method.lower()]
        assert operation["security"] == [{"bearer": [route.scope]}]
        assert "403" in operation["responses"]
