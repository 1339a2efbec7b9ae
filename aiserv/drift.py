"""How a schema differs from the files that it should be made of."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from aiserv import __version__
from aiserv.migrate import SqlFile, newer_versions, unknown_migrations
from aiserv.queries.installation import Finding, InstalledFile, Routine

MIGRATE: Final = "Run aiserv migrate."
RESTORE: Final = (
    "As the owner of the schema run these files of sql/ with psql, and grants.sql after them. What you need to be "
    "different, change in the files."
)
_NAME: Final = re.compile(r"^create or replace function aiserv\.(\w+)\(", re.MULTILINE)
_SETTING: Final = re.compile(r"^set (\w+) = (\S+)$", re.MULTILINE)
MAX_NAMED: Final = 5
QUOTE: Final = "'"
EMPTY: Final = '""'


def drift(
    files: Mapping[str, SqlFile], installed: Iterable[InstalledFile], routines: Iterable[Routine]
) -> list[Finding]:
    """What differs: files not installed or changed since, and functions that somebody changed by hand."""
    by_name = {file.name: file for file in installed}
    if newer := newer_versions(by_name):
        detail = f"installed by version {newer[-1]}; this is {__version__}"
        return [Finding("schema", "warning", detail, "Look with the version that installed it.")]
    if unknown := unknown_migrations(files, by_name):
        detail = f"has {_some(unknown)}, which version {__version__} does not know"
        return [Finding("schema", "problem", detail, "Run the version that installed it, or a newer one still.")]
    by_psql = not any(file.checksum for file in by_name.values())
    missing = [name for name, file in files.items() if name not in by_name and (file.runs_once or not by_psql)]
    changed = [
        name for name, file in files.items() if name in by_name and by_name[name].checksum not in {None, file.checksum}
    ]
    if missing or changed:
        return [Finding("schema", "problem", f"not up to date: {_some([*missing, *changed])}", MIGRATE)]
    return [Finding("schema", "ok", f"{len(files)} files, as of version {__version__}"), _by_hand(files, routines)]


def _by_hand(files: Mapping[str, SqlFile], routines: Iterable[Routine]) -> Finding:
    known = list(routines)
    times = Counter(routine.name for routine in known)
    meant = {routine.name: (file, routine) for file in files.values() if (routine := _routine(file))}
    changed = sorted(file.name for name, (file, routine) in meant.items() if name in times and routine not in known)
    missing = sorted(file.name for name, (file, _) in meant.items() if name not in times)
    foreign = sorted(name for name in times if name not in meant or times[name] > 1)
    if changed or missing:
        said = [
            f"{what}: {_some(names)}" for what, names in (("missing", missing), ("changed by hand", changed)) if names
        ]
        return Finding("functions", "problem", "; ".join(said), RESTORE)
    if foreign:
        advice = "Drop them, or keep yours in a schema of your own: an update may meet them."
        return Finding("functions", "warning", f"not of aiserv: {_some(foreign)}", advice)
    return Finding("functions", "ok", "as in the files")


def _routine(file: SqlFile) -> Routine | None:
    """The function that a file defines, as the catalog shows it."""
    named = _NAME.search(file.text)
    if named is None:
        return None
    head, body, _ = file.text.split("$$", 2)
    # The catalog quotes nothing but an empty list.
    settings = [f"{name}={value.strip(QUOTE) or EMPTY}" for name, value in _SETTING.findall(head)]
    return Routine(named[1], body, "\nsecurity definer\n" in head, settings)


def _some(names: list[str]) -> str:
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
