"""What handlers answer with: JSON that PostgreSQL has rendered already."""

from uuid import UUID

from aiohttp import web

from aiserv.database import JobJson


def json_response(body: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """An answer whose body is JSON text; nobody else's cache may keep it."""
    return web.Response(
        text=body, status=status, content_type="application/json", headers={"Cache-Control": "no-store", **(headers or {})}
    )


def jobs_response(jobs: list[JobJson]) -> web.Response:
    return json_response(f'{{"jobs":[{",".join(jobs)}]}}')


def location(job_id: UUID) -> dict[str, str]:
    return {"Location": f"/api/v1/jobs/{job_id}"}
