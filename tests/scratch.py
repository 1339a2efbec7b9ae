"""Where tests keep the data of PostgreSQL."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108  # what we make there is a TemporaryDirectory
PLENTY = 4 * 1024**3  # bytes


@contextmanager
def scratch_directory(prefix: str) -> Iterator[Path]:
    """A directory that is gone afterwards, in memory where there is plenty of it.

    On ext4 a clone of a database takes 0.15 s instead of 0.02 s as soon as others were dropped: a new file keeps away
    from every inode that was freed in the last minute, and each dropped database frees 300.
    """
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > PLENTY
    with tempfile.TemporaryDirectory(prefix=prefix, dir=MEMORY if in_memory else None) as directory:
        yield Path(directory)
