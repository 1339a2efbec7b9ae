"""A bug that the tests must find."""

from typing import NamedTuple


class Mutant(NamedTuple):
    """`old` stands exactly once in the file; with `new` in its place one of the tests fails.

    `tests` are arguments of pytest: as few tests as find it, so that the gate is quick.
    """

    name: str
    file: str
    old: str
    new: str
    tests: str
