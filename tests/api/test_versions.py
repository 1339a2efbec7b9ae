"""ETags, conditions, and compressed answers."""

import gzip
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from tests.api.client import CHAT, Api

if TYPE_CHECKING:
    from pydantic import JsonValue


async def etag(api: Api, job: dict[str, Any]) -> str:
    return (await api.get(f"jobs/{job['id']}")).headers["ETag"]


async def test_every_visible_change_is_a_new_version(api: Api) -> None:
    job = await api.create()
    seen = [await etag(api, job), await etag(api, job)]
    await api.claim()
    seen.append(await etag(api, job))
    bodies: list[dict[str, JsonValue]] = [{}, {"progress": 1}]
    for body in bodies:
        await api.post(f"jobs/{job['id']}/heartbeat", body)
        seen.append(await etag(api, job))
    await api.post(f"jobs/{job['id']}/complete", {"result": 1})
    seen.append(await etag(api, job))

    assert seen[0] == seen[1]
    assert len(set(seen)) == 5
    assert all(tag.startswith('"') and tag.endswith('"') for tag in seen)


async def test_a_create_answers_the_version_that_a_read_answers(api: Api) -> None:
    created = await api.post("jobs", CHAT)

    assert created.headers["ETag"] == await etag(api, created.job)


@pytest.mark.parametrize("form", ["{}", "W/{}", '"x", {}', "*", "gzip"])
async def test_what_a_client_has_already_is_not_sent_again(api: Api, form: str) -> None:
    job = await api.create()
    tag = await etag(api, job)
    known = f'{tag[:-1]}-gzip"' if form == "gzip" else form.format(tag)

    answer = await api.get(f"jobs/{job['id']}", If_None_Match=known)

    assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)


@pytest.mark.parametrize("tag", ['"x"', "x", "", '"'])
async def test_what_a_client_has_not_is_sent(api: Api, tag: str) -> None:
    job = await api.create()

    assert (await api.get(f"jobs/{job['id']}", If_None_Match=tag)).status == 200


async def test_a_wait_with_a_known_version_ends_with_304_when_nothing_happened(api: Api) -> None:
    job = await api.create()
    tag = await etag(api, job)

    unchanged = await api.get(f"jobs/{job['id']}?wait=100ms", If_None_Match=tag)
    await api.post(f"jobs/{job['id']}/cancel")
    changed = await api.get(f"jobs/{job['id']}?wait=100ms", If_None_Match=tag)

    assert (unchanged.status, changed.status) == (304, 200)


@pytest.mark.parametrize("verb", ["retry", "cancel"])
async def test_a_verb_may_name_the_version_it_is_for(api: Api, verb: str) -> None:
    job = await api.create()
    old = await etag(api, job)
    await api.claim()
    new = await etag(api, job)

    refused = await api.post(f"jobs/{job['id']}/{verb}", If_Match=old)
    weak = await api.post(f"jobs/{job['id']}/{verb}", If_Match=f"W/{new}")
    done = await api.post(f"jobs/{job['id']}/{verb}", If_Match=f'"x", {new}')

    assert refused.refusal == weak.refusal == (412, "precondition_failed")
    assert done.status == 200


async def test_any_version_may_be_named(api: Api) -> None:
    job = await api.create()

    assert (await api.post(f"jobs/{job['id']}/cancel", If_Match="*")).status == 200


async def test_a_condition_that_is_none_is_refused(api: Api) -> None:
    job = await api.create()

    assert (await api.post(f"jobs/{job['id']}/cancel", If_Match="nonsense")).refusal == (400, "invalid_request")


async def test_settings_of_queues_have_versions(api: Api) -> None:
    never = (await api.get("queues/a")).headers["ETag"]
    first = await api.send("PUT", "queues/a", {"max_running": 1}, headers={"If-Match": never})
    refused = await api.send("PUT", "queues/a", {"max_running": 2}, headers={"If-Match": never})
    read = (await api.get("queues/a")).headers["ETag"]
    second = await api.send("PUT", "queues/a", {"max_running": 3}, headers={"If-Match": read})

    assert (first.status, second.status) == (200, 200)
    assert read == first.headers["ETag"] != second.headers["ETag"]
    assert refused.refusal == (412, "precondition_failed")


async def test_of_two_who_know_the_same_version_one_wins(api: Api) -> None:
    job = await api.create()
    tag = await etag(api, job)
    codes: list[int] = []

    async def cancel(reason: str) -> None:
        codes.append((await api.post(f"jobs/{job['id']}/cancel", {"reason": reason}, If_Match=tag)).status)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(cancel, str(number))

    assert sorted(codes) == [200, *[412] * 7]


@pytest.mark.parametrize("accepted", ["gzip", "br, gzip;q=0.5", "*", "GZIP"])
async def test_a_long_answer_is_compressed_when_asked(api: Api, accepted: str) -> None:
    job = await api.create(input="x" * 10_000)

    plain = await api.get(f"jobs/{job['id']}")
    packed = await api.get(f"jobs/{job['id']}", Accept_Encoding=accepted)

    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["ETag"] == f'{plain.headers["ETag"][:-1]}-gzip"'
    assert gzip.decompress(packed.body) == plain.body


@pytest.mark.parametrize("accepted", ["", "br", "gzip;q=0", "gzip;q=0.0, *", "identity"])
async def test_an_answer_is_not_compressed_unasked(api: Api, accepted: str) -> None:
    job = await api.create(input="x" * 10_000)

    answer = await api.get(f"jobs/{job['id']}", Accept_Encoding=accepted)

    assert "Content-Encoding" not in answer.headers
    assert answer.job["input"] == "x" * 10_000


async def test_a_condition_may_name_a_compressed_version(api: Api) -> None:
    job = await api.create(input="x" * 10_000)
    tag = (await api.get(f"jobs/{job['id']}", Accept_Encoding="gzip")).headers["ETag"]

    assert (await api.post(f"jobs/{job['id']}/cancel", If_Match=tag)).status == 200
