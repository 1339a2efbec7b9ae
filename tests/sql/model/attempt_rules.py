"""Jobs are claimed, kept and settled, by those who hold them and by those who do not any more."""

import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, multiple, rule

from tests.sql.model.claims import Wanted
from tests.sql.model.compared import TOKENS, Compared, Token
from tests.sql.model.create_rules import HOUR, OWNERS, PROFILES, SOME, TYPES
from tests.sql.model.moments import NO_TIME

if TYPE_CHECKING:
    from tests.sql.model.job import Job

WORKERS = ["w", "x"]
MINUTE = timedelta(minutes=1)
MANY_OR_ANY = st.lists(SOME(TYPES), unique=True, max_size=2), st.lists(SOME(PROFILES), unique=True, max_size=2)
# By the token, by one part of it, by none, and by one that never was.
FENCE = SOME(["both", "both", "attempt", "worker", "none", "other attempt", "other worker"])


class AttemptRules(Compared):
    @rule(
        target=TOKENS,
        worker=SOME(WORKERS),
        types=MANY_OR_ANY[0],
        profiles=MANY_OR_ANY[1],
        number=SOME([0, 1, 2, 3, 3, 9]),
        lease=SOME([10 * MINUTE, HOUR]),
        claim_id=SOME([None, None, None, "c", "d"]),
        queues=SOME([None, None, {"m": ["chat"]}, {"m": ["voice"], "q": ["chat", "voice"]}]),
        owner=SOME([None, None, *OWNERS]),
    )
    def claim(  # noqa: PLR0917  # hypothesis passes names
        self,
        worker: str,
        types: list[str],
        profiles: list[str],
        number: int,
        lease: timedelta,
        claim_id: str | None,
        queues: dict[str, list[str]] | None,
        owner: str | None,
    ) -> MultipleResults[Token]:
        wanted = Wanted(types, profiles, queues, owner)
        jobs = self.does(
            partial(self.model.claim, worker, wanted, number, lease, claim_id),
            "claim_jobs",
            worker_id=worker,
            task_types=types,
            model_profiles=profiles,
            max_jobs=number,
            lease=lease,
            claim_id=claim_id,
            queues=None if queues is None else json.dumps(queues),
            owner_service=owner,
        )
        tokens = [(job, job.row["attempt"], worker) for job in jobs]
        self.issued += tokens
        return multiple(*tokens)

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

    @rule(token=TOKENS, fence=FENCE, lease=SOME([None, MINUTE, 2 * HOUR]), progress=SOME([None, "1", "[2]"]))
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

    @rule(
        token=TOKENS, fence=FENCE, result=SOME(["1", "1.0", '{"x": null}', "null"]), usage=SOME([None, {"tokens": 3}])
    )
    def complete(self, token: Token, fence: str, result: str, usage: dict[str, int] | None = None) -> None:
        attempt, worker = self.fenced(token, fence)
        self.does(
            lambda: [self.model.complete(token[0], attempt, worker, result, usage)],
            "complete_job",
            job_id=token[0].row["id"],
            attempt=attempt,
            worker_id=worker,
            result=result,
            usage=None if usage is None else json.dumps(usage),
        )

    @rule(
        token=TOKENS,
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
            self.let_time_pass(10 * MINUTE)  # a backoff of seconds must not run out by itself

    @rule(
        token=TOKENS,
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

    @rule(fence=SOME(["both", "attempt"]))
    def replay(self, fence: str) -> None:
        """Whoever held a job that runs again is back, and too late."""
        late = [token for token in self.issued if token[0].place == "lease" and token[1] < token[0].row["attempt"]]
        for token in late[-2:]:
            self.heartbeat(token, fence, HOUR, None)
            self.complete(token, fence, "1")
            self.fail(token, fence, ("timeout", "late"), retryable=True, after=HOUR)
            self.release(token, fence, None, (None, None))

    @rule(
        held=st.lists(st.tuples(TOKENS, SOME([0, 0, 0, 1])), min_size=1, max_size=4),
        lease=SOME([None, MINUTE, 2 * HOUR]),
    )
    def heartbeat_many(self, held: list[tuple[Token, int]], lease: timedelta | None) -> None:
        given = {job.row["id"]: (job, attempt + off) for (job, attempt, _), off in held}
        expected, shown, window = self.both(
            lambda: self.model.heartbeat_many(list(given.values()), lease),
            "heartbeat_jobs",
            job_ids=list(given),
            attempts=[attempt for _, attempt in given.values()],
            lease=lease,
        )
        self.agree(expected, sorted(shown, key=lambda row: row["id"]), window)

    @rule(
        settled=st.lists(
            st.tuples(TOKENS, SOME(["1", "2", "timeout", "busy"]), st.booleans(), SOME([0, 0, 1])),
            min_size=1,
            max_size=5,
        ),
        fence=FENCE,
        function=SOME(["settle_jobs", "settle_each"]),
    )
    def settle(self, settled: list[tuple[Token, str, bool, int]], fence: str, function: str) -> None:
        items: list[tuple[Job | None, dict[str, Any]]] = []
        sent: list[dict[str, Any]] = []
        each = function == "settle_each"
        for (job, number, name), what, retryable, off in settled:
            attempt, worker = self.fenced((job, number + off, name), fence if each else "attempt")
            item: dict[str, Any] = {"id": str(job.row["id"]), "attempt": attempt, "worker_id": worker}
            if what.isdigit():
                sent.append(item | {"result": int(what)})
                items.append((job, item | {"result": what}))
            else:
                item |= {"category": what, "message": "", "retryable": retryable}
                sent.append(item | {"retry_after": "1 hour"})
                items.append((job, item | {"after": HOUR}))
        expected, shown, window = self.both(
            lambda: self.model.settle(items),
            function,
            "settle_each.id, settle_each.status, settle_each.code" if each else "*",
            settlements=json.dumps(sent),
        )
        assert [(None if row["code"] else row["status"], row["code"]) for row in shown] == expected
        for item, row in zip(sent, shown, strict=True):
            assert row["id"] == UUID(item["id"])
        self.look(window)
