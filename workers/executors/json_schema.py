"""JSON checked against the schemas of jobs, by a process of its own that can be killed."""

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Final

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from workers.failures import Failure

# Of CPU time: more than any schema needs that was written to be met.
CPU_SECONDS: Final = 5.0
# Of any time, for that: a machine that stands still, or has much else to do, is no fault of the schema.
CHECK_SECONDS: Final = 60.0
START_SECONDS: Final = 60.0

_CHECKER: Final = str(Path(__file__).with_name("json_schema_checker.py"))
_LONGEST_ANSWER: Final = 64 * 1024
# What a pipe to a process that has ended raises.
_ENDED: Final = (anyio.BrokenResourceError, anyio.EndOfStream, anyio.IncompleteRead)
_FIELD: Final = "input.response_format.json_schema.schema"


@dataclass(frozen=True)
class _Checker:
    process: Process
    answers: BufferedByteReceiveStream


class SchemaChecks:
    """Checks, one at a time, by a process that starts with the first and is kept until `close`."""

    def __init__(self) -> None:
        self._turn = anyio.Lock()
        self._checker: _Checker | None = None

    async def flaw(self, schema: str, content: str | None) -> str | None:
        """Where and why the content does not fit the schema, or None. Without content only the schema is checked.

        Both are JSON. Raises `Failure` with `invalid_input` for a schema that is none, that refers to what it does not
        have (nothing is fetched), or that takes too much CPU time; with `internal` when the machine stands still.
        """
        async with self._turn:
            answer = await self._answer(schema.encode(), None if content is None else content.encode())
        if answer["flaw_of"] == "schema":
            raise Failure("invalid_input", f"{_FIELD}: {answer['flaw']}")
        return answer["flaw"]

    async def _answer(self, schema: bytes, content: bytes | None) -> dict[str, str | None]:
        for _ in range(2):
            try:
                checker = self._checker = self._checker or await _start()
                with anyio.move_on_after(CHECK_SECONDS):
                    return await _ask(checker, schema, content)
            except _ENDED:
                if await self.close(has_ended=True) == -signal.SIGPROF:
                    return {"flaw_of": "schema", "flaw": f"the check takes more than {CPU_SECONDS:g} s of CPU time"}
                # Perhaps before it was asked, or for memory that earlier schemas hold: a new one shall tell.
            except BaseException:
                # Cancelled or broken: what it would say next is no answer to the next question.
                await self.close()
                raise
            else:
                await self.close()
                raise Failure("internal", f"the check of the answer's JSON was not done within {CHECK_SECONDS:g} s")
        return {"flaw_of": "schema", "flaw": "the check takes too much memory"}

    async def close(self, *, has_ended: bool = False) -> int | None:
        """End the process, if there is one; how it ended: its exit status, or the negative number of a signal."""
        checker, self._checker = self._checker, None
        if checker is None:
            return None
        # One that has ended by itself is not killed: Popen would look first, and take its status from asyncio.
        if not has_ended and checker.process.returncode is None:
            checker.process.kill()
        with anyio.CancelScope(shield=True):
            await checker.process.aclose()
        return checker.process.returncode


async def _start() -> _Checker:
    # Without our environment, which holds secrets.
    command = [sys.executable, "-I", _CHECKER, str(CPU_SECONDS)]
    # Cancelled half-way through its start, it would be ours and nobody's: nobody would wait for its end.
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={})
    assert process.stdout is not None  # noqa: S101 - it was opened with a pipe
    checker = _Checker(process, BufferedByteReceiveStream(process.stdout))
    try:
        with anyio.fail_after(START_SECONDS):
            await checker.answers.receive_until(b"\n", _LONGEST_ANSWER)
    except BaseException:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
        raise
    return checker


async def _ask(checker: _Checker, schema: bytes, content: bytes | None) -> dict[str, str | None]:
    assert checker.process.stdin is not None  # noqa: S101 - as above
    sizes = f"{len(schema)} {-1 if content is None else len(content)}\n".encode()
    await checker.process.stdin.send(sizes + schema + (content or b""))
    said = await checker.answers.receive_until(b"\n", _LONGEST_ANSWER)
    answer: dict[str, str | None] = json.loads(said)
    return answer
