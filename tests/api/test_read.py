"""Reading jobs: one, its attempts, and lists with filters and cursors."""

import json
import re
from uuid import UUID, uuid4

import psycopg
import pytest
from aiohttp import ClientSession
from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow

from aiserv.answers.jobs import AttemptsAnswer, JobPage
from tests.api.client import CHAT, UNKNOWN, Api
from tests.api.conftest import Start


async def ids(api: Api, query: str) -> list[str]:
    answer = await api.get(f"jobs?{query}")
    assert answer.status == 200, answer.text
    JobPage.model_validate_json(answer.body)
    return [job["id"] for job in answer.json["jobs"]]


async def test_a_job_is_read_by_its_id(api: Api) -> None:
    job = await api.create()

    answer = await api.get(f"jobs/{job['id'].upper()}")

    assert (answer.status, answer.job) == (200, job)


@pytest.mark.parametrize(("method", "version"), [("GET", "HTTP/1.1"), ("HEAD", "HTTP/1.1"), ("GET", "HTTP/1.0")])
async def test_the_last_answer_of_a_connection_has_the_head_of_all_others(api: Api, method: str, version: str) -> None:
    job = await api.create()
    target = f"/api/v1/jobs/{job['id']}"
    fixed = "Host: a\r\nX-Request-Id: r"

    said = await api.raw(
        f"GET {target} HTTP/1.1\r\n{fixed}\r\n\r\n"
        f"{method} {target} {version}\r\n{fixed}\r\nConnection: close\r\n\r\n".encode()
    )

    first, last = (part.partition("\r\n\r\n") for part in re.split(r"HTTP/1\.[01] 200 OK\r\n", said.decode())[1:])
    head = {line for line in first[0].split("\r\n") if not line.startswith("Date: ")}
    last_head = {line for line in last[0].split("\r\n") if not line.startswith("Date: ")}
    assert {line.partition(":")[0] for line in head} > {"Content-Length", "Content-Type", "ETag", "Server"}
    assert last_head - {"Connection: close"} == head
    assert json.loads(first[2]) == job
    assert last[2] == ("" if method == "HEAD" else first[2])


@pytest.mark.parametrize("path", ["jobs/{}", "jobs/{}/attempts", "batches/{}"])
async def test_what_is_not_there_is_not_found(api: Api, path: str) -> None:
    answer = await api.get(path.format(UNKNOWN))

    assert answer.refusal == (404, "not_found")
    assert UNKNOWN in answer.problem["detail"]


@pytest.mark.parametrize(
    "path", ["jobs/x", "jobs/x/attempts", "batches/x", "jobs/%7B0198f0c27d3a7c419f0e2f6a4c1d9b10%7D"]
)
async def test_what_is_no_id_is_refused(api: Api, path: str) -> None:
    answer = await api.get(path)

    assert answer.refusal == (400, "invalid_request")


async def test_attempts_are_listed_oldest_first_and_the_running_one_has_no_outcome(api: Api) -> None:
    job = await api.create()
    await api.claim()
    await api.post(
        f"jobs/{job['id']}/fail", {"category": "timeout", "message": "m", "retryable": True, "retry_after": 0}
    )
    await api.claim(worker_id="w2")

    answer = await api.get(f"jobs/{job['id']}/attempts")

    AttemptsAnswer.model_validate_json(answer.body)
    first, second = answer.json["attempts"]
    assert (first["attempt"], first["worker_id"], first["outcome"], first["error_category"]) == (
        1,
        "w1",
        "retrying",
        "timeout",
    )
    assert (second["attempt"], second["worker_id"], second["outcome"], second["finished_at"]) == (2, "w2", None, None)


async def test_lists_are_newest_first_unless_asked_otherwise(api: Api) -> None:
    created = [(await api.create())["id"] for _ in range(3)]

    assert await ids(api, "") == created[::-1]
    assert await ids(api, "order=newest") == created[::-1]
    assert await ids(api, "order=oldest") == created


async def filtered(api: Api) -> dict[str, str]:
    """Jobs that each differ from the others, by what they differ in."""
    made = {
        "owner": await api.create(owner_service="crm"),
        "ref": await api.create(owner_ref="a/b c"),
        "type": await api.create(task_type="transcribe"),
        "profile": await api.create(model_profile="whisperx"),
    }
    await api.claim(model_profiles=["whisperx"], worker_id="w/1")
    failed = await api.create(model_profile="failing")
    await api.claim(model_profiles=["failing"])
    await api.post(f"jobs/{failed['id']}/fail", {"category": "timeout", "message": ""})
    return {**{name: job["id"] for name, job in made.items()}, "failed": failed["id"]}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("owner_service=crm", ["owner"]),
        ("owner_ref=a%2Fb%20c", ["ref"]),
        ("owner_ref=a/b+c", ["ref"]),
        ("task_type=transcribe", ["type"]),
        ("model_profile=whisperx", ["profile"]),
        ("model_profile=whisperx&model_profile=failing", ["profile", "failed"]),
        ("status=running", ["profile"]),
        ("status=running,failed", ["profile", "failed"]),
        ("status=running&status=failed", ["profile", "failed"]),
        ("error_category=timeout", ["failed"]),
        ("worker_id=w/1", ["profile"]),
        ("owner_service=crm&task_type=transcribe", []),
        ("owner_service=nobody", []),
        ("batch_id=" + UNKNOWN, []),
    ],
)
async def test_a_list_has_exactly_what_all_filters_allow(api: Api, query: str, expected: list[str]) -> None:
    jobs = await filtered(api)

    assert await ids(api, f"order=oldest&{query}") == [jobs[name] for name in expected]


async def test_ids_may_be_separated_by_commas(api: Api) -> None:
    first, _, third = [(await api.create())["id"] for _ in range(3)]

    assert await ids(api, f"order=oldest&id={first},{third}") == [first, third]
    assert await ids(api, f"order=oldest&id={first}&id={third}") == [first, third]


async def test_created_after_is_inclusive_and_created_before_is_not(api: Api) -> None:
    first, second = await api.create(), await api.create()

    assert await ids(api, f"created_after={second['created_at']}") == [second["id"]]
    assert await ids(api, f"created_before={second['created_at']}") == [first["id"]]


@pytest.mark.parametrize(
    ("query", "field", "message"),
    [
        ("stauts=failed", "stauts", "unknown parameter"),
        ("status=done", "status", "must be 'pending', 'running', 'completed', 'failed' or 'cancelled'"),
        ("status=", "status", "must be 'pending', 'running', 'completed', 'failed' or 'cancelled'"),
        ("owner_service=", "owner_service", "must not be empty"),
        ("limit=0", "limit", "must be greater than or equal to 1"),
        ("limit=1001", "limit", "must be less than or equal to 1000"),
        ("limit=ten", "limit", "must be an integer"),
        ("limit=%D9%A3", "limit", "must be an integer"),
        ("limit=" + "9" * 5000, "limit", "must be an integer"),
        ("limit=1&limit=2", "limit", "must be given once"),
        ("order=newest&order=oldest", "order", "must be given once"),
        ("order=up", "order", "must be 'newest' or 'oldest'"),
        ("fields=all", "fields", "must be 'summary'"),
        ("include_total=yes", "include_total", "must be true or false"),
        ("id=7", "id", "must be a UUID like 0198f0c2-7d3a-7c41-9f0e-2f6a4c1d9b10"),
        ("created_after=yesterday", "created_after", "must be a time with zone, like 2026-06-09T08:49:12Z"),
        ("cursor=x", "cursor", "must be the next_cursor of a page with the same order"),
        ("cursor=%C3%A9", "cursor", "must be the next_cursor of a page with the same order"),
    ],
)
async def test_a_parameter_that_makes_no_sense_is_refused_by_name(
    refusing: Api, query: str, field: str, message: str
) -> None:
    answer = await refusing.get(f"jobs?{query}")

    assert answer.refusal == (400, "invalid_request")
    assert answer.problem["errors"] == [{"field": field, "message": message}]


@pytest.mark.parametrize("path", [f"jobs/{UNKNOWN}", f"jobs/{UNKNOWN}/attempts"])
async def test_a_parameter_is_refused_where_none_is_known(api: Api, path: str) -> None:
    answer = await api.get(f"{path}?verbose=1")

    assert answer.refusal == (400, "invalid_request")
    assert answer.problem["errors"] == [{"field": "verbose", "message": "unknown parameter"}]


@pytest.mark.parametrize("order", ["newest", "oldest"])
async def test_pages_neither_skip_nor_repeat(api: Api, db: psycopg.Connection[DictRow], order: str) -> None:
    created = (await api.post("jobs/batch?return=ids", {**CHAT, "jobs": [{}] * 250})).json["ids"]
    db.execute("alter table aiserv.job disable trigger user")
    db.execute("update aiserv.job set created_at = '2026-01-01Z'")
    found: list[str] = []
    cursor = ""

    for _ in range(4):
        page = (await api.get(f"jobs?order={order}&limit=100{cursor}")).json
        found += [job["id"] for job in page["jobs"]]
        await api.create()
        if order == "newest" or page["next_cursor"] is None:
            created.append("later")
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"

    known = [job_id for job_id in created if job_id != "later"]
    assert [job_id for job_id in found if job_id in set(known)] == sorted(known, reverse=order == "newest")


async def test_a_page_has_a_hundred_jobs_or_up_to_a_thousand(api: Api) -> None:
    await api.post("jobs/batch?return=ids", {**CHAT, "jobs": [{}] * 1001})

    assert [len(await ids(api, query)) for query in ("", "limit=1", "limit=1000")] == [100, 1, 1000]


async def test_the_last_page_has_no_cursor(api: Api) -> None:
    await api.post("jobs/batch", {**CHAT, "jobs": [{}] * 3})

    assert (await api.get("jobs?limit=3")).json["next_cursor"] is None
    assert (await api.get("jobs?limit=2")).json["next_cursor"] is not None


async def test_a_cursor_is_refused_by_a_list_of_the_other_order(api: Api) -> None:
    await api.post("jobs/batch", {**CHAT, "jobs": [{}] * 3})
    cursor = (await api.get("jobs?limit=1")).json["next_cursor"]

    answer = await api.get(f"jobs?limit=1&order=oldest&cursor={cursor}")

    assert answer.problem["errors"][0]["field"] == "cursor"


async def test_a_summary_leaves_out_the_payloads(api: Api) -> None:
    job = await api.create(input={"user": "Hello"})

    (summary,) = (await api.get("jobs?fields=summary")).json["jobs"]

    assert summary == {name: value for name, value in job.items() if name not in {"input", "result", "progress"}}


async def test_a_total_is_counted_on_request(api: Api) -> None:
    await api.post("jobs/batch", {**CHAT, "jobs": [{}, {}, {"owner_service": "crm"}]})

    assert "total" not in (await api.get("jobs")).json
    assert "total" not in (await api.get("jobs?include_total=false")).json
    assert (await api.get("jobs?include_total=true&limit=1&owner_service=telephony")).json["total"] == 2


async def test_a_page_stops_early_when_it_is_heavy(api: Api, db: psycopg.Connection[DictRow]) -> None:
    for _ in range(6):
        db.execute("select from aiserv.create_job('a', 'b', 'c', to_json(repeat('x', 15000000)))")

    first = (await api.get("jobs")).json
    second = (await api.get(f"jobs?cursor={first['next_cursor']}")).json

    assert (len(first["jobs"]), len(second["jobs"])) == (5, 1)
    assert second["next_cursor"] is None


async def test_times_are_utc_whatever_the_time_zone_of_the_connection(
    start: Start, session: ClientSession, conninfo: str
) -> None:
    api = Api(session, start(DATABASE_URL=make_conninfo(conninfo, options="-c timezone=Asia/Tokyo")).port)

    job = await api.create(run_at="2031-01-02T03:04:05Z")
    read = (await api.get(f"jobs/{job['id']}")).json

    assert job["run_at"] == read["run_at"] == "2031-01-02T03:04:05.000000Z"
    assert UUID(job["id"]) != uuid4()
    assert json.loads(json.dumps(read)) == job
