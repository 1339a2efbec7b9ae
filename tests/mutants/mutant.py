"""A bug that the tests must find."""

from pathlib import Path
from typing import NamedTuple


class Mutant(NamedTuple):
    """`old` stands exactly once in the file; with `new` in its place the test fails.

    `test` is what pytest calls it, file and function: the one that is there to find this bug.
    """

    name: str
    file: str
    old: str
    new: str
    test: str

    def put_into(self, tree: Path) -> None:
        """Change the file in this tree. Raises ValueError when the code has moved on and the mutant did not."""
        file = tree / self.file
        text = file.read_text() if file.exists() else ""
        if (found := text.count(self.old)) != 1:
            raise ValueError(
                f"mutant {self.name!r}: what it changes stands {found} times in {self.file}, not once; "
                "make the same mistake in the code as it is now (tests/mutants)"
            )
        file.unlink()  # in a copy it may be a link
        file.write_text(text.replace(self.old, self.new))
