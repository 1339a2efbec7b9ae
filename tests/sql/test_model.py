"""Any sequence of calls answers what the model predicts, and leaves the tables as the model has them.

Time passes without a hook in what is tested: everything in the database becomes older, ids included, with triggers off.
A longer run: pytest tests/sql/test_model.py --hypothesis-profile=thorough
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    MultipleResults,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from tests.invariants import broken
from tests.sql.calls import Db, call
from tests.sql.model import Job, Model, Refused, Setting
from tests.sql.moments import NO_TIME, known, learn

OWNERS, TYPES, PROFILES = ["a", "b"], ["chat", "voice"], ["m", "q"]
WORKERS = ["w", "x"]
BATCHES = [UUID(int=1), UUID(int=2)]
CODES = {"JN404", "JS409", "JL409", "JK422", "JV400", "JE400"}
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SOME = st.sampled_from
MANY_OR_ANY = st.lists(SOME(TYPES), unique=True, max_size=2), st.lists(SOME(PROFILES), unique=True, max_size=2)
ITEM = st.fixed_dictionaries(
    {
        "owner_service": SOME(OWNERS),
        "task_type": SOME(TYPES),
        "model_profile": SOME(PROFILES),
        "priority": SOME([0, 0, 0, 5]),
        "input": SOME(['{"n": 1}', '{"n": 1.0}', '{"n": 2}']),
        "delay": SOME([None, None, None, NO_TIME, HOUR]),
        "max_attempts": SOME([1, 2, 3]),
        "idempotency_key": SOME([None, None, "k", "l"]),
    }
)
Token = tuple[Job, int, str]
STATUSES = ["pending", "running", "completed", "failed", "cancelled"]
LIVE = {"pending", "running"}
# What nobody may do to a job in one of these states, the owner of the tables included.
BY_HAND: dict[str, tuple[str, set[str]]] = {
    "finish": ("update aiserv.job set outcome = 'cancelled', finished_at = now() where id = %(id)s", LIVE),
    "delete": ("delete from aiserv.job where id = %(id)s", LIVE),
    "rewrite": ("update aiserv.job set result = '7' where id = %(id)s", {"completed", "failed", "cancelled"}),
    "reopen": (
        "update aiserv.job set outcome = null, finished_at = null where id = %(id)s",
        {"completed", "cancelled"},
    ),
    "rename": ("update aiserv.job set owner_service = 'z' where id = %(id)s", set(STATUSES)),
    "forget": ("update aiserv.job set attempt = attempt - 1 where id = %(id)s", set(STATUSES)),
    "lease": (
        """
        insert into aiserv.lease (
            job_id, attempt, worker_id, instance_id, owner_service, task_type, model_profile, lease, lease_expires_at,
            started_at, updated_at
        )
        select id, 9, 'me', id, owner_service, task_type, model_profile, '1 h', now() + '1 h', now(), now()
        from aiserv.job where id = %(id)s
        """,
        set(STATUSES),
    ),
    "line up": (
        """
        insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
        select model_profile, task_type, priority, owner_service, run_at, id, input_bytes
        from aiserv.job where id = %(id)s
        """,
        set(STATUSES),
    ),
}

TABLES = """
select table_name, string_agg(
    case
        when data_type = 'timestamp with time zone' then format('%1$I = %1$I - %%(by)s', column_name)
        when data_type = 'ARRAY'
        then format('%1$I = array(select pg_temp.older(x, %%(by)s) from unnest(%1$I) as x)', column_name)
        else format('%1$I = pg_temp.older(%1$I, %%(by)s)', column_name)
    end, ', ') as changes
from information_schema.columns join information_schema.tables using (table_schema, table_name)
where table_schema = 'aiserv' and table_type = 'BASE TABLE' and table_name not in ('installed', 'delta', 'tally')
  and (data_type = 'timestamp with time zone' or column_name in ('job_id', 'job_ids', 'probe_job_id')
       or table_name = 'job' and column_name = 'id')
group by table_name
"""
OLDER = """
create function pg_temp.older(id uuid, by interval) returns uuid language sql immutable as $$
    select encode(
        int8send(('x' || encode(substring(uuid_send(id) for 8), 'hex'))::bit(64)::bigint
            - ((extract(epoch from by) * 1000)::bigint << 16)) || substring(uuid_send(id) from 9),
        'hex')::uuid
$$
"""


class AnyLife(RuleBasedStateMachine):
    jobs = Bundle("jobs")
    # Every attempt that was ever given out: the stale ones are tried again for ever.
    tokens = Bundle("tokens")

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
            " aiserv.idempotency, aiserv.batch, aiserv.queue_setting, aiserv.turn, aiserv.delta, aiserv.tally"
        )

    def clock(self) -> datetime:
        (row,) = self.db.execute("select clock_timestamp() as now").fetchall()
        now: datetime = row["now"]
        return now

    # Call, compare, look at everything

    def does(self, predict: Callable[[], list[Job]], function: str, **arguments: object) -> list[Job]:
        """The jobs that both the function and the model return; both may refuse, with the same code."""
        expected, shown, window = self.both(predict, function, **arguments)
        assert len(shown) == len(expected or []), f"{function} returned {len(shown)} jobs, not {len(expected or [])}"
        for job, row in zip(expected or [], shown, strict=True):
            self.show(job, row, window)
        self.look(window)
        return expected or []

    def both(
        self, predict: Callable[[], Any], function: str, **arguments: object
    ) -> tuple[Any, list[dict[str, Any]], tuple[datetime, datetime]]:
        before = self.model.now = self.clock()
        expected, expected_code, code, shown = None, None, None, []
        try:
            expected = predict()
        except Refused as refused:
            expected_code = str(refused)
        try:
            shown = call(self.db, function, **arguments)
        except psycopg.Error as refused:
            code = refused.sqlstate if refused.sqlstate in CODES else repr(refused)
        assert code == expected_code, f"{function} answered {code}, not {expected_code}"
        return expected, shown, (before, self.clock())

    def show(self, job: Job, row: dict[str, Any], window: tuple[datetime, datetime]) -> None:
        """Compare a job with its row, and learn from it what only PostgreSQL decides: the id, the moments."""
        if job.row["id"] is None:
            assert row["id"].version == 7
            assert row["id"] > max(self.ids, default=UUID(int=0)), "ids sort by time of creation"
            self.ids.add(row["id"])
            job.row["id"] = row["id"]
        for name, value in job.row.items():
            learn(value, row[name], window)
        assert row == {name: known(value) for name, value in job.row.items()}

    def look(self, window: tuple[datetime, datetime]) -> None:
        """All of the tables are as the model has them."""
        living = self.model.living()
        rows = self.db.execute("select * from aiserv.jobs order by id").fetchall()
        assert [row["id"] for row in rows] == [job.row["id"] for job in living]
        for job, row in zip(living, rows, strict=True):
            self.show(job, row, window)
        for batch in (
            batches := self.db.execute("select id, job_ids, created_at from aiserv.batch order by id").fetchall()
        ):
            learn(self.model.batches[batch["id"]][0], batch["created_at"], window)
        attempts = self.db.execute("select * from aiserv.attempts order by job_id, attempt").fetchall()
        recorded = [(job, attempt) for job in living for attempt in job.attempts]
        assert len(attempts) == len(recorded)
        for row, (_, attempt) in zip(attempts, recorded, strict=True):
            learn(attempt["finished_at"], row["finished_at"], window)
        self.model.settle_times()
        assert attempts == [{"job_id": job.row["id"]} | attempt for job in living for attempt in job.attempts]
        assert batches == [
            {"id": batch, "job_ids": [job.row["id"] for job in jobs], "created_at": at}
            for batch, (at, jobs) in sorted(self.model.batches.items())
        ]
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

    # Create

    @rule(target=jobs, item=ITEM)
    def create(self, item: dict[str, Any]) -> "MultipleResults[Job]":
        return multiple(*self.does(partial(self.model.create, [item]), "create_job", **item))

    @rule(target=jobs, items=st.lists(ITEM, min_size=1, max_size=5), batch=SOME(BATCHES))
    def create_many(self, items: list[dict[str, Any]], batch: UUID) -> "MultipleResults[Job]":
        sent = json.dumps([item | {"delay": "1 hour" if item["delay"] else None, "input": 0} for item in items])
        for item in items:
            sent = sent.replace('"input": 0', f'"input": {item["input"]}', 1)
        items = [item | {"delay": item["delay"] or None} for item in items]
        return multiple(*self.does(partial(self.model.create, items, batch), "create_jobs", jobs=sent, batch_id=batch))

    # Claim

    @rule(
        target=tokens,
        worker=SOME(WORKERS),
        types=MANY_OR_ANY[0],
        profiles=MANY_OR_ANY[1],
        number=SOME([0, 1, 2, 3, 3, 9]),
        lease=SOME([10 * MINUTE, HOUR]),
        claim_id=SOME([None, None, None, "c", "d"]),
    )
    def claim(  # noqa: PLR0917  # hypothesis passes names
        self,
        worker: str,
        types: list[str],
        profiles: list[str],
        number: int,
        lease: timedelta,
        claim_id: str | None,
    ) -> "MultipleResults[Token]":
        jobs = self.does(
            partial(self.model.claim, worker, types, profiles, number, lease, claim_id),
            "claim_jobs",
            worker_id=worker,
            task_types=types,
            model_profiles=profiles,
            max_jobs=number,
            lease=lease,
            claim_id=claim_id,
        )
        tokens = [(job, job.row["attempt"], worker) for job in jobs]
        self.issued += tokens
        return multiple(*tokens)

    # Settle: by the token, by one part of it, by none, and by one that never was

    FENCE = SOME(["both", "both", "attempt", "worker", "none", "other attempt", "other worker"])

    @staticmethod
    def fenced(token: Token, fence: str) -> tuple[int | None, str | None]:
        _, attempt, worker = token
        return {
            "both": (attempt, worker),
            "attempt": (attempt, None),
            "worker": (None, worker),
            "none": (None, None),
            "other attempt": (attempt + 1, None),
            "other worker": (attempt, "y"),
        }[fence]

    @rule(token=tokens, fence=FENCE, lease=SOME([None, MINUTE, 2 * HOUR]), progress=SOME([None, "1", "[2]"]))
    def heartbeat(self, token: Token, fence: str, lease: timedelta | None, progress: str | None) -> None:
        attempt, worker = self.fenced(token, fence)
        self.does(
            lambda: [
                self.model.heartbeat(
                    token[0], attempt, worker, lease, None if progress is None else json.loads(progress)
                )
            ],
            "heartbeat_job",
            job_id=token[0].row["id"],
            attempt=attempt,
            worker_id=worker,
            lease=lease,
            progress=progress,
        )

    @rule(token=tokens, fence=FENCE, result=SOME(["1", "1.0", '{"x": null}', "null"]))
    def complete(self, token: Token, fence: str, result: str) -> None:
        attempt, worker = self.fenced(token, fence)
        self.does(
            lambda: [self.model.complete(token[0], attempt, worker, result)],
            "complete_job",
            job_id=token[0].row["id"],
            attempt=attempt,
            worker_id=worker,
            result=result,
        )

    @rule(
        token=tokens,
        fence=FENCE,
        words=SOME([("timeout", "late"), ("busy", "")]),
        retryable=st.booleans(),
        after=SOME([None, NO_TIME, HOUR]),
    )
    def fail(  # hypothesis passes names
        self,
        token: Token,
        fence: str,
        words: tuple[str, str],
        retryable: bool,  # noqa: FBT001  # as above
        after: timedelta | None,
    ) -> None:
        attempt, worker = self.fenced(token, fence)
        self.does(
            lambda: [self.model.fail(token[0], attempt, worker, *words, retryable, after)],
            "fail_job",
            job_id=token[0].row["id"],
            attempt=attempt,
            worker_id=worker,
            category=words[0],
            message=words[1],
            retryable=retryable,
            retry_after=after,
        )
        if after is None:
            self.time_passes(10 * MINUTE)  # a backoff of seconds must not run out by itself

    @rule(
        token=tokens,
        fence=FENCE,
        delay=SOME([None, None, NO_TIME, HOUR]),
        trouble=SOME([(None, None), (None, None), ("busy", None), ("busy", 30 * MINUTE)]),
    )
    def release(
        self, token: Token, fence: str, delay: timedelta | None, trouble: tuple[str | None, timedelta | None]
    ) -> None:
        attempt, worker = self.fenced(token, fence)
        self.does(
            lambda: [self.model.release(token[0], attempt, worker, delay, *trouble)],
            "release_job",
            job_id=token[0].row["id"],
            attempt=attempt,
            worker_id=worker,
            delay=delay,
            category=trouble[0],
            message="busy",
            patience=trouble[1],
        )

    @rule(verb=SOME(["heartbeat", "complete", "fail", "release"]), fence=SOME(["both", "attempt"]))
    def replay(self, verb: str, fence: str) -> None:
        """Whoever held a job that runs again is back, and too late."""
        late = [token for token in self.issued if token[0].place == "lease" and token[1] < token[0].row["attempt"]]
        for token in late[-2:]:
            if verb == "heartbeat":
                self.heartbeat(token, fence, HOUR, None)
            elif verb == "complete":
                self.complete(token, fence, "1")
            elif verb == "fail":
                self.fail(token, fence, ("timeout", "late"), retryable=True, after=HOUR)
            else:
                self.release(token, fence, None, (None, None))

    @rule(
        settled=st.lists(
            st.tuples(tokens, SOME(["1", "2", "timeout", "busy"]), st.booleans(), SOME([0, 0, 1])),
            min_size=1,
            max_size=5,
        )
    )
    def settle(self, settled: list[tuple[Token, str, bool, int]]) -> None:
        items: list[tuple[Job | None, dict[str, Any]]] = []
        sent: list[dict[str, Any]] = []
        for (job, attempt, _), what, retryable, off in settled:
            item: dict[str, Any] = {"id": str(job.row["id"]), "attempt": attempt + off}
            if what.isdigit():
                sent.append(item | {"result": int(what)})
                items.append((job, item | {"result": what}))
            else:
                item |= {"category": what, "message": "", "retryable": retryable}
                sent.append(item | {"retry_after": "1 hour"})
                items.append((job, item | {"after": HOUR}))
        expected, shown, window = self.both(
            lambda: self.model.settle(items), "settle_jobs", settlements=json.dumps(sent)
        )
        assert [(None if row["code"] else row["status"], row["code"]) for row in shown] == expected
        assert [str(row["id"]) for row in shown] == [item["id"] for item in sent]
        self.look(window)

    # Step in

    @rule(job=jobs, reason=SOME([None, "why"]))
    def cancel(self, job: Job, reason: str | None) -> None:
        self.does(lambda: [self.model.cancel(job, reason)], "cancel_job", job_id=job.row["id"], reason=reason)

    @rule(job=jobs)
    def retry(self, job: Job) -> None:
        self.does(lambda: [self.model.retry(job)], "retry_job", job_id=job.row["id"])

    @rule(function=SOME(["complete_job", "fail_job", "heartbeat_job", "release_job", "cancel_job", "retry_job"]))
    def touch_what_never_was(self, function: str) -> None:
        words = {"complete_job": {"result": "1"}, "fail_job": {"category": "timeout", "message": ""}}
        arguments: dict[str, object] = {"job_id": uuid4(), **words.get(function, {})}
        self.does(lambda: [self.model.retry(None)], function, **arguments)

    @rule(
        verb=SOME(["cancel_jobs", "retry_jobs"]),
        some=st.lists(jobs, max_size=4),
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

    # Keep house

    @rule(by=SOME([9 * MINUTE, 11 * MINUTE, 31 * MINUTE, HOUR, 25 * HOUR]))
    def time_passes(self, by: timedelta) -> None:
        """Leases run out, backoffs and delays end, retention is over."""
        with self.db.transaction():
            self.db.execute("set local session_replication_role = replica")  # no trigger fires
            for table in self.db.execute(TABLES).fetchall():
                self.db.execute(f"update aiserv.{table['table_name']} set {table['changes']}".encode(), {"by": by})
        self.model.grow_older(by)
        self.ids = {job.row["id"] for job in self.model.jobs}
        now = self.clock()
        self.look((now, now))

    @rule(most=SOME([1, 2, 1000]))
    def recover(self, most: int) -> None:
        self.does(partial(self.model.recover, most), "recover_jobs", max_jobs=most)

    @rule(retention=SOME([NO_TIME, HOUR, 24 * HOUR]))
    def sweep(self, retention: timedelta) -> None:
        # What it predicts is known before, what it leaves only after the call has shown the moments.
        _, shown, window = self.both(partial(self.model.sweep, retention), "sweep", retention=retention)
        self.look(window)
        assert shown == [{"sweep": self.model.next_wake()}]

    @rule(retention=SOME([-HOUR, NO_TIME, 30 * MINUTE, 24 * HOUR]), most=SOME([1, 2, 1000]))
    def prune(self, retention: timedelta, most: int) -> None:
        expected, shown, window = self.both(
            partial(self.model.prune, retention, most), "prune_jobs", retention=retention, max_jobs=most
        )
        assert shown == ([{"prune_jobs": expected}] if expected is not None else [])
        self.look(window)

    @rule(
        profile=SOME(PROFILES),
        kind=SOME([None, *TYPES]),
        change=SOME(
            [{"paused": True}, {"paused": False}, {"max_running": 0}, {"max_running": 2}, {"max_running": None}]
        ),
    )
    def set_queue(self, profile: str, kind: str | None, change: dict[str, Any]) -> None:
        setting = self.model.settings.setdefault((profile, kind or ""), Setting())
        for name, value in change.items():
            setattr(setting, name, value)
        _, (shown,), window = self.both(list, "set_queue", model_profile=profile, task_type=kind, **change)
        waiting = [job for job in self.model.living("ready", "scheduled") if job.is_of(profile, kind)]
        running = [job for job in self.model.living("lease") if job.is_of(profile, kind)]
        assert (shown["paused"], shown["max_running"]) == (setting.paused, setting.max_running)
        assert (shown["pending"], shown["running"]) == (len(waiting), len(running))
        self.look(window)

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

    @rule(job=jobs, change=SOME(sorted(BY_HAND)))
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
    quick = settings(thorough, max_examples=60, stateful_step_count=40, phases=phases)
    is_thorough = settings.get_current_profile_name() == "thorough"
    db.execute(OLDER)

    life = partial(AnyLife, db)
    run_state_machine_as_test(life, settings=thorough if is_thorough else quick)  # type: ignore[arg-type]  # a factory does
