"""A long transaction elsewhere keeps the rows of what is gone: nobody walks over them again and again."""

from collections.abc import Iterator

import pytest

from tests.sql.calls import Connect, Db, call, claim, create_many, let_lease_run_out, one
from tests.sql.reads import pages

FINISH = """
select count(*) from aiserv.settle_jobs((
    select json_agg(json_build_object('id', id, 'attempt', attempt, 'result', 1))
    from aiserv.claim_jobs(worker_id => 'worker-1', max_jobs => 1000)
))
"""
RECOVER = "select count(*) from aiserv.recover_jobs()"
PRUNE = "select aiserv.prune_jobs(retention => '1 microsecond')"


@pytest.fixture
def finished(db: Db, connect: Connect) -> Iterator[None]:
    """Six thousand finished jobs, whose places and leases are kept."""
    create_many(db, [{}] * 6_000)
    elsewhere = connect(options="-c default_transaction_isolation=repeatable\\ read")
    with elsewhere.transaction():
        elsewhere.execute("select count(*) from aiserv.jobs")
        for _ in range(6):
            db.execute(FINISH.encode())
        yield


@pytest.mark.usefixtures("finished")
@pytest.mark.parametrize("runs", [False, True])
def test_leases_long_gone_cost_those_who_look_for_the_dead_nothing(db: Db, *, runs: bool) -> None:
    if runs:
        create_many(db, [{}])
        claim(db, 1)

    costs = [pages(db, RECOVER) for _ in range(5)]

    # From the head it would be all pages of the table.
    assert min(costs[1:]) < 50, costs


@pytest.mark.usefixtures("finished")
def test_jobs_pruned_before_cost_a_prune_nothing(db: Db) -> None:
    for _ in range(5):
        db.execute(PRUNE.encode())
    create_many(db, [{}] * 50)
    db.execute(FINISH.encode())

    costs = [pages(db, PRUNE.removesuffix(")") + f", max_jobs => {most})") for most in (900, 90, 10, 10, 10)]

    # From the head it would be a page for each of the jobs.
    assert min(costs[1:]) < 1_000, costs
    assert one(db, "prune_jobs", retention="1 microsecond")["prune_jobs"] == 30


@pytest.mark.usefixtures("finished")
def test_a_lease_of_the_dead_is_found_while_others_are_passed_over(db: Db) -> None:
    (job,) = create_many(db, [{}])
    claim(db, 1)
    let_lease_run_out(db, job["id"])
    call(db, "next_wake")

    assert [recovered["id"] for recovered in call(db, "recover_jobs")] == [job["id"]]


@pytest.mark.parametrize(
    ("cursor", "move"),
    [
        ("aiserv.claim_cursor", "select from aiserv.claim_jobs(worker_id => 'worker-1')"),
        ("aiserv.prune_cursor", "select from aiserv.prune_jobs(retention => '1 microsecond', max_jobs => 1)"),
    ],
)
def test_a_cursor_that_moves_on_lasts_no_longer_for_it(db: Db, cursor: str, move: str) -> None:
    jobs = create_many(db, [{}] * 2)
    call(db, "cancel_jobs", id=[jobs[0]["id"]])
    read = f"select current_setting('{cursor}')::jsonb as kept"

    # At once: between two calls the machine may stand still for as long.
    answers = db.execute(f"select aiserv._keep_cursor('{cursor}', null, '{{}}'); {read}; {move}; {read}".encode())
    kept = []
    while answers.nextset():
        kept += [row["kept"] for row in answers.fetchall() if row]

    assert kept[1].keys() > kept[0].keys()
    assert kept[1]["until"] == kept[0]["until"]


def test_who_may_have_missed_a_lease_looks_from_the_head_within_five_seconds(db: Db) -> None:
    (job,) = create_many(db, [{}])
    claim(db, 1)
    let_lease_run_out(db, job["id"])
    db.execute(
        "select aiserv._keep_cursor('aiserv.lease_cursor', null, json_build_object('head', '(100000,0)')::jsonb)"
    )

    wake = db.execute("select aiserv.next_wake() - clock_timestamp() < interval '5 seconds' as soon").fetchall()
    assert wake == [{"soon": True}]
    db.execute(
        """
        select set_config('aiserv.lease_cursor', jsonb_set(
            current_setting('aiserv.lease_cursor')::jsonb, '{until}', to_jsonb(clock_timestamp() - interval '1 second')
        )::text, false)
        """
    )
    assert [recovered["id"] for recovered in call(db, "recover_jobs")] == [job["id"]]
