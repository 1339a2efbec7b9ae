"""The mutants follow the code: `make mutants` runs them all, and takes minutes."""

import pytest

from tests.mutants.__main__ import ROOT, mutated, verdict
from tests.mutants.mutant import Mutant
from tests.mutants.mutants import MUTANTS


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_what_the_file_says_today(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()

    assert mutated(text, mutant) != text


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_tests_of_a_mutant_exist(mutant: Mutant) -> None:
    files = [word for word in mutant.tests.split() if word.startswith("tests/")]

    assert files
    assert all((ROOT / file).exists() for file in files)


def test_a_mutant_that_has_drifted_is_an_error() -> None:
    drifted = Mutant("drifted", "file", "that", "this", "")

    for text in ("nothing of it", "that and that"):
        with pytest.raises(ValueError, match="drifted"):
            mutated(text, drifted)


@pytest.mark.parametrize(
    ("status", "output", "killed_by"),
    [
        (0, "2 passed", None),
        (1, "FAILED tests/a.py::test_b - AssertionError", "tests/a.py::test_b"),
        (1, "FAILED tests/a.py::test_b[c = 1]\nERROR tests/a.py::test_b", "tests/a.py::test_b[c = 1]"),
        (1, "E  Failed: Timeout (>20.0s) from pytest-timeout.\nFAILED tests/a.py::test_b - Failed", None),
        (1, "ERROR tests/a.py::test_b", None),
        (2, "FAILED tests/a.py::test_b", None),
    ],
)
def test_only_a_failed_test_kills(status: int, output: str, killed_by: str | None) -> None:
    assert verdict(status, output)[0] == killed_by
