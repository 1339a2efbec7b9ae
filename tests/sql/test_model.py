"""Any sequence of calls answers what the model predicts, and leaves the tables as the model has them.

A longer run: pytest tests/sql/test_model.py --hypothesis-profile=thorough
"""

from datetime import timedelta
from functools import partial
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import rule, run_state_machine_as_test

from tests.sql.calls import Db, call
from tests.sql.model.attempt_rules import MINUTE, AttemptRules
from tests.sql.model.by_hand import BY_HAND, STATUSES
from tests.sql.model.compared import JOBS, TOKENS, Token
from tests.sql.model.create_rules import BATCH_IDS, HOUR, OWNERS, PROFILES, SOME, CreateRules
from tests.sql.model.job import Job, Refused
from tests.sql.model.moments import NO_TIME
from tests.sql.model.older import prepare
from tests.sql.model.queue_rules import QueueRules


class AnyLife(CreateRules, AttemptRules, QueueRules):
    """Jobs are created and claimed, people and time step in."""

    @rule(job=JOBS, reason=SOME([None, "why"]))
    def cancel(self, job: Job, reason: str | None) -> None:
        self.does(lambda: [self.model.cancel(job, reason)], "cancel_job", job_id=job.row["id"], reason=reason)

    @rule(job=JOBS)
    def retry(self, job: Job) -> None:
        self.does(lambda: [self.model.retry(job)], "retry_job", job_id=job.row["id"])

    @rule(token=TOKENS, fence=SOME(["both", "attempt"]))
    def take_away(self, token: Token, fence: str) -> None:
        """A running job is given to another, and whoever held it is back, too late."""
        if token[0].is_held(token[1], None):
            self.retry(token[0])
            self.claim("x", [], [], 9, HOUR, None, None, None)
            self.replay(fence)

    @rule(function=SOME(["complete_job", "fail_job", "heartbeat_job", "release_job", "cancel_job", "retry_job"]))
    def touch_what_never_was(self, function: str) -> None:
        words = {"complete_job": {"result": "1"}, "fail_job": {"category": "timeout", "message": ""}}
        arguments: dict[str, object] = {"job_id": uuid4(), **words.get(function, {})}
        self.does(lambda: [self.model.retry(None)], function, **arguments)

    @rule(
        verb=SOME(["cancel_jobs", "retry_jobs"]),
        some=st.lists(JOBS, max_size=4),
        conditions=st.fixed_dictionaries(
            {},
            optional={
                "owner_service": st.lists(SOME(OWNERS), max_size=2),
                "model_profile": st.lists(SOME(PROFILES), max_size=2),
                "status": st.lists(SOME(["pending", "running", "failed"]), max_size=2),
                "error_category": SOME([["timeout"], ["busy", "lease_expired"]]),
                "worker_id": SOME([["w"], ["x", "y"]]),
            },
        ),
        most=SOME([None, None, 1, 2]),
    )
    def many(self, verb: str, some: list[Job], conditions: dict[str, list[str]], most: int | None) -> None:
        legal = {"cancel_jobs": {"pending", "running"}, "retry_jobs": {"failed", "running"}}[verb]
        ids = {job.row["id"] for job in some}

        def matches(job: Job) -> bool:
            return (not ids or job.row["id"] in ids) and all(
                job.row[name] in values for name, values in conditions.items()
            )

        def predict() -> list[Job]:
            if not ids and not conditions:
                raise Refused("JE400")
            if not all(conditions.values()) or not legal.issuperset(conditions.get("status", [])):
                raise Refused("JV400")
            if verb == "cancel_jobs":
                return self.model.cancel_many(matches, most, "all")
            return self.model.retry_many(matches, most)

        filters: dict[str, object] = {"id": list(ids)} if ids else {}
        reason = {"reason": "all"} if verb == "cancel_jobs" else {}
        self.does(predict, verb, **filters, **conditions, **reason, max_jobs=most)

    @rule(by=SOME([9 * MINUTE, 11 * MINUTE, 31 * MINUTE, HOUR, 25 * HOUR]))
    def time_passes(self, by: timedelta) -> None:
        """Leases run out, backoffs and delays end, retention is over."""
        self.let_time_pass(by)

    @rule(most=SOME([1, 2, 1000]))
    def recover(self, most: int) -> None:
        self.does(partial(self.model.recover, most), "recover_jobs", max_jobs=most)

    @rule(retention=SOME([NO_TIME, HOUR, 24 * HOUR]))
    def sweep(self, retention: timedelta) -> None:
        # What it predicts is known before, what it leaves only after the call has shown the moments.
        _, shown, window = self.both(partial(self.model.sweep, retention), "sweep", retention=retention)
        self.look(window)
        # A rate may allow the next job at any moment.
        if not any(setting.requests for setting in self.model.settings.values()):
            assert shown == [{"sweep": self.model.next_wake()}]

    @rule(retention=SOME([-HOUR, NO_TIME, 30 * MINUTE, 24 * HOUR]), most=SOME([1, 2, 1000]))
    def prune(self, retention: timedelta, most: int) -> None:
        expected, shown, window = self.both(
            partial(self.model.prune, retention, most), "prune_jobs", retention=retention, max_jobs=most
        )
        assert shown == ([{"prune_jobs": expected}] if expected is not None else [])
        self.look(window)

    @rule(profile=SOME(PROFILES), most=SOME([1, 3, 1000]))
    def delete(self, profile: str, most: int) -> None:
        expected, shown, window = self.both(
            partial(self.model.delete, profile, most), "delete_jobs", model_profile=profile, max_jobs=most
        )
        assert shown == [{"delete_jobs": expected}]
        self.look(window)

    @rule(owner=SOME(OWNERS))
    def whose(self, owner: str) -> None:
        """What a token that is bound to an owner may see."""
        jobs = [*self.model.living(), *(job for job in self.model.jobs if not job.exists)]
        found = call(self.db, "jobs_of_owner", job_ids=[job.row["id"] for job in jobs], owner_service=owner)
        own = {job.row["id"] for job in self.model.living() if job.row["owner_service"] == owner}
        assert {row["jobs_of_owner"] for row in found} == own
        for batch_id in BATCH_IDS:
            (row,) = call(self.db, "is_batch_of", batch_id=batch_id, owner_service=owner)
            batch = self.model.batches.get(batch_id)
            there = [job for job in batch.jobs if job.exists] if batch else []
            assert row["is_batch_of"] == (batch is not None and all(job.row["owner_service"] == owner for job in there))

    @rule(batch_id=SOME(BATCH_IDS))
    def look_at_a_batch(self, batch_id: UUID) -> None:
        def predict() -> dict[str, int]:
            if batch_id not in self.model.batches:
                raise Refused("JN404")
            jobs = [job for job in self.model.batches[batch_id].jobs if job.exists]
            return {status: sum(job.status == status for job in jobs) for status in STATUSES} | {"total": len(jobs)}

        counts, shown, _ = self.both(predict, "get_batch", batch_id=batch_id)
        assert [row["get_batch"]["counts"] for row in shown] == ([counts] if counts else [])

    @rule(owner=SOME([None, *OWNERS]))
    def stats(self, owner: str | None) -> None:
        jobs = [job for job in self.model.living() if owner in {None, job.row["owner_service"]}]
        before = self.clock()
        (row,) = call(self.db, "stats", owner_service=owner)

        counts = {status: sum(job.status == status for job in jobs) for status in STATUSES}
        later = [job for job in jobs if job.place == "scheduled" and job.row["run_at"] > before]
        assert row["stats"]["queue"] == counts | {"scheduled": len(later), "total": len(jobs)}
        errors = [job.row["error_category"] for job in jobs if job.status == "failed"]
        assert row["stats"]["errors"] == {category: errors.count(category) for category in errors}

    @rule(job=JOBS, change=SOME(sorted(BY_HAND)))
    def change_by_hand(self, job: Job, change: str) -> None:
        """Nobody may, the owner of the tables included: refused, or there is no such row, and nothing changes."""
        statement, statuses = BY_HAND[change]
        before = self.clock()
        if job.exists and job.status in statuses:
            with pytest.raises(psycopg.Error) as refused:
                self.db.execute(statement.encode(), {"id": job.row["id"]})
            assert refused.value.sqlstate in {"JS409", "23505"}
        self.look((before, self.clock()))


@pytest.mark.timeout(7200)
def test_the_functions_answer_what_the_model_predicts(db: Db) -> None:
    thorough = settings.get_profile("thorough")
    # Bounded: a failure is printed as it is found, with the line that reproduces it; shrinking it may take minutes.
    phases = [Phase.reuse, Phase.generate]
    quick = settings(thorough, max_examples=40, stateful_step_count=40, phases=phases)
    is_thorough = settings.get_current_profile_name() == "thorough"
    prepare(db)

    life = partial(AnyLife, db)
    run_state_machine_as_test(life, settings=thorough if is_thorough else quick)  # type: ignore[arg-type]  # a factory does
