"""Who is next: the highest priority, owners in turns, within an owner the earliest, then the id."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.sql.calls import Db, call, claim, create, create_big, create_many, one, refusal

EARLY = datetime(2026, 1, 1, tzinfo=UTC)


def owners(jobs: list[dict[str, Any]]) -> str:
    return "".join(job["owner_service"] for job in jobs)


def test_priority_goes_before_everything_across_owners(db: Db) -> None:
    create_many(
        db,
        [
            {"owner_service": owner, "priority": n, "run_at": str(EARLY)}
            for owner, n in zip("abcab", (0, 5, -100, 100, 1), strict=True)
        ],
    )

    assert [job["priority"] for job in claim(db, 3)] == [100, 5, 1]
    assert [job["priority"] for job in claim(db, 3)] == [0, -100]


def test_within_an_owner_the_earliest_run_at_goes_first_then_the_id_across_queues(db: Db) -> None:
    jobs = create_many(
        db,
        [
            {"task_type": kind, "model_profile": profile, "run_at": str(EARLY + timedelta(seconds=second))}
            for kind, profile, second in [
                ("a", "x", 3),
                ("b", "x", 1),
                ("a", "y", 2),
                ("a", "x", 0),
                ("b", "y", 1),
                ("a", "x", 9),
            ]
        ],
    )
    expected = [jobs[number]["id"] for number in (3, 1, 4, 2, 0, 5)]

    assert [job["id"] for job in [*claim(db, 2), *claim(db), *claim(db, 9)]] == expected


def test_owners_take_turns_with_one_slot(db: Db) -> None:
    create_many(db, [{"owner_service": "a"}] * 50)
    create_many(db, [{"owner_service": "b"}] * 5)
    create_many(db, [{"owner_service": "c"}] * 5)
    served = ""

    for _ in range(9):
        (job,) = claim(db)
        served += job["owner_service"]
        call(db, "complete_job", job_id=job["id"], result="1")

    assert {"".join(sorted(served[n : n + 3])) for n in (0, 3, 6)} == {"abc"}


@pytest.mark.parametrize(("limit", "expected"), [(2, "ab"), (4, "abab"), (7, "abababa"), (12, "abababaaaaaa")])
def test_owners_share_a_claim_of_many(db: Db, limit: int, expected: str) -> None:
    create_many(db, [{"owner_service": "a"}] * 50)
    create_many(db, [{"owner_service": "b"}] * 3)

    assert owners(claim(db, limit)) == expected


def test_turns_are_the_owner_s_and_not_its_queues(db: Db) -> None:
    create_many(db, [{"owner_service": "a", "task_type": kind} for kind in "xyzxyzxyz"])
    create_many(db, [{"owner_service": "b", "task_type": "x"}] * 4)

    assert owners(claim(db, 6)) == "ababab"


def test_a_newcomer_is_served_before_those_who_were_just_served(db: Db) -> None:
    create_many(db, [{"owner_service": owner} for owner in "aaabbb"])
    claim(db, 2)
    create(db, owner_service="z")

    assert owners(claim(db)) == "z"


def test_fifty_owners_are_all_served_in_fifty_claims(db: Db) -> None:
    create_many(db, [{"owner_service": f"owner-{n % 50}"} for n in range(200)])

    served = [claim(db)[0]["owner_service"] for _ in range(50)]

    assert len(set(served)) == 50


def test_a_claim_takes_what_it_asks_for_and_no_more(db: Db) -> None:
    create_many(db, [{"owner_service": f"owner-{n % 7}"} for n in range(30)])

    assert [len(claim(db, limit)) for limit in (0, 1, 8, 1000, 5)] == [0, 1, 8, 21, 0]


def test_a_claim_takes_only_the_kinds_it_names(db: Db) -> None:
    create_many(db, [{"task_type": kind, "model_profile": profile} for kind in "ab" for profile in "xy"])

    assert len(claim(db, 9, task_types=["a"], model_profiles=["x", "x"])) == 1
    assert {job["model_profile"] for job in claim(db, 9, model_profiles=["y"], task_types=[])} == {"y"}
    assert len(claim(db, 9, task_types=None, model_profiles=[])) == 1


@pytest.mark.parametrize("owner_service", [None, "telephony"])
def test_a_claim_takes_only_what_it_names_though_others_share_its_numbers(db: Db, owner_service: str | None) -> None:
    jobs = [create(db), create(db, owner_service="press"), create(db, task_type="another")]
    db.execute("alter table aiserv.ready alter queue_key drop expression, alter owner_key drop expression")
    db.execute("update aiserv.ready set queue_key = aiserv._queue_key('qwen', 'chat')")
    if owner_service:
        db.execute("update aiserv.ready set owner_key = aiserv._owner_key(%s)", [owner_service])

    taken = claim(db, 10, task_types=["chat"], model_profiles=["qwen"], owner_service=owner_service)

    assert {job["id"] for job in taken} == {job["id"] for job in jobs[: 1 if owner_service else 2]}


def test_a_claim_may_name_the_task_types_of_a_profile(db: Db) -> None:
    create_many(db, [{"task_type": kind, "model_profile": profile} for kind in "ab" for profile in "xy"])
    create(db, task_type="b", model_profile="x", run_at=datetime.now(UTC) + timedelta(hours=1))
    wanted: dict[str, object] = {"task_types": ["a", "b"], "model_profiles": ["x", "y"], "queues": '{"x": ["a"]}'}

    taken = claim(db, 9, **wanted)

    assert {(job["model_profile"], job["task_type"]) for job in taken} == {("x", "a"), ("y", "a"), ("y", "b")}
    assert one(db, "next_wake", **wanted)["next_wake"] == min(job["lease_expires_at"] for job in taken)
    assert claim(db, 9, queues='{"x": ["c"]}') == []
    assert [job["task_type"] for job in claim(db, 9, queues='{"x": ["b"]}')] == ["b"]


@pytest.mark.parametrize("queues", ["[]", '{"x": "a"}', '{"x": []}', '{"x": [1]}'])
def test_malformed_queues_of_a_claim_are_refused(db: Db, queues: str) -> None:
    refused = refusal(db, "claim_jobs", worker_id="w", queues=queues)

    assert refused.sqlstate == "JV400"
    assert str(refused).startswith("queues: ")


@pytest.mark.timeout(300)  # a hundred megabytes: seconds, and a minute on a busy machine
@pytest.mark.parametrize("priorities", [[0, 0, 0, 0], [1, 1, 0, 0]], ids=["of one", "of two priorities"])
def test_a_claim_stops_at_64_mib_with_at_least_one_job(db: Db, priorities: list[int]) -> None:
    for size, priority in zip([1, 33, 33, 1], priorities, strict=True):
        create_big(db, size, priority=priority)

    taken = []
    claim_sizes = """
        select job.input_bytes / 1024 / 1024 as size
        from aiserv.claim_jobs(worker_id => 'w', max_jobs => 9) as claimed
        join aiserv.job as job using (id)
        """
    while rows := db.execute(claim_sizes).fetchall():
        taken.append([row["size"] for row in rows])

    assert taken == [[1, 33, 33], [1]]


def test_a_worker_that_claims_is_listed_with_its_jobs(db: Db) -> None:
    create(db)
    (job,) = claim(db, worker_id="worker-1", task_types=["chat"], slots=4)

    worker = one(db, "list_workers")

    assert (worker["worker_id"], worker["kind"], worker["state"], worker["slots"]) == ("worker-1", "http", "live", 4)
    assert (worker["task_types"], worker["model_profiles"], worker["busy"]) == (["chat"], [], 1)
    assert worker["jobs"] == [{"id": str(job["id"]), "attempt": 1}]


@pytest.mark.parametrize("remaining", ["-1 second", "1 hour"])
def test_a_cursor_holds_for_no_longer_than_its_five_seconds(db: Db, remaining: str) -> None:
    jobs = create_many(db, [{}] * 4)
    # At once: between two calls the machine may stand still for as long.
    answers = db.execute(
        f"""
        select aiserv._move_cursor(null, array['{jobs[1]["id"]}'::uuid]);
        commit;
        select id from aiserv.claim_jobs(worker_id => 'worker-1')
        """.encode()
    )
    assert answers.nextset()
    assert answers.nextset()
    assert answers.fetchall() == [{"id": jobs[2]["id"]}]

    db.execute(
        """
        select set_config('aiserv.claim_cursor', jsonb_set(
            current_setting('aiserv.claim_cursor')::jsonb, '{until}', to_jsonb(clock_timestamp() + %s::interval)
        )::text, false)
        """,
        [remaining],
    )

    assert claim(db)[0]["id"] == jobs[0]["id"]


@pytest.mark.parametrize("nonsense", ["x", "5", '{"until": "x"}'])
def test_what_is_no_cursor_keeps_nobody_from_claiming(db: Db, nonsense: str) -> None:
    job = create(db)
    db.execute("select set_config('aiserv.claim_cursor', %s, false)", [nonsense])

    assert claim(db)[0]["id"] == job["id"]
