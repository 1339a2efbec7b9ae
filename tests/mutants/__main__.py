"""Whether the tests find the bugs they are there for: `make mutants`, or python -m tests.mutants [words of a name].

Each bug is put into a copy of the tree, and the tests that are to find it run there. The gate fails when they all pass,
when only a timeout notices, or when the bug breaks more than a test can say (no schema, no collection).
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from aiserv.embedded import embedded_postgres
from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
TREE = ["aiserv", "workers", "sql", "tests", "pyproject.toml", "openapi.json", "Makefile", "deploy"]
SECONDS = 300
FAILED = re.compile(r"^FAILED (.+?)(?: - .*)?$", re.MULTILINE)


class Verdict(NamedTuple):
    mutant: Mutant
    killed_by: str | None
    complaint: str
    seconds: float


def mutated(text: str, mutant: Mutant) -> str:
    """The text with the bug in it. Raises ValueError when the code has moved on and the mutant did not."""
    if (found := text.count(mutant.old)) != 1:
        raise ValueError(f"mutant {mutant.name!r}: its text stands {found} times in {mutant.file}, not once")
    return text.replace(mutant.old, mutant.new)


@contextmanager
def copy_of_the_tree() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="aiserv-mutant-") as directory:
        copy = Path(directory)
        for name in TREE:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
            else:
                shutil.copy(ROOT / name, copy / name)
        yield copy


def judge(mutant: Mutant, postgres: str) -> Verdict:
    began = time.monotonic()
    with copy_of_the_tree() as copy:
        file = copy / mutant.file
        file.write_text(mutated(file.read_text(), mutant))
        # The seed: whether a mutant lives must not hang on luck.
        plugins = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]  # that one takes a second to load
        command = [sys.executable, "-m", "pytest", "-x", "-q", *plugins, "--hypothesis-seed=1"]
        environment = os.environ | {"PYTHONPATH": str(copy), "AISERV_TEST_DATABASE_URL": postgres}
        try:
            run = subprocess.run(  # the tests of our own copy
                [*command, *mutant.tests.split()],
                cwd=copy,
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            killed_by, complaint = verdict(run.returncode, run.stdout)
        except subprocess.TimeoutExpired:
            killed_by, complaint = None, "only a timeout noticed"
    return Verdict(mutant, killed_by, complaint, time.monotonic() - began)


def verdict(status: int, output: str) -> tuple[str | None, str]:
    """The test that failed, and what is wrong with the mutant if none did."""
    if status == 0:
        return None, "SURVIVED"
    failed = FAILED.search(output)
    if status != 1 or not failed:
        return None, f"broke the run: {output.strip().splitlines()[-1:]}"
    if "Timeout (>" in output:
        return None, f"only a timeout noticed: {failed[1]}"
    return failed[1], ""


def main(words: list[str]) -> int:
    chosen = [mutant for mutant in MUTANTS if all(word in mutant.name for word in words)]
    if not chosen:
        sys.exit(f"no mutant has {' and '.join(words)} in its name")
    for mutant in chosen:
        mutated((ROOT / mutant.file).read_text(), mutant)

    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="aiserv-mutants-") as directory,
        embedded_postgres(Path(directory) / "postgres", durable=False) as postgres,
        ThreadPoolExecutor(os.cpu_count()) as runs,
    ):
        verdicts = []
        for found in runs.map(lambda mutant: judge(mutant, postgres), chosen):
            verdicts.append(found)
            print(f"{found.mutant.name:58} {found.seconds:5.0f} s  {found.killed_by or found.complaint}", flush=True)  # noqa: T201
    alive = [found.mutant.name for found in verdicts if not found.killed_by]
    print(f"{len(verdicts) - len(alive)} of {len(verdicts)} found in {time.monotonic() - began:.0f} s")  # noqa: T201
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
