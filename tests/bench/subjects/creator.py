"""Creates from Python, without a server in between: 16 in flight through the module that the server uses, too."""

from uuid import UUID

from aiserv.database import Database
from aiserv.models import CreateJob
from tests.bench.creates import CREATORS, JOB_TEXT
from tests.bench.subjects.reporting import create_for, database_url, run


async def create() -> None:
    job = CreateJob.model_validate_json(JOB_TEXT)
    async with Database.open(database_url(), size=CREATORS, name="aiserv bench") as database:

        async def one(_lane: int) -> UUID:
            shown, _ = await database.create_job(JOB_TEXT, job)
            return shown.id

        await create_for(one, CREATORS)


if __name__ == "__main__":
    run(create())
