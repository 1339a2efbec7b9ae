"""What runs the service: the files in deploy/ name commands, settings, ports and metrics that there are."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import promql_parser
import psycopg
import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes without types
from psycopg import sql
from psycopg.rows import DictRow

from aiserv.exits import Exit
from aiserv.settings import Settings
from aiserv.values import parse_duration
from tests.deploy.compose import compose, said, used
from tests.test_documentation import README, ROOT, commands, metrics, variables

FOLDER = ROOT / "deploy"
FILE = FOLDER / "compose.yaml"
SERVICES = compose(FILE)["services"]
# Those of our image.
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "aiserv"}
SCRAPED = yaml.safe_load((FOLDER / "prometheus" / "prometheus.yml").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for file in SCRAPED["rule_files"]
    for group in yaml.safe_load((FOLDER / "prometheus" / file).read_text())["groups"]
    for rule in group["rules"]
]
UNIT = (FOLDER / "systemd" / "aiserv@.service").read_text()
UNIT_OPTIONS = dict(re.findall(r"^(\w+)=(.*)$", UNIT, re.MULTILINE))
TOLD = said(FOLDER / "aiserv.env.example")
DEFAULTS = Settings.load({})
# What Prometheus itself says of everything that it scrapes.
OF_TARGETS = {"job", "instance"}


def labels(metric: str) -> set[str]:
    """Those that the README gives it."""
    found = re.search(rf"`{metric}(?:{{([\w,]+)}})?`", README)
    assert found
    return set((found[1] or "").split(",")) | OF_TARGETS


def family(name: str) -> str:
    """The metric that a series of this name belongs to."""
    return re.sub(r"_(count|sum|bucket)$", "", name)


def test_every_process_is_a_command_of_aiserv() -> None:
    known = set(commands())

    assert {tuple(service["command"]) for service in OURS.values()} == {("migrate",), ("serve",), ("worker",)}
    assert {service["command"][0] for service in OURS.values()} <= known
    assert set(re.findall(r"aiserv@(\w+)", UNIT + README)) == {"serve", "worker"} <= known
    assert UNIT_OPTIONS["ExecStart"].endswith("/aiserv %i")


@pytest.mark.parametrize(
    "name", sorted({*TOLD, *(name for service in OURS.values() for name in service["environment"])})
)
def test_every_setting_is_one_of_aiserv(name: str) -> None:
    assert name in set(variables())


def test_the_settings_of_the_example_make_sense() -> None:
    settings = Settings.load(TOLD)

    assert settings.database.migrate_on_start is False
    assert settings.server.ai_service_token == ()
    assert settings.llm.model == DEFAULTS.llm.model


def test_the_variables_of_compose_are_in_its_example_with_their_defaults() -> None:
    assert said(FOLDER / ".env.example") == used(FILE)


def test_what_is_mounted_is_there() -> None:
    mounted = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    files = [
        *(path for path in mounted if path.startswith(".")),
        *(f"prometheus/{file}" for file in SCRAPED["rule_files"]),
    ]

    assert [path for path in files if not (FOLDER / path).exists()] == []


def test_ports_are_those_of_the_settings_and_prometheus_looks_at_all() -> None:
    (api,) = SERVICES["server"]["ports"]
    looked_at = {
        (name, found["port"])
        for job in SCRAPED["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }

    assert api.split(":")[-2:] == [str(DEFAULTS.server.http_port)] * 2
    assert looked_at == {("server", DEFAULTS.server.http_port), ("worker", DEFAULTS.worker.http_port)}


@pytest.mark.parametrize("service", [name for name, service in SERVICES.items() if "ports" in service])
def test_nothing_listens_on_all_addresses_unless_told(service: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[service]["ports"])


def test_nobody_is_killed_who_stops_in_time() -> None:
    longest = max(DEFAULTS.server.http_shutdown_timeout, DEFAULTS.worker.shutdown_timeout)

    given = [*(service["stop_grace_period"] for service in OURS.values()), f"{UNIT_OPTIONS['TimeoutStopSec']}s"]

    assert min(map(parse_duration, given)) >= longest + timedelta(seconds=30)


def test_systemd_tells_a_worker_to_stop_and_not_its_decoders() -> None:
    assert UNIT_OPTIONS["KillMode"] == "mixed"


def test_systemd_starts_everybody_again_but_whose_settings_are_wrong() -> None:
    assert UNIT_OPTIONS["RestartPreventExitStatus"] == str(int(Exit.USAGE))
    assert UNIT_OPTIONS["StartLimitIntervalSec"] == "0"
    assert UNIT_OPTIONS["EnvironmentFile"] in (FOLDER / "aiserv.env.example").read_text()


def test_the_role_that_servers_log_in_as_may_call_functions_and_write_no_table(
    db: psycopg.Connection[DictRow], connect: Callable[..., psycopg.Connection[DictRow]]
) -> None:
    login = compose(FILE)["configs"]["login"]["content"]
    url = urlsplit(OURS["server"]["environment"]["DATABASE_URL"])
    role = f"ai_{uuid4().hex}"
    assert f"role {url.username} login" in login
    db.execute(login.replace(f"role {url.username} ", f"role {role} "))
    try:
        server = connect()
        server.execute(sql.SQL("set session authorization {}").format(sql.Identifier(role)))

        server.execute("select aiserv.create_job(owner_service => 'a', task_type => 'b', model_profile => 'c')")
        claimed = server.execute("select status from aiserv.claim_jobs('w')").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            server.execute("delete from aiserv.job")
    finally:
        db.execute(sql.SQL("drop role {}").format(sql.Identifier(role)))

    assert claimed == [{"status": "running"}]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_and_labels_that_there_are_and_says_what_it_means(rule: dict[str, Any]) -> None:
    expression, summary = rule["expr"], rule["annotations"]["summary"]
    asked = {family(name) for name in re.findall(r"\baiserv_\w+", expression)}
    # In a selector, or what is summed by.
    named = set(re.findall(r"(\w+)(?==~?\")", expression)) | set(re.findall(r"by \((\w+)\)", expression))

    promql_parser.parse(expression)

    known = set().union(OF_TARGETS, *map(labels, asked))
    assert asked <= set(metrics())
    assert {*named, *re.findall(r"\$labels\.(\w+)", summary)} <= known
    assert parse_duration(rule["for"]) > timedelta(0)
    assert summary


def test_the_readme_leads_to_every_file() -> None:
    files = [
        Path("compose.yaml"),
        Path("prometheus/alerts.yml"),
        Path("systemd/aiserv@.service"),
        Path("ai-server/README.md"),
    ]

    assert [file for file in files if f"](deploy/{file})" not in README] == []
