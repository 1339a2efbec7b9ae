"""Files of Compose, as Compose reads them."""

import re
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # PyYAML comes without types

VARIABLE: Final = re.compile(r"\$\{(\w+)(?::-([^}]*)|:\?[^}]*)?\}")


def compose(file: Path) -> dict[str, Any]:
    """The file with every variable at its default, or empty."""
    parsed: dict[str, Any] = yaml.safe_load(VARIABLE.sub(lambda variable: variable[2] or "", file.read_text()))
    return parsed


def used(*files: Path) -> dict[str, str]:
    """The variables of these files, with their defaults."""
    return {match[1]: match[2] or "" for file in files for match in VARIABLE.finditer(file.read_text())}


def said(example: Path) -> dict[str, str]:
    """The variables of an example, with their values, or what stands behind a #."""
    return dict(re.findall(r"^#?([A-Z_]+)=(.*)$", example.read_text(), re.MULTILINE))
