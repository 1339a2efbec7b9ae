"""All pairs of transitions, their steps in every order on two connections: all ends as if one came after the other.

A step is a call or a commit; while a call waits for a lock, the other transaction goes on. Whoever skips what is locked
(claim, recover, sweep, prune, delete, heartbeats of many) may also leave a job alone, as if it had not looked at it.
"""

import json
from collections.abc import Iterator
from itertools import product
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import psycopg
import pytest

from tests.invariants import broken
from tests.sql.calls import PATIENCE, Connect, Db, call, claim, create, in_background, let_lease_run_out

if TYPE_CHECKING:
    from concurrent.futures import Future

# What they say of a job that they leave alone: heartbeats of many name those that are held.
SKIPS = {
    "claim": None, "claim_work": None, "recover": None, "sweep": None, "prune": None, "delete": None,
    "heartbeats": ("running", 1),
}  # fmt: skip
# Who may keep a transaction open at a higher level, and be told to run it again: services and operators.
REPEATABLE = ["create", "create again", "claim", "complete", "settle", "cancel", "retry", "cancel_jobs"]
ANY_TIME = "1 microsecond"
# What no transition touches.
OF_THE_INSTALLATION = {"installed", "shape"}
# They change something, and no job or queue.
NO_TRANSITION = {"check_job_version", "check_queue_version", "new_id", "next_wake", "seconds_until", "touch_worker"}
ORDERS = [(0, 1), (1, 0)]
# Of those whose rows are not jobs.
JOB_IN = {
    "create_each": """
        create_each.job ->> 'owner_ref' as owner_ref, create_each.job ->> 'status' as status,
        (create_each.job ->> 'attempt')::integer as attempt
    """,
    "settle_each": "settle_each.status, settle_each.code",
}


class Outcome(NamedTuple):
    """What a job, or the queue of all, is in the end, and what each of the two calls said of it."""

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
        call(db, "complete_job", job_id=self.ids["C"], result="0")
        call(db, "fail_job", job_id=self.ids["D"], category="timeout", message="")
        let_lease_run_out(db, self.ids["A"])
        columns = db.execute(
            """
            select relation.relname as name, string_agg(field.attname, ', ') as columns
            from pg_class as relation
            join pg_attribute as field on field.attrelid = relation.oid
            where relation.relnamespace = 'aiserv'::regnamespace and relation.relkind = 'r'
              and field.attnum > 0 and not field.attisdropped and field.attgenerated = ''
            group by relation.relname
            """
        ).fetchall()
        tables = {row["name"]: row["columns"] for row in columns if row["name"] not in OF_THE_INSTALLATION}
        self.tables = list(tables)
        db.execute("create schema kept")
        for table in tables:
            db.execute(f"create table kept.{table} as table aiserv.{table}".encode())
        self.restoring = (
            "begin; set local session_replication_role = replica; "  # so that no trigger fires
            + "; ".join(
                f"delete from aiserv.{table}; insert into aiserv.{table} ({names}) select {names} from kept.{table}"
                for table, names in tables.items()
            )
            + "; commit"
        ).encode()

    def restore(self, verbs: tuple[str, str]) -> None:
        """What there was at first; and where a pause is ended, a pause."""
        self.db.execute(self.restoring)
        if "resume" in verbs:
            call(self.db, "pause_queue", model_profile="qwen")

    def call(self, number: int, verb: str) -> Any:  # noqa: ANN401  # rows, or a code
        """What the call says of each job, by label; the SQLSTATE where it refuses."""
        function, arguments = self.verb(verb, number)
        try:
            rows = call(self.sessions[number], function, JOB_IN.get(function, "*"), **arguments)
        except psycopg.Error as refused:
            return refused.sqlstate
        if verb in {"settle", "settle_each"}:
            return {label: (row["status"], row["code"]) for label, row in zip("EA", rows, strict=True)}
        return {row["owner_ref"]: (row["status"], row["attempt"]) for row in rows if "owner_ref" in row}

    def verb(self, verb: str, number: int) -> tuple[str, dict[str, Any]]:
        held = {"job_id": self.ids["A"], "attempt": 1}
        failure = {"category": "timeout", "message": "late"}
        queue = {"model_profile": "qwen"}
        kind = {"owner_service": "telephony", "task_type": "chat"} | queue
        new = kind | {"owner_ref": "N", "idempotency_key": "N"}
        known = kind | {"owner_ref": "C", "idempotency_key": "C", "priority": 7}
        batch = {"jobs": json.dumps([known, new])}
        settlements = (
            f'[{{"id": "{self.ids["E"]}", "attempt": 1, "category": "busy", "message": "", "retryable": true,'
            f' "retry_after": "1 hour"}}, {{"id": "{self.ids["A"]}", "attempt": 1, "result": {number}}}]'
        )
        work = {
            "worker_id": f"session {number}",
            "instance_id": UUID(int=number),
            "task_types": ["chat"],
            "model_profiles": ["qwen"],
            "max_jobs": 9,
            "lease": "15 minutes",
            "slots": 9,
        }
        verbs: dict[str, tuple[str, dict[str, Any]]] = {
            "create": ("create_job", new),
            "create again": ("create_job", known),
            "create_jobs": ("create_jobs", batch),
            "create_batch": ("create_batch", batch | {"idempotency_key": "batch"}),
            "create_each": ("create_each", batch | {"patience": "1 hour"}),
            "claim": ("claim_jobs", {"worker_id": f"session {number}", "max_jobs": 9}),
            "claim_work": ("claim_work", work),
            "heartbeat": ("heartbeat_job", held | {"progress": f"{number}"}),
            "heartbeats": ("heartbeat_jobs", {"job_ids": [self.ids["E"], self.ids["A"]], "attempts": [1, 1]}),
            "complete": ("complete_job", held | {"result": f"{number}"}),
            "fail": ("fail_job", held | failure),
            "fail, retryable": ("fail_job", held | failure | {"retryable": True, "retry_after": "1 hour"}),
            "release": ("release_job", held),
            "settle": ("settle_jobs", {"settlements": settlements}),
            "settle_each": ("settle_each", {"settlements": settlements, "patience": "1 hour"}),
            "recover": ("recover_jobs", {}),
            "sweep": ("sweep", {"retention": ANY_TIME}),
            "cancel": ("cancel_job", {"job_id": self.ids["A"]}),
            "retry": ("retry_job", {"job_id": self.ids["A"]}),
            "retry failed": ("retry_job", {"job_id": self.ids["D"]}),
            "cancel_jobs": ("cancel_jobs", {"match_all": True}),
            "retry_jobs": ("retry_jobs", {"match_all": True}),
            "prune": ("prune_jobs", {"retention": ANY_TIME}),
            "delete": ("delete_jobs", queue),
            "pause": ("pause_queue", queue),
            "resume": ("resume_queue", queue),
            "set_queue": ("set_queue", queue | {"max_running": 2}),
            "report": ("report_provider", {"provider": "qwen", "retry_after": "1 hour"} | failure),
        }
        return verbs[verb]

    def outcomes(self, first: Any = None, second: Any = None) -> Outcomes:  # noqa: ANN401  # what `call` returned
        """Of each job, and of the queue."""
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
        (shown["queue"],) = self.db.execute(
            """
            select
                (select (setting.paused, setting.max_running)::text from aiserv.queue_setting as setting) as setting,
                (select provider.pauses from aiserv.provider as provider) as pauses
            """
        ).fetchall()

        def said(answer: Any, label: str) -> Any:  # noqa: ANN401  # as above
            return answer.get(label) if isinstance(answer, dict) else answer

        return {
            label: Outcome(shown.get(label), said(first, label), said(second, label))
            for label in [*self.ids, "N", "queue"]
        }

    def serially(self, order: list[int], verbs: tuple[str, str]) -> Outcomes:
        self.restore(verbs)
        answers = {number: self.call(number, verbs[number]) for number in order}
        return self.outcomes(answers.get(0), answers.get(1))

    def interleaved(self, verbs: tuple[str, str], calls: tuple[int, int], ends: tuple[int, int]) -> Outcomes | None:
        """The calls in this order, then the commits in that; None when the later call waits, so that this cannot be."""
        self.restore(verbs)
        for session in self.sessions:
            session.execute("begin")
        early, late = calls
        said = {early: self.call(early, verbs[early])}
        future = in_background(lambda: self.call(late, verbs[late]))
        if self.waits(future, late) and ends[0] == late:
            self.sessions[early].execute("rollback")
            future.result(PATIENCE)
            self.sessions[late].execute("rollback")
            return None
        for number in ends:
            if number == late:
                said[late] = future.result(PATIENCE)
            self.sessions[number].execute("commit")
        assert broken(self.db) == []
        return self.outcomes(said[0], said[1])

    def with_old_snapshot(self, verbs: tuple[str, str]) -> Outcomes:
        """The first commits between the snapshot and the call of the second."""
        self.restore(verbs)
        self.sessions[1].execute("begin isolation level repeatable read")
        self.sessions[1].execute("select from aiserv.job")
        first = self.call(0, verbs[0])
        second = self.call(1, verbs[1])
        self.sessions[1].execute("commit")
        assert broken(self.db) == []
        return self.outcomes(first, second)

    def waits(self, future: "Future[Any]", number: int) -> bool:
        """Whether the session waits for a lock instead of coming to an end."""
        deadline = monotonic() + PATIENCE
        pid = self.sessions[number].info.backend_pid
        while not future.done():
            (row,) = self.db.execute("select pg_blocking_pids(%s) <> '{}' as blocked", [pid]).fetchall()
            if row["blocked"]:
                return True
            assert monotonic() < deadline, "it neither ends nor waits"
        return False


VERBS = [
    "create", "create again", "create_jobs", "create_batch", "create_each", "claim", "claim_work", "heartbeat",
    "heartbeats", "complete", "fail", "fail, retryable", "release", "settle", "settle_each", "recover", "sweep",
    "cancel", "retry", "retry failed", "cancel_jobs", "retry_jobs", "prune", "delete", "pause", "resume", "set_queue",
    "report",
]  # fmt: skip


@pytest.fixture
def world(db: Db, connect: Connect) -> World:
    return World(db, connect)


def wrong(verbs: tuple[str, str], seen: Outcomes | None, legal: list[Outcomes]) -> Iterator[str]:
    for label, outcome in (seen or {}).items():
        if outcome not in [known[label] for known in legal]:
            yield f"{label} after {verbs[0]} and {verbs[1]}: {outcome}, not {[known[label] for known in legal]}"


def legal_outcomes(world: World, verbs: tuple[str, str]) -> list[Outcomes]:
    legal = [world.serially(list(order), verbs) for order in ORDERS]
    if verbs[1] in SKIPS:
        alone = world.serially([0], verbs)
        legal.append({job: seen._replace(second=SKIPS[verbs[1]]) for job, seen in alone.items()})
    if verbs[0] in SKIPS:
        alone = world.serially([1], verbs)
        legal.append({job: seen._replace(first=SKIPS[verbs[0]]) for job, seen in alone.items()})
    return legal


@pytest.mark.parametrize("first", VERBS)
def test_two_transitions_at_once_end_as_one_after_the_other(world: World, first: str) -> None:
    mistakes: list[str] = []

    for second in VERBS[VERBS.index(first) :]:
        verbs = (first, second)
        legal = legal_outcomes(world, verbs)
        for calls, ends in product(ORDERS, ORDERS):
            mistakes += wrong(verbs, world.interleaved(verbs, calls, ends), legal)

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


def test_every_function_that_changes_a_job_or_queue_is_among_the_pairs(world: World) -> None:
    rows = world.db.execute(
        """
        select function.proname as name
        from pg_proc as function
        where function.pronamespace = 'aiserv'::regnamespace and function.provolatile = 'v'
          and function.prokind = 'f' and function.prorettype <> 'trigger'::regtype and function.proname not like '\\_%'
        """
    ).fetchall()

    assert {world.verb(verb, 0)[0] for verb in VERBS} == {row["name"] for row in rows} - NO_TRANSITION
