"""What check_installation finds."""

from tests.sql.calls import Db, call


def follow(db: Db, topic: str) -> None:
    """Do what is advised: the statements before the sentence that says why."""
    (row,) = [row for row in call(db, "check_installation") if row["topic"] == topic]
    for statement in row["advice"].split(";")[:-1]:
        db.execute(statement.encode())


def finding(db: Db, topic: str, patience: str = "5 minutes") -> tuple[str, str]:
    """Status and detail of a topic, after a look at the shape of all."""
    found = call(db, "check_installation", patience=patience)
    assert all(row["status"] in {"ok", "warning", "problem"} for row in found)
    assert all((row["advice"] is None) == (row["status"] == "ok") for row in found)
    assert all(row["detail"] for row in found)
    (row,) = [row for row in found if row["topic"] == topic]
    return row["status"], row["detail"]
