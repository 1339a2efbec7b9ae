"""All pairs of transitions, their steps in every order on two connections: all ends as if one came after the other.

A step is a call or a commit; while a call waits for a lock, the other transaction goes on. Whoever skips what is locked
(claim, recover, sweep, prune) may also leave a job alone, as if it had not looked at it.
"""

from collections.abc import Iterator
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
import pytest

from tests.invariants import broken
from tests.sql.calls import PATIENCE, Connect, Db, call, claim, create, in_background, let_lease_run_out

if TYPE_CHECKING:
    from concurrent.futures import Future

SKIPS = {"claim", "recover", "sweep", "prune"}
# Who may keep a transaction open at a higher level, and be told to run it again: services and operators.
REPEATABLE = ["create", "create again", "claim", "complete", "settle", "cancel", "retry", "cancel_jobs"]
ANY_TIME = "1 microsecond"
# What no transition touches.
OF_THE_INSTALLATION = {"installed", "shape"}


class Outcome(NamedTuple):
    """What a job is in the end, and what each of the two calls said of it."""

    shown: Any
    first: Any
    second: Any


Outcomes = dict[str, Outcome]


class World:
    """Running jobs A (its lease is over) and E, a pending one B, a completed one C and a failed one D."""

    def __init__(self, db: Db, connect: Connect) -> None:
        self.db = db
        self.sessions = [connect(), connect()]
        for label, priority in {"A": 9, "E": 8, "C": 7, "D": 6, "B": 0}.items():
            create(db, owner_ref=label, priority=priority, idempotency_key=label)
        claim(db, 4, lease="1 hour")
        self.ids = {row["owner_ref"]: row["id"] for row in call(db, "list_jobs")}
        self.labels = {job_id: label for label, job_id in self.ids.items()}
        call(db, "complete_job", job_id=self.ids["C"], result="0")
        call(db, "fail_job", job_id=self.ids["D"], category="timeout", message="")
        let_lease_run_out(db, self.ids["A"])
        tables = db.execute("select tablename as name from pg_tables where schemaname = 'aiserv'").fetchall()
        self.tables = [row["name"] for row in tables if row["name"] not in OF_THE_INSTALLATION]
        db.execute("create schema kept")
        for table in self.tables:
            db.execute(f"create table kept.{table} as table aiserv.{table}".encode())
        self.restore = (
            "begin; set local session_replication_role = replica; "  # so that no trigger fires
            + "; ".join(
                f"delete from aiserv.{table}; insert into aiserv.{table} table kept.{table}" for table in self.tables
            )
            + "; commit"
        ).encode()

    def call(self, number: int, verb: str) -> Any:  # noqa: ANN401  # rows, or a code
        """What the call says of each job, by label; the SQLSTATE where it refuses."""
        function, arguments = self.verb(verb, number)
        try:
            rows = call(self.sessions[number], function, **arguments)
        except psycopg.Error as refused:
            return refused.sqlstate
        if verb == "settle":
            return {self.labels[row["id"]]: (row["status"], row["code"]) for row in rows}
        return {row["owner_ref"]: (row["status"], row["attempt"]) for row in rows if "owner_ref" in row}

    def verb(self, verb: str, number: int) -> tuple[str, dict[str, Any]]:
        held = {"job_id": self.ids["A"], "attempt": 1}
        failure = {"category": "timeout", "message": "late"}
        new = {"owner_service": "telephony", "task_type": "chat", "model_profile": "qwen"}
        settlements = (
            f'[{{"id": "{self.ids["E"]}", "attempt": 1, "category": "busy", "message": "", "retryable": true,'
            f' "retry_after": "1 hour"}}, {{"id": "{self.ids["A"]}", "attempt": 1, "result": {number}}}]'
        )
        verbs: dict[str, tuple[str, dict[str, Any]]] = {
            "create": ("create_job", new | {"owner_ref": "N", "idempotency_key": "N"}),
            "create again": ("create_job", new | {"owner_ref": "C", "idempotency_key": "C", "priority": 7}),
            "claim": ("claim_jobs", {"worker_id": f"session {number}", "max_jobs": 9}),
            "heartbeat": ("heartbeat_job", held | {"progress": f"{number}"}),
            "complete": ("complete_job", held | {"result": f"{number}"}),
            "fail": ("fail_job", held | failure),
            "fail, retryable": ("fail_job", held | failure | {"retryable": True, "retry_after": "1 hour"}),
            "release": ("release_job", held),
            "settle": ("settle_jobs", {"settlements": settlements}),
            "recover": ("recover_jobs", {}),
            "sweep": ("sweep", {"retention": ANY_TIME}),
            "cancel": ("cancel_job", {"job_id": self.ids["A"]}),
            "retry": ("retry_job", {"job_id": self.ids["A"]}),
            "retry failed": ("retry_job", {"job_id": self.ids["D"]}),
            "cancel_jobs": ("cancel_jobs", {"match_all": True}),
            "retry_jobs": ("retry_jobs", {"match_all": True}),
            "prune": ("prune_jobs", {"retention": ANY_TIME}),
            "pause": ("pause_queue", {"model_profile": "qwen"}),
        }
        return verbs[verb]

    def outcomes(self, first: Any = None, second: Any = None) -> Outcomes:  # noqa: ANN401  # what `call` returned
        """Of each job."""
        assert broken(self.db) == []
        rows = self.db.execute(
            """
            select
                job.owner_ref, job.status, job.attempt, job.failures, job.error_category, job.worker_id,
                job.result::text as result, job.progress::text as progress,
                job.lease_expires_at > clock_timestamp() as held, job.run_at > clock_timestamp() as later,
                array(
                    select format('%s %s', known.attempt, known.outcome)
                    from aiserv.attempts as known
                    where known.job_id = job.id
                    order by known.attempt
                ) as attempts
            from aiserv.jobs as job
            """
        ).fetchall()
        assert len({row["owner_ref"] for row in rows}) == len(rows), "a key made two jobs"
        shown = {row["owner_ref"]: row for row in rows}

        def said(answer: Any, label: str) -> Any:  # noqa: ANN401  # as above
            return answer.get(label) if isinstance(answer, dict) else answer

        return {label: Outcome(shown.get(label), said(first, label), said(second, label)) for label in [*self.ids, "N"]}

    def serially(self, order: list[int], verbs: tuple[str, str]) -> Outcomes:
        self.db.execute(self.restore)
        answers = {number: self.call(number, verbs[number]) for number in order}
        return self.outcomes(answers.get(0), answers.get(1))

    def interleaved(self, verbs: tuple[str, str], ends: tuple[int, int]) -> Outcomes | None:
        """Both calls, then the commits in this order; None when the second call waits, so that this order cannot be."""
        self.db.execute(self.restore)
        for session in self.sessions:
            session.execute("begin")
        first = self.call(0, verbs[0])
        future = in_background(lambda: self.call(1, verbs[1]))
        waits = self.waits(future)
        if waits and ends == (1, 0):
            self.sessions[0].execute("rollback")
            future.result(PATIENCE)
            self.sessions[1].execute("rollback")
            return None
        for number in ends:
            if number == 1:
                future.result(PATIENCE)
            self.sessions[number].execute("commit")
        return self.outcomes(first, future.result(PATIENCE))

    def with_old_snapshot(self, verbs: tuple[str, str]) -> Outcomes:
        """The first commits between the snapshot and the call of the second."""
        self.db.execute(self.restore)
        self.sessions[1].execute("begin isolation level repeatable read")
        self.sessions[1].execute("select from aiserv.job")
        first = self.call(0, verbs[0])
        second = self.call(1, verbs[1])
        self.sessions[1].execute("commit")
        return self.outcomes(first, second)

    def waits(self, future: "Future[Any]") -> bool:
        """Whether the second session waits for a lock instead of coming to an end."""
        deadline = monotonic() + PATIENCE
        pid = self.sessions[1].info.backend_pid
        while not future.done():
            (row,) = self.db.execute("select pg_blocking_pids(%s) <> '{}' as blocked", [pid]).fetchall()
            if row["blocked"]:
                return True
            assert monotonic() < deadline, "it neither ends nor waits"
        return False


VERBS = [
    "create", "create again", "claim", "heartbeat", "complete", "fail", "fail, retryable", "release", "settle",
    "recover", "sweep", "cancel", "retry", "retry failed", "cancel_jobs", "retry_jobs", "prune", "pause",
]  # fmt: skip


@pytest.fixture
def world(db: Db, connect: Connect) -> World:
    return World(db, connect)


def wrong(verbs: tuple[str, str], seen: Outcomes | None, legal: list[Outcomes]) -> Iterator[str]:
    for label, outcome in (seen or {}).items():
        if outcome not in [known[label] for known in legal]:
            yield f"{label} after {verbs[0]} and {verbs[1]}: {outcome}, not {[known[label] for known in legal]}"


def legal_outcomes(world: World, verbs: tuple[str, str]) -> list[Outcomes]:
    legal = [world.serially([0, 1], verbs), world.serially([1, 0], verbs)]
    if verbs[1] in SKIPS:
        legal.append({job: seen._replace(second=None) for job, seen in world.serially([0], verbs).items()})
    if verbs[0] in SKIPS:
        legal.append({job: seen._replace(first=None) for job, seen in world.serially([1], verbs).items()})
    return legal


@pytest.mark.parametrize("first", VERBS)
def test_two_transitions_at_once_end_as_one_after_the_other(world: World, first: str) -> None:
    mistakes: list[str] = []

    for second in VERBS:
        verbs = (first, second)
        legal = legal_outcomes(world, verbs)
        for ends in ((0, 1), (1, 0)):
            mistakes += wrong(verbs, world.interleaved(verbs, ends), legal)

    assert mistakes == []


@pytest.mark.parametrize("second", REPEATABLE)
def test_with_an_old_snapshot_a_call_is_as_right_or_is_to_be_run_again(world: World, second: str) -> None:
    mistakes: list[str] = []

    for first in VERBS:
        verbs = (first, second)
        legal = legal_outcomes(world, verbs)
        legal.append({job: seen._replace(second="40001") for job, seen in world.serially([0], verbs).items()})
        mistakes += wrong(verbs, world.with_old_snapshot(verbs), legal)

    assert mistakes == []
