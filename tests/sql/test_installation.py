"""check_installation as a whole."""

from tests.sql.calls import Connect, Db, call
from tests.sql.findings import finding


def test_a_new_installation_has_no_problem_of_its_own(db: Db) -> None:
    # How the server of the tests is set is its own business.
    known = {"durability", "commit", "role"}
    wrong = {row["topic"] for row in call(db, "check_installation") if row["status"] != "ok"}

    assert wrong <= known


def test_a_service_may_ask(connect: Connect) -> None:
    service = connect(options="-c role=aiserv_service")

    assert finding(service, "role") == ("ok", "connected as aiserv_service")
    assert finding(service, "unserved")[0] == "ok"
