"""The mutants follow the code: `make mutants` runs them all, and takes minutes."""

import re
from pathlib import Path

import pytest

from tests.mutants.__main__ import ROOT, verdict
from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_what_the_file_says_today(mutant: Mutant, tmp_path: Path) -> None:
    text = (ROOT / mutant.file).read_text()
    (tmp_path / mutant.file).parent.mkdir(parents=True)
    (tmp_path / mutant.file).write_text(text)

    mutant.put_into(tmp_path)

    assert (tmp_path / mutant.file).read_text() != text


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_test_of_a_mutant_exists(mutant: Mutant) -> None:
    file, _, function = mutant.test.partition("::")

    name = function.partition("[")[0]

    assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text(), re.MULTILINE)


def test_no_two_mutants_have_one_name() -> None:
    names = [mutant.name for mutant in MUTANTS]

    assert len(set(names)) == len(names)


@pytest.mark.parametrize("text", ["nothing of it", "that and that", None])
def test_a_mutant_that_has_drifted_is_an_error(text: str | None, tmp_path: Path) -> None:
    drifted = Mutant("drifted", "file", "that", "this", "")
    if text is not None:
        (tmp_path / "file").write_text(text)

    with pytest.raises(ValueError, match="'drifted': what it changes stands"):
        drifted.put_into(tmp_path)


@pytest.mark.parametrize(
    ("status", "output", "killed_by"),
    [
        (0, "2 passed", None),
        (1, "FAILED tests/a.py::test_b - AssertionError", "tests/a.py::test_b"),
        (1, "FAILED tests/a.py::test_b[c = 1]\nERROR tests/a.py::test_b", "tests/a.py::test_b[c = 1]"),
        (1, "E  Failed: Timeout (>20.0s) from pytest-timeout.\nFAILED tests/a.py::test_b - Failed", None),
        (1, "ERROR tests/a.py::test_b", None),
        (2, "FAILED tests/a.py::test_b", None),
        (None, "FAILED tests/a.py::test_b", None),
    ],
)
def test_only_a_failed_test_kills(status: int | None, output: str, killed_by: str | None) -> None:
    assert verdict(status, output)[0] == killed_by
