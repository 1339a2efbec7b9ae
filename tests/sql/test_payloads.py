"""Payloads belong to others: they come back character for character, and what is no text is refused."""

import json

import pytest

from tests.sql.calls import Db, call, claim, create, let_time_come, one, refusal

BODY = '{"owner_service": "a", "task_type": "b", "model_profile": "c", "input": null}'
TEXTS = [
    '{"b":1,  "a" : [ 1.0, 1e400, -0.0 ] }',
    '{"n": 3.141592653589793238462643383279502884197169399375105820974944592307816406286}',
    '{"a": 1, "a": 2}',
    r'"\u043f\u0440\u0438\u0432\u0435\u0442 \ud83d\ude00 \\u0000 \/ \n"',
    '"привет 😀"',
    "null",
    "[]",
    "1E+0007",
    "[" * 90 + "]" * 90,
    json.dumps("x" * (1024 * 1024 - 2)),
]


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_a_payload_comes_back_character_for_character(db: Db, text: str) -> None:
    item = BODY.replace("null", text)
    job = create(db, input=text)
    (other,) = call(db, "create_jobs", jobs=f"[{item}]", defaults='{"priority": -1}')
    claim(db, 2)

    call(db, "heartbeat_job", job_id=job["id"], progress=text)
    (shown,) = db.execute("select input::text, progress::text from aiserv.get_job(%s)", [job["id"]]).fetchall()
    call(db, "complete_job", job_id=job["id"], result=text)
    settlement = f"""[{{"id": "{other["id"]}", "attempt": 1, "result": {text}}}]"""
    db.execute("select aiserv.settle_jobs(%s)", [settlement])
    rows = db.execute(
        "select input::text, result::text, aiserv.job_json(job)::text as whole from aiserv.list_jobs() as job"
    ).fetchall()

    assert (shown["input"], shown["progress"]) == (text, text)
    assert [(row["input"], row["result"]) for row in rows] == [(text, text)] * 2
    assert all(f'"input":{text},"result":{text},' in row["whole"] for row in rows)


def test_a_job_waits_with_the_size_of_its_input(db: Db) -> None:
    sizes = [2, 1000, 100_000]
    for size in sizes:
        text = json.dumps("x" * (size - 2))
        create(db, input=text)
        due = create(db, input=text, delay="1 hour")
        let_time_come(db, due["id"])

    call(db, "sweep")

    rows = db.execute("select input_bytes from aiserv.ready order by 1").fetchall()
    assert [row["input_bytes"] for row in rows] == sorted(sizes * 2)


@pytest.mark.parametrize(
    "text", [r'"\u0000"', r'"\ud800"', r'{"\udc00": 1}', r'["\\\u0000"]', r'"\ude00\ud83d"', r'"\uD83D"']
)
def test_nul_and_lone_surrogates_are_refused_everywhere(db: Db, text: str) -> None:
    job = create(db)
    claim(db)
    body = {"owner_service": "a", "task_type": "b", "model_profile": "c"}

    refusals = [
        refusal(db, "create_job", **body, input=text),
        refusal(db, "create_job", **body, metadata=f'{{"a": {text}}}'),
        refusal(
            db,
            "create_jobs",
            jobs=f"[{BODY.replace('null', text)}]",
        ),
        refusal(db, "heartbeat_job", job_id=job["id"], progress=text),
        refusal(db, "complete_job", job_id=job["id"], result=text),
        refusal(db, "complete_job", job_id=job["id"], result="1", usage=f'{{"a": {text}}}'),
    ]
    settlements = f"""[{{"id": "{job["id"]}", "attempt": 1, "result": {text}}}]"""

    assert {refused.sqlstate for refused in refusals} == {"JV400"}
    assert one(db, "settle_jobs", settlements=settlements)["code"] == "JV400"


def test_limits_of_size_are_kept(db: Db) -> None:
    job = create(db)
    claim(db)
    mebibyte = json.dumps("x" * (1024 * 1024 - 2))

    call(db, "heartbeat_job", job_id=job["id"], progress=mebibyte)

    assert refusal(db, "heartbeat_job", job_id=job["id"], progress=json.dumps("x" * 1024 * 1024)).sqlstate == "JV400"
    assert refusal(db, "complete_job", job_id=job["id"], result=None).sqlstate == "JV400"
    assert refusal(db, "complete_job", job_id=job["id"], result="1", usage="[]").sqlstate == "JV400"


def test_times_are_shown_in_utc_whatever_the_connection_says(db: Db) -> None:
    create(db, run_at="2026-06-09T08:49:12.000001Z")
    db.execute("set timezone = 'Asia/Tokyo'; set datestyle = 'German'; set intervalstyle = 'iso_8601'")

    (row,) = db.execute("select aiserv.job_json(job) ->> 'run_at' as run_at from aiserv.list_jobs() as job").fetchall()

    assert row["run_at"] == "2026-06-09T08:49:12.000001Z"


def test_a_summary_leaves_the_payloads_out(db: Db) -> None:
    create(db, input='{"a": 1}')

    (row,) = db.execute(
        "select aiserv.job_json(job, summary => true) as shown from aiserv.list_jobs() as job"
    ).fetchall()

    assert not {"input", "result", "progress"} & set(row["shown"])
    assert row["shown"]["metadata"] == {}


def test_an_input_that_only_the_defaults_give_keeps_their_text(db: Db) -> None:
    defaults = '{"owner_service": "me", "task_type": "t", "model_profile": "m", "input": {"b":1.0,"a":[1,  2]}}'

    (job,) = db.execute(
        "select input::text as text from aiserv.create_jobs(jobs => '[{}]', defaults => %s)", [defaults]
    ).fetchall()

    assert job["text"] == '{"b":1.0,"a":[1,  2]}'


@pytest.mark.parametrize(
    ("base", "over", "merged"),
    [
        ('{"b":1.0,"a":[1,  2]}', ' { "c" : 1e400 }\n', '{"b":1.0,"a":[1,  2], "c" : 1e400 }'),
        ('{"a": 1.50, "b": {"a": 2}}', '{"b": 3, "c": 4}', '{ "a" : 1.50, "b" : 3, "c" : 4 }'),
        ('{"a": 1}', '{"\\u0061": 2}', '{ "a" : 2 }'),
        ("{ }", '{"a": 1}', '{"a": 1}'),
        ('{"a": 1}', "{ }", '{"a": 1}'),
        ("{}", "{}", "{}"),
    ],
)
def test_two_objects_merge_by_their_members_with_their_text_intact(db: Db, base: str, over: str, merged: str) -> None:
    (row,) = db.execute("select aiserv.merge_objects(%s, %s)::text as text", [base, over]).fetchall()

    assert row["text"] == merged
