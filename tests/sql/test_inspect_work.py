"""Work that does not go on."""

from tests.sql.calls import Db, call, create, in_state, let_lease_run_out, one
from tests.sql.findings import finding


def test_leases_that_nobody_recovers_are_counted(db: Db) -> None:
    lost = in_state(db, "running")

    def just_run_out() -> tuple[str, str]:
        let_lease_run_out(db, lost)
        return finding(db, "leases")

    # Once more where the machine stood still for those ten seconds.
    assert ("ok", "none is over") in (just_run_out() for _ in range(3))

    db.execute("update aiserv.lease set lease_expires_at = lease_expires_at - interval '1 minute'")

    assert finding(db, "leases") == ("problem", "1 over for more than 10 seconds and not recovered")


def test_due_work_without_a_live_worker_is_named(db: Db) -> None:
    create(db, delay="1 day")
    assert finding(db, "unserved")[0] == "ok"

    create(db)

    call(db, "touch_worker", worker_id="w", owner_service="somebody else")
    assert finding(db, "unserved") == ("problem", "1 due of model profile qwen, task type chat")
    call(db, "touch_worker", worker_id="w")
    assert finding(db, "unserved")[0] == "ok"


def test_a_paused_queue_is_named(db: Db) -> None:
    call(db, "pause_queue", model_profile="qwen", pause_reason="release")

    assert finding(db, "paused") == ("warning", "qwen, release")
    call(db, "resume_queue", model_profile="qwen")
    assert finding(db, "paused")[0] == "ok"


def test_a_provider_in_trouble_is_named(db: Db) -> None:
    job = create(db)
    (held,) = call(db, "claim_jobs", worker_id="w")
    one(
        db,
        "report_provider",
        provider="qwen",
        category="unauthorized",
        message="no",
        job_id=job["id"],
        attempt=held["attempt"],
    )

    status, detail = finding(db, "troubled_providers")

    assert (status, detail.startswith("qwen: unauthorized since ")) == ("warning", True)
