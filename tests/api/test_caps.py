"""MAX_PENDING and MAX_PENDING_PER_OWNER over HTTP."""

from aiohttp import ClientSession

from tests.api.client import CHAT, Api
from tests.api.conftest import Start


async def test_a_full_queue_is_429_and_says_when_to_come_again(start: Start, session: ClientSession) -> None:
    api = Api(session, start(MAX_PENDING_PER_OWNER="2", MAX_PENDING="3").port)
    await api.create(idempotency_key="k")
    await api.create()

    single = await api.post("jobs", CHAT)
    batch = await api.post("jobs/batch", {"jobs": [{**CHAT, "owner_service": "b"}, {**CHAT, "owner_service": "c"}]})
    repeat = await api.post("jobs", {**CHAT, "idempotency_key": "k"})

    assert single.refusal == batch.refusal == (429, "queue_full")
    assert single.headers["Retry-After"] == "1"
    assert single.problem["detail"] == "2 jobs of telephony wait, and no more than 2 may"
    assert batch.problem["detail"] == "2 jobs wait, and no more than 3 may"
    assert (repeat.status, (await api.get("stats")).json["queue"]["total"]) == (200, 2)
