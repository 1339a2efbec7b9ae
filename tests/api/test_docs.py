"""The page at /docs in a real browser."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # it ships no types
import pytest

from tests.api.client import CHAT, Api
from tests.api.conftest import Start
from tests.browser import Page, browsing
from tests.waiting import until

DOCUMENT = json.loads((Path(__file__).parents[2] / "openapi.json").read_text(encoding="utf-8"))
OPERATIONS = {each["operationId"]: path for path, methods in DOCUMENT["paths"].items() for each in methods.values()}
SHOWN = "[...document.querySelectorAll('.operation')].filter((each) => each.offsetParent !== null)"
PATHS = f"Object.fromEntries({SHOWN}.map((each) => [each.id, each.querySelector('.path').textContent]))"
LOADED = "document.querySelectorAll('main details').length > 0 && document.readyState === 'complete'"


@pytest.fixture
async def page(tmp_path: Path) -> AsyncIterator[Page]:
    async with browsing(tmp_path) as page:
        yield page


async def test_nothing_is_left_of_a_browser(tmp_path: Path) -> None:
    def processes() -> list[str]:
        command_lines = (" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
        return [line for line in command_lines if str(tmp_path) in line]

    async with browsing(tmp_path):
        while_open = processes()

    await until(lambda: processes() == [])
    assert while_open


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 375])
async def test_the_page_shows_every_operation_and_needs_nothing_but_our_server(
    api: Api, page: Page, width: int, scheme: str
) -> None:
    await page.look(width=width, scheme=scheme)
    await page.open(f"http://127.0.0.1:{api.port}/docs")
    await page.until(LOADED)
    await page.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")

    shown = await page.run(PATHS)
    too_wide = await page.run("document.documentElement.scrollWidth - innerWidth")
    colours = await page.run("[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]")

    assert shown == OPERATIONS
    assert too_wide <= 0
    assert page.complaints == []
    assert all(url.startswith((f"http://127.0.0.1:{api.port}/", "data:")) for url in page.requests)
    assert (brightness(colours[0]) > brightness(colours[1])) is (scheme == "light")


def brightness(colour: str) -> float:
    """Of a colour as browsers write it: rgb(23, 23, 23)."""
    return sum(float(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3])


async def test_a_job_can_be_created_and_read_from_the_page(api: Api, page: Page) -> None:
    await page.open(f"http://127.0.0.1:{api.port}/docs#create_job")
    await page.until(LOADED)
    await page.run(f"document.querySelector('#create_job textarea').value = {json.dumps(json.dumps(CHAT))}")

    await page.run("document.querySelector('#create_job button.send').click()")
    await page.until("document.querySelector('#create_job output').textContent.includes('201 Created')")

    (job,) = (await api.get("jobs")).json["jobs"]
    assert job["id"] in await page.run("document.querySelector('#create_job output').textContent")
    assert page.complaints == []


async def test_the_token_of_the_page_is_sent_and_a_wrong_one_is_explained(start: Start, page: Page) -> None:
    port = start(AI_SERVICE_TOKEN="secret").port
    await page.open(f"http://127.0.0.1:{port}/docs#list_queues")
    await page.until(LOADED)

    seen = []
    for token, said in (("wrong", '"unauthorized"'), ("secret", '"queues": []')):
        await page.run(f"document.getElementById('token').value = '{token}'")
        await page.run("document.querySelector('#list_queues button.send').click()")
        await page.until(f"document.querySelector('#list_queues output').textContent.includes('{said}')")
        seen.append(await page.run("document.querySelector('#list_queues output').textContent"))

    assert [text.partition("\n")[0] for text in seen] == ["401 Unauthorized", "200 OK"]


async def test_what_is_typed_into_the_search_is_found(api: Api, page: Page) -> None:
    await page.open(f"http://127.0.0.1:{api.port}/docs")
    await page.until(LOADED)

    await page.run("document.getElementById('search').focus()")
    await page.call("Input.insertText", text="many one transaction")

    assert await page.run(f"{SHOWN}.map((each) => each.id)") == ["create_jobs"]
