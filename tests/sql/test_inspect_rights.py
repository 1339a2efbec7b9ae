"""Who may do too much, and guards that are off."""

import pytest

from tests.sql.calls import Connect, Db
from tests.sql.findings import finding, follow


def test_a_superuser_has_too_much_power(db: Db, connect: Connect) -> None:
    status, detail = finding(db, "role")
    assert (status, detail.endswith(", a superuser")) == ("warning", True)
    owner = connect(options="-c role=aiserv_owner")
    assert finding(owner, "role")[1] == "connected as aiserv_owner, who may act as the owner of the schema"


def test_a_schema_public_in_which_everybody_may_create_is_closed_as_advised(db: Db) -> None:
    assert finding(db, "public_schema")[0] == "ok"
    db.execute("grant create on schema public to public")
    assert finding(db, "public_schema")[0] == "warning"

    follow(db, "public_schema")

    assert finding(db, "public_schema")[0] == "ok"


@pytest.mark.parametrize(
    ("given", "detail"),
    [
        ("grant execute on function aiserv.get_job to public", "execute on function aiserv.get_job to public"),
        (
            "grant execute on function aiserv._fold to aiserv_service",
            "execute on function aiserv._fold to aiserv_service",
        ),
        ("grant update on aiserv.job to aiserv_service", "update on aiserv.job to aiserv_service"),
        ("grant select on aiserv.job to aiserv_readonly", "select on aiserv.job to aiserv_readonly"),
        ("grant select on aiserv.jobs to public", "select on aiserv.jobs to public"),
        ("grant create on schema aiserv to aiserv_service", "create on schema aiserv to aiserv_service"),
        ("grant usage on schema aiserv to public", "usage on schema aiserv to public"),
    ],
)
def test_a_grant_that_is_too_much_is_named_and_taken_back_by_what_is_advised(db: Db, given: str, detail: str) -> None:
    db.execute(given.encode())

    assert finding(db, "grants") == ("problem", detail)
    follow(db, "grants")
    assert finding(db, "grants")[0] == "ok"


def test_a_guard_that_is_off_is_named(db: Db) -> None:
    db.execute("alter table aiserv.job disable trigger user")
    db.execute("update pg_index set indisvalid = false where indexrelid = 'aiserv.job_by_owner'::regclass")

    status, detail = finding(db, "switched_off")

    assert status == "problem"
    assert "index aiserv.job_by_owner" in detail
    assert "on aiserv.job" in detail
    follow(db, "switched_off")
    assert finding(db, "switched_off")[0] == "ok"
