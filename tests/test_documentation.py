"""The documents are complete: each setting, route, metric, error code, SQL function and command stands in one."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from prometheus_client import Metric
from pydantic import AliasChoices, BaseModel

from aiserv.api.routes import ROUTES
from aiserv.cli import app
from aiserv.metrics import ServerMetrics, WorkerMetrics
from aiserv.problems import SQLSTATES, TITLES
from aiserv.settings import Settings
from workers.failures import FATES

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
OPERATORS = (ROOT / "sql" / "README.md").read_text()
DOCUMENTS = sorted(
    path for pattern in ("*.md", "sql/*.md", "tests/*/README.md", "deploy/*/README.md") for path in ROOT.glob(pattern)
)
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


def variables() -> Iterator[str]:
    for group in Settings.model_fields.values():
        assert isinstance(group.annotation, type)
        assert issubclass(group.annotation, BaseModel)
        for field in group.annotation.model_fields.values():
            alias = field.validation_alias
            names = alias.choices if isinstance(alias, AliasChoices) else [alias]
            yield from (str(name) for name in names if str(name).isupper())


def metrics() -> Iterator[str]:
    for registry in (ServerMetrics().registry, WorkerMetrics().registry):
        for metric in registry.collect():
            yield exposed(metric)


def exposed(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def commands() -> Iterator[str]:
    """Each command, alone and with each of its options."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    for name, command in group.commands.items():
        yield name
        for parameter in command.params:
            yield from (f"{name} {option}" for option in parameter.opts if option.startswith("--"))


def functions() -> list[str]:
    return [path.stem for path in (ROOT / "sql" / "functions").glob("[!_]*.sql")]


def views() -> list[str]:
    return [path.stem for path in (ROOT / "sql" / "views").glob("[!_]*.sql")]


@pytest.mark.parametrize("variable", sorted(set(variables())))
def test_every_setting_is_in_the_readme(variable: str) -> None:
    assert f"`{variable}`" in README


@pytest.mark.parametrize("metric", sorted(set(metrics())))
def test_every_metric_is_in_the_readme(metric: str) -> None:
    assert re.search(rf"`{metric}[`{{]", README)


@pytest.mark.parametrize("route", ROUTES, ids=str)
def test_every_route_is_in_the_readme(route: tuple[str, str]) -> None:
    method, path = route

    assert f"`{method} {path}`" in README


@pytest.mark.parametrize("code", TITLES)
def test_every_error_code_is_in_the_readme(code: str) -> None:
    assert f"`{code}`" in README


@pytest.mark.parametrize("category", FATES)
def test_every_error_category_is_in_the_readme(category: str) -> None:
    assert f"`{category}`" in README


@pytest.mark.parametrize("command", list(commands()))
def test_every_command_and_option_is_in_the_readme(command: str) -> None:
    name, _, option = command.partition(" ")

    assert re.search(rf"\baiserv {name}\b", README)
    assert re.search(rf"{option}\b", README)


@pytest.mark.parametrize("name", functions())
def test_every_sql_function_is_in_the_operators_guide(name: str) -> None:
    assert f"`{name}`" in OPERATORS or f"aiserv.{name}" in OPERATORS


@pytest.mark.parametrize("name", views())
def test_every_view_is_in_both_guides(name: str) -> None:
    assert f"`aiserv.{name}`" in README
    assert f"aiserv.{name}" in OPERATORS


@pytest.mark.parametrize("state", SQLSTATES)
def test_every_sqlstate_is_in_the_operators_guide_and_raised_somewhere(state: str) -> None:
    raised = "".join(path.read_text() for path in (ROOT / "sql").glob("*/*.sql"))

    assert f"`{state}`" in OPERATORS
    assert state in raised or state in {"JP412", "JF403"}


def test_every_sqlstate_that_sql_raises_is_known_to_the_api() -> None:
    raised = {
        state for path in (ROOT / "sql").glob("*/*.sql") for state in re.findall(r"'(J[A-Z]\d{3})'", path.read_text())
    }

    assert raised <= SQLSTATES.keys()


@pytest.mark.parametrize("module", sorted(ROOT.glob("aiserv/*.py")), ids=lambda path: path.stem)
def test_every_module_is_on_the_map(module: Path) -> None:
    assert module.stem.startswith("__") or re.search(rf"\b{module.stem}\b", ARCHITECTURE)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", document.read_text())

    assert [target for target in targets if not (document.parent / target).exists()] == []
