"""Batches as tests post them."""

from typing import Any

from aiserv.answers.jobs import CreatedBatch
from tests.api.client import Answer, Api


def checked(answer: Answer) -> dict[str, Any]:
    assert answer.status == 201, answer.text
    CreatedBatch.model_validate_json(answer.body)
    return answer.json  # type: ignore[no-any-return]  # an object


async def lines(api: Api, data: str, query: str = "", **headers: str) -> Answer:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.send(
        "POST", f"jobs/batch{query}", data=data.encode(), headers={"Content-Type": "application/x-ndjson", **named}
    )
