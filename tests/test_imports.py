"""Who may import the libraries that everything hangs on. Which of our modules may import which is in pyproject.toml."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

IMPORTERS = {
    "psycopg": {
        "aiserv.database",
        "aiserv.embedded",
        "aiserv.listener",
        "aiserv.migrate",
        "aiserv.pool",
        "aiserv.problems",
    },
    "psycopg_pool": {"aiserv.pool", "aiserv.problems"},
    "aiohttp.web": {
        "aiserv.api",
        "aiserv.cli",
        "aiserv.dev",
        "aiserv.http",
        "aiserv.probes",
        "aiserv.problems",
        "aiserv.sidecar",
        "aiserv.stand_in",
        "workers.status",
    },
    "openai": {"workers.executors"},
    "av": {"workers.audio.decoder"},
    "jsonschema": {"workers.executors.json_schema_checker"},
}


@cache
def modules() -> dict[str, ast.Module]:
    files = [path for package in ("aiserv", "workers") for path in (ROOT / package).rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): ast.parse(path.read_bytes())
        for path in files
    }


def imported(tree: ast.Module) -> set[str]:
    """All that it imports, by full name, also inside of functions and for type checks alone."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def within(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


@pytest.mark.parametrize("library", IMPORTERS)
def test_a_library_is_imported_only_where_it_belongs(library: str) -> None:
    importers = {module for module, tree in modules().items() if any(within(name, library) for name in imported(tree))}

    strangers = {module for module in importers if not any(within(module, home) for home in IMPORTERS[library])}
    assert strangers == set()
    assert importers


def test_only_settings_reads_the_environment() -> None:
    readers = {
        module
        for module, tree in modules().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
    }

    assert readers == {"aiserv.settings"}
