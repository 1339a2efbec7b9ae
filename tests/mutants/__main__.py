"""Whether the tests find the bugs they are there for: `make mutants`, or python -m tests.mutants [words of a name].

Each bug is put into a copy of the tree, and the test that is to find it runs there. The gate fails where that one
passes, where only a timeout notices, and where the bug breaks more than a test can say (no schema, no collection).
First of all the same tests pass without any bug, so that none fails of itself.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import anyio

from aiserv.embedded import embedded_postgres
from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS
from tests.scratch import scratch_directory

ROOT = Path(__file__).parents[2]
TREE = ["aiserv", "workers", "sql", "tests", "pyproject.toml", "openapi.json", "Makefile", "deploy"]
AT_ONCE = os.cpu_count() or 1
SECONDS = 300
SECONDS_FOR_ALL = 1800
SECONDS_TO_END = 20
# The seed: whether a mutant lives must not hang on luck.
PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--hypothesis-seed=1"]
FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)
INTERRUPTED = 130


class Verdict(NamedTuple):
    mutant: Mutant
    killed_by: str | None
    complaint: str
    seconds: float

    @property
    def line(self) -> str:
        return f"{self.seconds:4.0f} s  {self.mutant.name:60} {self.killed_by or self.complaint}"


class Gate:
    """Tests copies of the tree, on one PostgreSQL for all."""

    def __init__(self, directory: Path, postgres: str) -> None:
        self._directory = directory
        self._environment = os.environ | {"AISERV_TEST_DATABASE_URL": postgres}
        # As it is now, whatever happens to the checkout meanwhile; what Python compiles here, all others find compiled.
        self._tree = directory / "tree"
        for name in TREE:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("results", "node_modules")
                shutil.copytree(ROOT / name, self._tree / name, ignore=ignored)
            else:
                shutil.copy2(ROOT / name, self._tree / name)

    async def without_any_bug(self, tests: Sequence[str]) -> str:
        """What pytest says of these tests if they do not pass as they are."""
        status, output = await self._pytest(self._tree, f"--numprocesses={AT_ONCE}", *tests, seconds=SECONDS_FOR_ALL)
        return "" if status == 0 else output or "they took too long"

    async def judge(self, mutant: Mutant) -> Verdict:
        """What becomes of the mutant."""
        began = time.monotonic()
        with self._copy() as tree:
            mutant.put_into(tree)
            status, output = await self._pytest(tree, "-x", mutant.test)
        return Verdict(mutant, *verdict(status, output), time.monotonic() - began)

    @contextmanager
    def _copy(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="mutant-", dir=self._directory) as copy:
            shutil.copytree(self._tree, copy, copy_function=os.link, dirs_exist_ok=True)
            yield Path(copy)

    async def _pytest(self, tree: Path, *arguments: str, seconds: float = SECONDS) -> tuple[int | None, str]:
        """The exit status of pytest and what it printed; no status when it took too long."""
        output = bytearray()
        status = None
        async with await anyio.open_process(
            [sys.executable, *PYTEST, *arguments],
            cwd=tree,
            env=self._environment | {"PYTHONPATH": str(tree)},
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is for us: we end it
        ) as process:
            try:
                with anyio.move_on_after(seconds):
                    assert process.stdout
                    async for part in process.stdout:
                        output += part
                    status = await process.wait()
            finally:
                if status is None:
                    # It ends what its tests have started.
                    process.terminate()
                    with anyio.move_on_after(SECONDS_TO_END, shield=True):
                        await process.wait()
                    if process.returncode is None:
                        os.killpg(process.pid, signal.SIGKILL)
        return status, output.decode(errors="replace")


def verdict(status: int | None, output: str) -> tuple[str | None, str]:
    """The test that failed, and what is wrong with the mutant if none did."""
    if status is None:
        return None, "only a timeout noticed"
    if status == 0:
        return None, "SURVIVED"
    failed = FAILED.search(output)
    if status != 1 or not failed:
        return None, f"broke the run: {output.strip().splitlines()[-1:]}"
    if "Timeout (>" in output:
        return None, f"only a timeout noticed: {failed[1]}"
    return failed[1], ""


async def find(gate: Gate, chosen: Sequence[Mutant]) -> int:
    """Judge the mutants, several at once, and tell of each; returns how many were not found."""
    began = time.monotonic()
    tests = sorted({mutant.test for mutant in chosen})
    if broken := await gate.without_any_bug(tests):
        say(broken)
        say("Without any bug these tests fail already: nothing can be said about the mutants.")
        return len(chosen)
    say(f"{time.monotonic() - began:4.0f} s  without any bug all {len(tests)} tests pass")

    verdicts: list[Verdict] = []
    places = anyio.CapacityLimiter(AT_ONCE)

    async def judge(mutant: Mutant) -> None:
        async with places:
            verdicts.append(await gate.judge(mutant))
            say(verdicts[-1].line)

    async with anyio.create_task_group() as tasks:
        for mutant in chosen:
            tasks.start_soon(judge, mutant)
    alive = [each for each in verdicts if not each.killed_by]
    say(f"{len(verdicts) - len(alive)} of {len(verdicts)} found in {time.monotonic() - began:.0f} s")
    for each in alive:
        say(f"NOT FOUND: {each.line}")
    return len(alive)


def say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - what the command is for


def main(words: list[str]) -> int:
    """The status to exit with."""
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.name for word in words)]
    if not chosen:
        sys.exit(f"no mutant has {' and '.join(words)} in its name")
    # A shell makes its background jobs deaf to SIGINT; SIGTERM comes from a CI.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        with (
            scratch_directory("aiserv-mutants-") as directory,
            embedded_postgres(directory / "postgres", durable=False) as postgres,
        ):
            return 1 if anyio.run(find, Gate(directory, postgres), chosen) else 0
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
