"""Processes that a benchmark starts: they speak in lines of JSON, and end when their standard input is closed."""

import json
import queue
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any, Final

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 20.0


class ChildError(Exception):
    """A process of the benchmark ended or fell silent; the message has the end of what it wrote."""


class Child:
    """A process, its messages, and the end of its log. Without an environment or a directory it has ours."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None, log: Path, directory: Path | None
    ) -> None:
        self._log = log
        self._name = " ".join(command)
        self._messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        with log.open("ab") as errors:
            self.popen = subprocess.Popen(  # noqa: S603 - our own programs
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # Ctrl-C is for whoever measures; it stops its children in order.
                start_new_session=True,
            )
        self.port = 0
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def message(self, key: str, seconds: float = START_SECONDS) -> dict[str, Any]:
        """The next message that has the key; others before it are dropped. Raises ChildError."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            try:
                message = self._messages.get(timeout=min(left, 0.1))
            except queue.Empty:
                if self.popen.poll() is not None and not self._reader.is_alive() and self._messages.empty():
                    break
                continue
            if key in message:
                return message
        raise ChildError(f"no {key} from {self._name}: {self._end_of_log()}")

    def messages(self) -> Iterator[dict[str, Any]]:
        """Those that have come by now. Raises ChildError when the process has ended in trouble."""
        if self.popen.poll():
            raise ChildError(f"{self._name} ended with {self.popen.returncode}: {self._end_of_log()}")
        while True:
            try:
                yield self._messages.get_nowait()
            except queue.Empty:
                return

    def tell(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.popen.stdin  # noqa: S101 - it is a pipe
        self.popen.stdin.write(f"{line}\n")
        self.popen.stdin.flush()

    def leave(self) -> None:
        """Let it come to its end."""
        assert self.popen.stdin  # noqa: S101 - it is a pipe
        if not self.popen.stdin.closed:
            self.popen.stdin.close()

    def stop(self) -> None:
        """Stop it, and wait for that."""
        self.leave()
        try:
            self.popen.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
        self._reader.join()

    def _read(self) -> None:
        assert self.popen.stdout  # noqa: S101 - it is a pipe
        for line in self.popen.stdout:
            if line.startswith("{"):
                self._messages.put(json.loads(line))

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-10:])


@contextmanager
def started(
    commands: Sequence[Sequence[str]],
    environment: Mapping[str, str] | None,
    log: Path,
    directory: Path | None = None,
) -> Iterator[list[Child]]:
    """These processes at once, each having said `port`; stopped at the end."""
    children: list[Child] = []
    try:
        children.extend(Child(command, environment, log, directory) for command in commands)
        for child in children:
            child.port = child.message("port")["port"]
        yield children
    finally:
        for child in children:
            child.leave()
        for child in children:
            child.stop()
