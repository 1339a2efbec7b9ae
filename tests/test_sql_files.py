"""The files of sql/ themselves: they parse, they are where their names say, and install.sql misses none."""

from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
from pglast import ast, parse_sql, scan

SQL = Path(__file__).parents[1] / "sql"
FILES = sorted(str(path.relative_to(SQL)) for path in SQL.rglob("*.sql"))
ROUTINES = [file for file in FILES if file.startswith(("functions/", "triggers/"))]
VIEWS = [file for file in FILES if file.startswith("views/")]
PUBLIC = [file for file in FILES if file.startswith("functions/") and not file.startswith("functions/_")]

# What may be in capitals: text, quoted names, comments.
LITERALS = {"SCONST", "USCONST", "BCONST", "XCONST", "UIDENT", "SQL_COMMENT", "C_COMMENT"}


def read(file: str) -> str:
    """What PostgreSQL gets to see of it: everything but the lines that psql keeps for itself."""
    lines = (SQL / file).read_text(encoding="utf-8").splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith("\\"))


def statements(file: str, kind: type[ast.Node] = ast.Node) -> list[Any]:
    """Its statements of this kind; Any, because pglast types each of their attributes as optional."""
    return [raw.stmt for raw in parse_sql(read(file)) if isinstance(raw.stmt, kind)]


def qualified(names: tuple[Any, ...]) -> str:
    return ".".join(name.sval for name in names)


def capitals(sql: str) -> list[str]:
    """The words in capitals, also inside of function bodies."""
    found = []
    for token in scan(sql):
        text = sql[token.start : token.end + 1]
        if token.name == "SCONST" and text.startswith("$"):
            found += capitals(text[text.index("$", 1) + 1 : text.rindex("$", 0, -1)])
        elif token.name not in LITERALS and not text.startswith('"') and text != text.lower():
            found.append(text)
    return found


@pytest.mark.parametrize("file", FILES)
def test_a_file_parses(file: str) -> None:
    assert statements(file)


@pytest.mark.parametrize("file", FILES)
def test_keywords_and_names_are_lower_case(file: str) -> None:
    assert capitals(read(file)) == []


@pytest.mark.parametrize("file", ROUTINES)
def test_a_file_of_a_function_defines_that_function_alone(file: str) -> None:
    functions = statements(file, ast.CreateFunctionStmt)

    name = Path(file).stem if file.startswith("functions/") else f"_{Path(file).stem}"
    assert [qualified(function.funcname) for function in functions] == [f"aiserv.{name}"]
    assert functions[0].replace


@pytest.mark.parametrize("file", VIEWS)
def test_a_file_of_a_view_defines_that_view_alone(file: str) -> None:
    views = statements(file, ast.ViewStmt)

    assert [(view.view.schemaname, view.view.relname) for view in views] == [("aiserv", Path(file).stem)]
    assert views[0].replace


@pytest.mark.parametrize("file", [*ROUTINES, *VIEWS])
def test_a_file_that_is_replayed_holds_nothing_else(file: str) -> None:
    allowed: set[type[ast.Node]] = {ast.CommentStmt}
    allowed |= {ast.ViewStmt} if file in VIEWS else {ast.CreateFunctionStmt}
    if file.startswith("triggers/"):
        allowed.add(ast.CreateTrigStmt)

    assert {type(node) for node in statements(file)} <= allowed


@pytest.mark.parametrize("file", PUBLIC)
def test_a_public_function_has_its_manual(file: str) -> None:
    comments = statements(file, ast.CommentStmt)

    assert [qualified(comment.object.objname) for comment in comments] == [f"aiserv.{Path(file).stem}"]
    assert comments[0].comment


@pytest.mark.parametrize("file", [file for file in FILES if file.startswith("triggers/")])
def test_a_trigger_runs_the_function_of_its_file(file: str) -> None:
    triggers = statements(file, ast.CreateTrigStmt)

    assert {qualified(trigger.funcname) for trigger in triggers} == {f"aiserv._{Path(file).stem}"}


def test_install_includes_every_file_once_and_in_order() -> None:
    lines = (SQL / "install.sql").read_text(encoding="utf-8").splitlines()
    included = [line.removeprefix("\\ir ") for line in lines if line.startswith("\\ir ")]
    migrations = [file for file in included if file.startswith("migrations/")]

    assert sorted([*included, "install.sql"]) == FILES
    assert migrations == sorted(migrations)
    assert [step for step, _ in groupby(included, key=lambda file: file.split("/")[0])] == [
        "roles.sql",
        "schema.sql",
        "migrations",
        "views",
        "functions",
        "triggers",
        "grants.sql",
    ]


def test_the_check_for_capitals_sees_into_bodies_and_past_literals() -> None:
    sql = """SELECT 'Ü', "Name", $a$ begin RAISE 'Text'; $a$, x'AB' -- Comment\n from aiserv.Job"""

    assert capitals(sql) == ["SELECT", "RAISE", "Job"]
