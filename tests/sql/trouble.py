"""Providers in trouble, as workers report them."""

from datetime import datetime, timedelta

from psycopg.rows import DictRow

from tests.sql.calls import (
    Db,
    one,
)

TROUBLE = {"category": "provider_unavailable", "message": "refused"}


def report(db: Db, provider: object = "qwen", **said: object) -> datetime | None:
    """Until when it pauses: for an hour where a test says nothing else, for the machine may stand still for seconds."""
    said = TROUBLE | {"retry_after": timedelta(hours=1)} | said
    until: datetime | None = one(db, "report_provider", provider=provider, **said)["report_provider"]
    return until


def let_pause_end(db: Db) -> None:
    db.execute("update aiserv.provider set paused_until = clock_timestamp() - interval '1 second'")


def pauses(db: Db) -> dict[str, int]:
    return {row["name"]: row["pauses"] for row in db.execute("table aiserv.providers").fetchall()}


def fails(db: Db, job: DictRow, **said: object) -> DictRow:
    """What a worker does whose provider is in trouble."""
    held = {"job_id": job["id"], "attempt": job["attempt"]}
    report(db, **held, **said)
    return one(db, "release_job", **held, **TROUBLE)


HEARD_BY = '{"whisperx": ["whisperx", "voxtral-small"]}'
