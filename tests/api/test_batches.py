"""Many jobs at once."""

import json

import pytest
from pydantic import JsonValue

from aiserv.answers.jobs import BatchAnswer
from aiserv.fields import parse_time
from tests.api.batches import checked, lines
from tests.api.client import CHAT, Api
from tests.api.test_create import EXACT


async def test_a_batch_answers_its_jobs_in_input_order(api: Api) -> None:
    batch = checked(await api.post("jobs/batch", {"jobs": [{**CHAT, "priority": n} for n in range(5)]}))

    assert (batch["created"], batch["existing"]) == (5, 0)
    assert [job["priority"] for job in batch["jobs"]] == [0, 1, 2, 3, 4]
    assert [job["id"] for job in batch["jobs"]] == batch["ids"]
    assert {job["batch_id"] for job in batch["jobs"]} == {batch["batch_id"]}


async def test_items_go_over_defaults_over_the_fields_beside_jobs(api: Api) -> None:
    body: dict[str, JsonValue] = {
        **CHAT,
        "priority": 1,
        "owner_ref": "top",
        "run_at": "2031-01-01T00:00:00Z",
        "defaults": {"priority": 2, "max_attempts": 5, "metadata": {"a": 1}},
        "jobs": [{}, {"priority": 3, "run_at": None, "metadata": {"b": 2}}],
    }

    first, second = checked(await api.post("jobs/batch", body))["jobs"]

    assert (first["priority"], first["owner_ref"], first["max_attempts"]) == (2, "top", 5)
    assert (second["priority"], second["run_at"]) == (3, second["created_at"])
    assert (first["metadata"], second["metadata"]) == ({"a": 1}, {"b": 2})


async def test_inputs_merge_key_by_key_with_their_text_intact(api: Api) -> None:
    body = (
        f'{{"input":{{"system":{EXACT}, "user":"top"}},"defaults":{{"input":{{"seed":1.50}}}},'
        f'"jobs":[{{"input":{{"user":1e400}}}},{{"input":[]}},{{"input":null}}],{json.dumps(CHAT)[1:]}'
    )

    answer = await api.send("POST", "jobs/batch", data=body.encode())

    first, second, third = checked(answer)["jobs"]
    assert list(first["input"]) == ["system", "seed", "user"]
    assert f'"system" : {EXACT}' in answer.text
    assert '"user" : 1e400' in answer.text
    assert '"seed" : 1.50' in answer.text
    assert (second["input"], third["input"]) == ([], None)


async def test_jobs_without_anything_beside_them_keep_their_text(api: Api) -> None:
    job = f'{{"input" : {{"user": "[]]}} [", "n": [1.50]}}, {json.dumps(CHAT)[1:]}'

    answer = await api.send("POST", "jobs/batch", data=f' {{ "\\u006aobs" : [ {job} , {job} ] }}\n'.encode())

    assert checked(answer)["created"] == 2
    assert answer.text.count('"input":{"user": "[]]} [", "n": [1.50]}') == 2


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"delay": "1h30m"}, 5400),
        ({"delay": 1e3}, 1000),
        ({"delay": "2500000ns"}, 0.0025),
        ({"delay": "10us"}, 1e-5),
        ({"delay": "250\u00b5s"}, 0.00025),
    ],
)
async def test_times_mean_the_same_in_a_batch_as_alone(api: Api, fields: dict[str, JsonValue], seconds: float) -> None:
    body: dict[str, JsonValue] = {**CHAT, "jobs": [{**fields, "input": {"a": 1.50}}, {}]}
    data = json.dumps(body).replace("1.5", "1.50").encode()

    answer = await api.send("POST", "jobs/batch", data=data)

    first, second = checked(answer)["jobs"]
    waits = parse_time(first["run_at"]) - parse_time(first["created_at"])
    assert waits.total_seconds() == pytest.approx(seconds, abs=1e-6)
    assert second["run_at"] == second["created_at"]
    assert '"input":{"a": 1.50}' in answer.text


async def test_any_time_zone_is_taken_in_a_batch_and_alone(api: Api) -> None:
    moment: dict[str, JsonValue] = {"run_at": "2031-01-02T03:04:05+23:59"}

    (job,) = checked(await api.post("jobs/batch", {**CHAT, "defaults": moment, "jobs": [{}]}))["jobs"]

    assert job["run_at"] == (await api.create(**moment))["run_at"] == "2031-01-01T03:05:05.000000Z"


async def test_a_time_of_long_ago_keeps_its_four_digits(api: Api) -> None:
    moment: dict[str, JsonValue] = {"run_at": "0063-06-07T02:31:43Z"}

    (job,) = checked(await api.post("jobs/batch", {**CHAT, "jobs": [moment]}))["jobs"]

    assert job["run_at"] == (await api.create(**moment))["run_at"] == "0063-06-07T02:31:43.000000Z"


async def test_a_batch_can_be_asked_for_ids_only(api: Api) -> None:
    batch = checked(await api.post("jobs/batch?return=ids", {**CHAT, "jobs": [{}]}))

    assert set(batch) == {"batch_id", "created", "existing", "ids"}


async def test_above_1000_items_the_answer_has_ids_only(api: Api) -> None:
    small = checked(await api.post("jobs/batch", {**CHAT, "jobs": [{}] * 1000}))
    large = checked(await api.post("jobs/batch", {**CHAT, "jobs": [{}] * 1001}, Idempotency_Key="k"))
    again = await api.post("jobs/batch", {**CHAT, "jobs": [{}] * 1001}, Idempotency_Key="k")

    assert len(small["jobs"]) == 1000
    assert "jobs" not in large
    assert len(set(large["ids"])) == 1001
    assert (again.status, again.json) == (200, large)


async def test_one_bad_item_refuses_all_and_each_bad_one_is_listed(api: Api) -> None:
    jobs: list[JsonValue] = [{}, {"priority": 101, "x": 1}, 7, {"task_type": ""}]

    answer = await api.post("jobs/batch", {**CHAT, "jobs": jobs})

    assert answer.refusal == (400, "invalid_request")
    assert answer.problem["errors"] == [
        {"index": 1, "field": "priority", "message": "must be less than or equal to 100"},
        {"index": 1, "field": "x", "message": "unknown field"},
        {"index": 2, "field": "", "message": "must be an object"},
        {"index": 3, "field": "task_type", "message": "must not be empty"},
    ]
    assert answer.problem["detail"] == "jobs[1].priority: must be less than or equal to 100 (and 3 more)"
    assert (await api.get("jobs")).json["jobs"] == []


async def test_a_bad_item_far_behind_others_is_named_by_its_place(api: Api) -> None:
    jobs: list[JsonValue] = [*[{}] * 1000, {"priority": 101}, *[{}] * 1500, 7]

    answer = await api.post("jobs/batch", {**CHAT, "jobs": jobs})

    assert answer.problem["errors"] == [
        {"index": 1000, "field": "priority", "message": "must be less than or equal to 100"},
        {"index": 2501, "field": "", "message": "must be an object"},
    ]


async def test_the_first_hundred_errors_are_listed_and_the_rest_counted(api: Api) -> None:
    answer = await api.post("jobs/batch", {**CHAT, "jobs": [{"priority": 101}] * 150})

    assert len(answer.problem["errors"]) == 100
    assert answer.problem["detail"].endswith("(and 149 more)")


async def test_what_only_postgresql_can_see_is_an_error_of_the_item_too(api: Api) -> None:
    answer = await api.post("jobs/batch", {**CHAT, "jobs": [{}, {"metadata": {"a": "x" * 16384}}]})

    assert answer.problem["errors"] == [{"index": 1, "field": "metadata", "message": "must have at most 16 KiB"}]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "jobs"),
        ({"jobs": []}, "jobs"),
        ({"jobs": {}}, "jobs"),
        ({"jobs": [{}], "defaults": []}, "defaults"),
        ({"jobs": [{}], "defaults": None}, "defaults"),
        ({"jobs": [{}], "defaults": {"x": 1}}, "defaults.x"),
        ({"jobs": [{}], "default": {}}, "default"),
    ],
)
async def test_a_batch_that_makes_no_sense_is_refused_by_name(
    refusing: Api, body: dict[str, JsonValue], field: str
) -> None:
    answer = await refusing.post("jobs/batch", {**CHAT, **body})

    assert answer.refusal == (400, "invalid_request")
    assert [error["field"] for error in answer.problem["errors"]] == [field]


@pytest.mark.parametrize("query", ["return=all", "verbose=1", "return=ids&return=ids"])
async def test_a_parameter_that_makes_no_sense_is_refused(refusing: Api, query: str) -> None:
    answer = await refusing.post(f"jobs/batch?{query}", {**CHAT, "jobs": [{}]})

    assert answer.refusal == (400, "invalid_request")


async def test_a_batch_knows_how_far_it_is(api: Api) -> None:
    batch = checked(await api.post("jobs/batch", {**CHAT, "jobs": [{}, {}, {}]}))
    job = await api.claim()
    await api.post(f"jobs/{job['id']}/complete", {"result": 1})
    await api.post(f"jobs/{batch['ids'][2]}/cancel")

    answer = await api.get(f"batches/{batch['batch_id']}")

    BatchAnswer.model_validate_json(answer.body)
    counts = {"pending": 1, "running": 0, "completed": 1, "failed": 0, "cancelled": 1, "total": 3}
    assert (answer.json["counts"], answer.json["finished"]) == (counts, False)


DEFAULTS = "?owner_service=telephony&task_type=llm_chat&model_profile=a%2Fb"


async def test_a_batch_may_be_a_job_a_line_with_defaults_in_the_query(api: Api) -> None:
    body = f'{{"priority":1}}\r\n\n{{"input":{EXACT}}}\n{{"task_type":"other"}}'

    answer = await lines(api, body, f"{DEFAULTS}&priority=7&delay=1h&input=%7B%22seed%22:1.50%7D")

    first, second, third = checked(answer)["jobs"]
    assert (first["priority"], second["priority"], third["task_type"]) == (1, 7, "other")
    assert first["model_profile"] == "a/b"
    assert first["run_at"] > first["created_at"]
    assert third["input"] == {"seed": 1.5}
    assert "1.50" in answer.text


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        ("{}\n{]", "invalid_json", "line 2"),
        ("{},{}", "invalid_json", "line 1"),
        ("\n", "invalid_request", "jobs: "),
        ("{}\n7", "invalid_request", "jobs[1]: must be an object"),
        ('{}\n{"priority":"1"}', "invalid_request", "jobs[1].priority"),
        ('{"a":1,"a":2}', "invalid_json", "jobs[0].a: the name stands twice"),
    ],
)
async def test_lines_that_make_no_sense_are_refused(refusing: Api, data: str, code: str, said: str) -> None:
    answer = await lines(refusing, data, DEFAULTS)

    assert answer.refusal == (400, code)
    assert said in answer.problem["detail"]


async def test_a_list_alone_is_told_where_it_belongs(refusing: Api) -> None:
    answer = await refusing.post("jobs/batch", [CHAT])

    assert answer.refusal == (400, "invalid_request")
    assert answer.problem["hint"] == 'Name the list: {"jobs": [...]}.'


@pytest.mark.parametrize("query", ["&priority=x", "&colour=red", "&return=all", "&priority=1&priority=2"])
async def test_defaults_that_make_no_sense_are_refused(refusing: Api, query: str) -> None:
    answer = await lines(refusing, "{}", DEFAULTS + query)

    assert answer.status == 400
    assert answer.problem


async def test_a_batch_too_large_after_merging_is_refused(api: Api) -> None:
    body: JsonValue = {**CHAT, "input": {"system": "x" * 1_000_000}, "jobs": [{}] * 300}

    answer = await api.post("jobs/batch", body)

    assert answer.refusal == (413, "payload_too_large")


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_100000_items_are_taken_and_100001_are_not(api: Api) -> None:
    most = await api.post("jobs/batch", {**CHAT, "jobs": [{}] * 100_000})
    more = await api.send("POST", "jobs/batch", {**CHAT, "jobs": [{}] * 100_001})

    assert len(checked(most)["ids"]) == 100_000
    assert more.problem["errors"] == [{"field": "jobs", "message": "must be a list of 1 to 100000 jobs"}]
