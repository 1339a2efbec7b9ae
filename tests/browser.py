"""A real browser for tests of pages: Chromium without a screen, driven over its DevTools protocol.

https://chromedevtools.github.io/devtools-protocol/
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
from aiohttp import ClientSession, ClientWebSocketResponse
from anyio.abc import Process

from tests.needs import needs

NAMES: Final = ("chromium-headless-shell", "chromium", "google-chrome", "chrome")
PATIENCE: Final = 60  # seconds


def browser_path() -> str:
    """The browser of this machine; without one the test is skipped, but never in CI."""
    found = [path for path in map(shutil.which, NAMES) if path]
    needs(found, "a browser: apt-get install chromium-headless-shell")
    return found[0]


class Page:
    """A tab: what it asked for, and what it complained of."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._calls = 0
        self.requests: list[str] = []
        self.complaints: list[str] = []

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """The result of a command of the protocol."""
        self._calls += 1
        await self._socket.send_json({"id": self._calls, "method": method, "params": parameters})
        with anyio.fail_after(PATIENCE):
            while (message := await self._socket.receive_json()).get("id") != self._calls:
                self._see(message)
        assert "error" not in message, message["error"]
        return message["result"]  # type: ignore[no-any-return]  # an object

    def _see(self, event: dict[str, Any]) -> None:
        said = event["params"]
        if event["method"] == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" or (
            event["method"] == "Runtime.consoleAPICalled" and said["type"] in {"error", "warning"}
        ):
            self.complaints.append(str(said))

    async def open(self, url: str) -> None:
        """Go there, watched from the first request on."""
        for domain in ("Page", "Network", "Runtime", "Log"):
            await self.call(f"{domain}.enable")
        await self.call("Page.navigate", url=url)

    async def look(self, *, width: int, height: int = 900, scheme: str = "light") -> None:
        """Show the page on a screen of this size, to somebody who likes this colour scheme."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def run(self, script: str) -> Any:  # noqa: ANN401 - JSON
        """The value of an expression; a promise is waited for."""
        answer = await self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until this expression is true."""
        await self.run(
            f"new Promise((done) => {{ const look = () => ({condition}) ? done() : setTimeout(look, 20); look(); }})"
        )


@asynccontextmanager
async def browsing(folder: Path) -> AsyncIterator[Page]:
    """A tab of a browser of its own, whose profile lies in the folder."""
    command = [
        browser_path(),
        *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
        *("--remote-debugging-port=0", f"--user-data-dir={folder}", "about:blank"),
    ]
    # Debian's command is a shell script that starts the browser: only as a group do both end.
    async with await anyio.open_process(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    ) as browser:
        try:
            address = await _listening(browser)
            async with ClientSession(address) as session:
                async with session.put("/json/new?about:blank") as answer:
                    target = await answer.json()
                async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                    yield Page(socket)
        finally:
            os.killpg(browser.pid, signal.SIGKILL)


async def _listening(browser: Process) -> str:
    """Where the browser listens: it says so on its standard error."""
    said = b""
    assert browser.stderr is not None
    with anyio.fail_after(PATIENCE):
        async for part in browser.stderr:
            said += part
            if address := re.search(rb"DevTools listening on ws://([\d.:]+)/.*\n", said):
                return f"http://{address[1].decode()}"
    raise AssertionError(said.decode())
