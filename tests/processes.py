"""Processes of aiserv, started as a person would start them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import psutil  # type: ignore[import-untyped]  # it ships no types

ROOT: Final = str(Path(__file__).parents[1])
# Nothing of the environment of whoever runs the tests.
ENVIRON: Final = {
    **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
    "HTTP_HOST": "127.0.0.1",
    "HTTP_PORT": "0",
    "WORKER_HTTP_HOST": "127.0.0.1",
    "WORKER_HTTP_PORT": "0",
    "LLM_MODEL": "qwen",
    "LOG_FORMAT": "json",
    "PYTHONPATH": ROOT,
    "PYTHONDONTWRITEBYTECODE": "1",
    # Nobody is called whom authorities vouch for, and to read them all takes a process some 50 ms.
    "SSL_CERT_FILE": os.devnull,
}
START_SECONDS: Final = 120.0  # a tenth of one of a machine that does nothing else


@dataclass
class Process:
    """A process in a group of its own, and what it has written."""

    popen: "subprocess.Popen[bytes]"
    output: Path
    kept: str | None = None

    @property
    def text(self) -> str:
        return self.output.read_text(errors="replace") if self.kept is None else self.kept

    def send(self, number: signal.Signals) -> None:
        """Send it to the process alone."""
        self.popen.send_signal(number)

    def send_to_group(self, number: signal.Signals) -> None:
        """Send it as a terminal does."""
        os.killpg(self.popen.pid, number)

    async def says(self, text: str, seconds: float = START_SECONDS) -> str:
        """The rest of the first line after `text`, once that has been written."""
        with anyio.fail_after(seconds):
            while True:
                # Before the look, not after it: the last word of a process counts.
                has_ended = self.popen.poll() is not None
                rest, end, _ = self.text.partition(text)[2].partition("\n")
                if end:
                    return rest
                assert not has_ended, self.text
                await anyio.sleep(0.01)

    async def port(self) -> int:
        """Where it listens."""
        rest = await self.says(" on port ")
        return int(rest.partition('"')[0])

    async def ended(self, seconds: float = START_SECONDS) -> int:
        """The exit status, once it has ended."""
        with anyio.fail_after(seconds):
            while (status := self.popen.poll()) is None:  # noqa: ASYNC110 - it is another process
                await anyio.sleep(0.01)
        return status

    def logged(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        return [json.loads(line) for line in self.text.splitlines() if line.startswith("{")]


@contextmanager
def aiserv(*arguments: str, cwd: str = ROOT, module: str = "aiserv", **variables: str) -> Iterator[Process]:
    """`aiserv`, or another module, with these arguments and variables, killed at the end if it still runs."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, "output")
        with output.open("wb") as file:
            popen = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                cwd=cwd,
                env={**ENVIRON, **variables},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        process = Process(popen, output)
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(popen.pid, signal.SIGKILL)
            popen.wait()
            process.kept = process.text


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal to a process, if it is still there."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def descriptors(pid: int) -> int:
    """How many files and sockets a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def children(program: str) -> list[psutil.Process]:
    """Our own children with this in their command, and not those that have ended meanwhile."""
    found = []
    for child in psutil.Process().children():
        with suppress(psutil.NoSuchProcess):
            if any(program in word for word in child.cmdline()):
                found.append(child)
    return found


def resident_kib(pid: int) -> int:
    """Memory of a process that is there."""
    return int(Path(f"/proc/{pid}/status").read_text().partition("VmRSS:")[2].split()[0])
