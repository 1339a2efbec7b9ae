"""The functions beside the model: both are called, and everything that either shows is compared."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize

from tests.invariants import broken
from tests.sql.calls import Db, call
from tests.sql.model.job import Job, Refused
from tests.sql.model.model import Model
from tests.sql.model.moments import known, learn
from tests.sql.model.older import grow_older

CODES = {"JN404", "JS409", "JL409", "JK422", "JV400", "JE400", "JQ429"}
BATCHES = "select id, job_ids, created_at, owner_service, idempotency_key from aiserv.batch"
ACTIONS = "select * from aiserv.actions order by acted_at"
TROUBLES = "select name, pauses, paused_until, probe_job_id, probe_attempt from aiserv.provider"
Window = tuple[datetime, datetime]
# A job, the number of an attempt, and its worker.
Token = tuple[Job, int, str]
JOBS = Bundle("jobs")
# Every attempt that was ever given out: the stale ones are tried again for ever.
TOKENS = Bundle("tokens")


class Compared(RuleBasedStateMachine):
    def __init__(self, db: Db) -> None:
        super().__init__()
        self.db = db
        self.model = Model(self.clock())
        self.ids: set[UUID] = set()
        self.issued: list[Token] = []

    @initialize()
    def nothing(self) -> None:
        self.db.execute(
            "truncate aiserv.job, aiserv.ready, aiserv.scheduled, aiserv.lease, aiserv.attempt, aiserv.unsuccessful,"
            " aiserv.idempotency, aiserv.batch, aiserv.queue_setting, aiserv.turn, aiserv.delta, aiserv.tally,"
            " aiserv.provider, aiserv.action"
        )
        self.set_caps(None, None)

    def set_caps(self, total: int | None, of_an_owner: int | None) -> None:
        self.model.caps = total, of_an_owner
        for name, most in {"max_pending": total, "max_pending_per_owner": of_an_owner}.items():
            self.db.execute("select set_config(%s, %s, false)", [f"aiserv.{name}", str(most or "")])

    def clock(self) -> datetime:
        (row,) = self.db.execute("select clock_timestamp() as now").fetchall()
        now: datetime = row["now"]
        return now

    def does(self, predict: Callable[[], list[Job]], function: str, **arguments: object) -> list[Job]:
        """The jobs that both the function and the model return; both may refuse, with the same code."""
        expected, shown, window = self.both(predict, function, **arguments)
        return self.agree(expected or [], shown, window)

    def agree(self, expected: list[Job], shown: list[dict[str, Any]], window: Window) -> list[Job]:
        """The expected jobs, which are those shown."""
        assert len(shown) == len(expected), f"{len(shown)} jobs, not {len(expected)}"
        for job, row in zip(expected, shown, strict=True):
            self.show(job, row, window)
        self.look(window)
        return expected

    def both(
        self, predict: Callable[[], Any], function: str, select: str = "*", /, **arguments: object
    ) -> tuple[Any, list[dict[str, Any]], Window]:
        # Rates allow more as time passes: only as much as the model knows of, and not while the machine stands still.
        self.db.execute(
            "update aiserv.queue_setting set refilled_at = clock_timestamp()"
            " where refilled_at > clock_timestamp() - interval '1 minute'"
        )
        before = self.model.now = self.clock()
        expected, expected_code, code, shown = None, None, None, []
        try:
            expected = predict()
        except Refused as refused:
            expected_code = str(refused)
        try:
            shown = call(self.db, function, select, **arguments)
        except psycopg.Error as refused:
            code = refused.sqlstate if refused.sqlstate in CODES else repr(refused)
        assert code == expected_code, f"{function} answered {code}, not {expected_code}"
        return expected, shown, (before, self.clock())

    def show(self, job: Job, row: dict[str, Any], window: Window) -> None:
        """Compare a job with its row, and learn from it what only PostgreSQL decides: the id, the moments."""
        if job.row["id"] is None:
            assert row["id"].version == 7
            assert row["id"] > max(self.ids, default=UUID(int=0)), "ids sort by time of creation"
            self.ids.add(row["id"])
            job.row["id"] = row["id"]
        for name, value in job.row.items():
            learn(value, row[name], window)
        assert row == {name: known(value) for name, value in job.row.items()}

    def look(self, window: Window) -> None:
        """All of the tables are as the model has them."""
        living = self.model.living()
        rows = self.db.execute("select * from aiserv.jobs order by id").fetchall()
        assert [row["id"] for row in rows] == [job.row["id"] for job in living]
        for job, row in zip(living, rows, strict=True):
            self.show(job, row, window)
        batches = self.db.execute(BATCHES).fetchall()
        self.model.fade({batch["id"] for batch in batches})
        for batch in batches:
            learn(self.model.batches[batch["id"]].created_at, batch["created_at"], window)
        attempts = self.db.execute("select * from aiserv.attempts order by job_id, attempt").fetchall()
        recorded = [(job, attempt) for job in living for attempt in job.attempts]
        assert len(attempts) == len(recorded)
        for row, (_, attempt) in zip(attempts, recorded, strict=True):
            learn(attempt["finished_at"], row["finished_at"], window)
        self.model.end_probes()
        troubles = self.db.execute(TROUBLES).fetchall()
        for row in troubles:
            learn(self.model.troubles[row["name"]].paused_until, row["paused_until"], window)
        actions = self.db.execute(ACTIONS).fetchall()
        assert len(actions) == len(self.model.actions)
        for action, row in zip(self.model.actions, actions, strict=True):
            learn(action.acted_at, row["acted_at"], window)
        self.model.settle_times()
        assert {tuple(row.values()) for row in troubles} == {
            (name, trouble.pauses, trouble.paused_until, *(probe_of(trouble.probe)))
            for name, trouble in self.model.troubles.items()
        }
        assert [
            (
                row["acted_at"],
                row["action"],
                row["job_ids"] and sorted(row["job_ids"]),
                (row["model_profile"], row["task_type"]),
                row["changes"] and set(row["changes"]),
                row["reason"],
            )
            for row in actions
        ] == [
            (
                action.acted_at,
                action.action,
                action.jobs and sorted(job.row["id"] for job in action.jobs),
                action.queue,
                action.changes,
                action.reason,
            )
            for action in self.model.actions
        ]
        assert attempts == [{"job_id": job.row["id"]} | attempt for job in living for attempt in job.attempts]
        assert {row.pop("id"): row for row in batches} == {
            batch_id: {
                "job_ids": [job.row["id"] for job in batch.jobs],
                "created_at": batch.created_at,
                "owner_service": batch.key and batch.key[0],
                "idempotency_key": batch.key and batch.key[1],
            }
            for batch_id, batch in self.model.batches.items()
        }
        keys = self.db.execute("select owner_service, idempotency_key, job_id from aiserv.idempotency").fetchall()
        assert {tuple(key.values()) for key in keys} == {(*key, job.row["id"]) for key, job in self.model.keys.items()}
        places = self.db.execute(
            "select 'ready' as place, job_id from aiserv.ready union all select 'scheduled', job_id"
            " from aiserv.scheduled union all select 'lease', job_id from aiserv.lease"
        ).fetchall()
        assert {(row["place"], row["job_id"]) for row in places} == {
            (job.place, job.row["id"]) for job in living if job.place
        }
        assert broken(self.db) == []

    def let_time_pass(self, by: timedelta) -> None:
        grow_older(self.db, by)
        self.model.grow_older(by)
        self.ids = {job.row["id"] for job in self.model.jobs}
        now = self.clock()
        self.look((now, now))


def probe_of(probe: tuple[Job, int] | None) -> tuple[UUID | None, int | None]:
    return (probe[0].row["id"], probe[1]) if probe else (None, None)
