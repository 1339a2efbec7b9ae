"""Jobs are created: alone, in batches, repeated, and many each for itself."""

import json
from datetime import timedelta
from functools import partial
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, multiple, rule

from tests.sql.calls import Db
from tests.sql.model.compared import JOBS, Compared
from tests.sql.model.creates import Item
from tests.sql.model.job import Job
from tests.sql.model.moments import NO_TIME

OWNERS, TYPES, PROFILES = ["a", "b"], ["chat", "voice"], ["m", "q"]
BATCH_IDS = [UUID(int=1), UUID(int=2)]
HOUR = timedelta(hours=1)
SOME = st.sampled_from
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
JOBS_BY_ID = """
select job.*
from unnest(%s::uuid[]) with ordinality as given(id, place)
join aiserv.jobs as job on job.id = given.id
order by given.place
"""
ITEMS = st.lists(ITEM, min_size=1, max_size=5)


class CreateRules(Compared):
    def __init__(self, db: Db) -> None:
        super().__init__(db)
        self.batches: list[tuple[list[Item], str]] = []

    @rule(target=JOBS, item=ITEM)
    def create(self, item: Item) -> MultipleResults[Job]:
        return multiple(*self.does(partial(self.model.create, [item]), "create_job", **item))

    @rule(
        target=JOBS,
        items=ITEMS,
        batch_id=SOME(BATCH_IDS),
        key=SOME([None, None, "k", "l"]),
        function=SOME(["create_jobs", "create_batch"]),
    )
    def create_many(self, items: list[Item], batch_id: UUID, key: str | None, function: str) -> MultipleResults[Job]:
        jobs, items = as_json(items)
        if key is not None:
            self.batches.append((items, key))
        expected, shown, window = self.both(
            partial(self.model.create, items, batch_id, key),
            function,
            jobs=jobs,
            batch_id=batch_id,
            idempotency_key=key,
        )
        if function == "create_batch" and shown:
            shown = self.db.execute(JOBS_BY_ID, [shown[0]["create_batch"]]).fetchall()
        return multiple(*self.agree(expected or [], shown, window))

    @rule(
        target=JOBS,
        which=SOME([1, 1, 2, 3]),
        batch_id=SOME(BATCH_IDS),
        function=SOME(["create_jobs", "create_batch"]),
    )
    def repeat_a_batch(self, which: int, batch_id: UUID, function: str) -> MultipleResults[Job]:
        """One of the last with a key, which may be forgotten by now."""
        jobs: list[Job] = []
        for items, key in self.batches[-which:][:1]:
            jobs += self.create_many(items, batch_id, key, function).values
        return multiple(*jobs)

    @rule(target=JOBS, items=ITEMS)
    def create_each(self, items: list[Item]) -> MultipleResults[Job]:
        jobs, items = as_json(items)
        expected, shown, window = self.both(
            partial(self.model.create_each, items),
            "create_each",
            "create_each.id, create_each.is_new, create_each.code",
            jobs=jobs,
        )
        assert [(row["is_new"], row["code"]) for row in shown] == [(new, code) for _, new, code in expected]
        made = [job for job, _, _ in expected if job is not None]
        rows = self.db.execute(JOBS_BY_ID, [[row["id"] for row in shown if row["id"] is not None]]).fetchall()
        for job, row in zip(made, rows, strict=True):
            self.show(job, row, window)
        self.look(window)
        return multiple(*(job for job, is_new, _ in expected if is_new))


def as_json(items: list[Item]) -> tuple[str, list[Item]]:
    """The items as JSON, numbers as they were written; and what the items say there."""
    text = json.dumps([item | {"delay": "1 hour" if item["delay"] else None, "input": 0} for item in items])
    for item in items:
        text = text.replace('"input": 0', f'"input": {item["input"]}', 1)
    return text, [item | {"delay": item["delay"] or None} for item in items]
