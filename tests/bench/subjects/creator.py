"""Creates from Python, without a server in between: 16 in flight over two connections, as the server makes them."""

import anyio

from aiserv.api.creates import LANES, Creates
from aiserv.database import Database
from aiserv.models import CreateJob
from tests.bench.creates import CREATORS, JOB_TEXT
from tests.bench.subjects.reporting import create_for, database_url, run


async def create() -> None:
    job = CreateJob.model_validate_json(JOB_TEXT)
    async with (
        Database.open(database_url(), size=LANES, name="aiserv bench") as database,
        anyio.create_task_group() as tasks,
    ):
        creates = Creates(database, anyio.CapacityLimiter(1))
        tasks.start_soon(creates.run)

        async def one(_lane: int) -> str:
            return (await creates.create_job(JOB_TEXT, job)).id

        await create_for(one, CREATORS)
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    run(create())
