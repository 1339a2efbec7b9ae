"""Jobs come and go by the thousand, in `make soak` by the million: what a claim costs and what the tables weigh stays.

What is asserted is counted in pages read and in bytes: no other process on the machine changes either. Times are shown
in `build/soak.md`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.faults.scale import SOAK_JOBS
from tests.faults.soak import MIB, ROUND, Db, Soak, Tenth, number

REPORT = Path(__file__).parents[2] / "build" / "soak.md"
TENTH = max(SOAK_JOBS // 10 // ROUND, 1) * ROUND

# Of tables as small as those of a short run.
FEW_BYTES = 4 * MIB


@pytest.mark.timeout(300 + SOAK_JOBS // 200)
@pytest.mark.fault(
    "a long transaction holds back vacuum",
    "`repeatable read` and a look at all jobs, while claims of 500 work off one backlog after the other"
    " (2,000,000 jobs in a soak)",
    "a claim reads twice the pages at most, and 1.2 times once it is over; tables stop growing",
)
def test_a_claim_costs_the_same_after_many_jobs_and_beside_a_long_transaction(
    db: Db, connect: Callable[..., Db], measured: Callable[[str], None]
) -> None:
    soak = Soak(db, vacuums=not SOAK_JOBS, report=REPORT if SOAK_JOBS else None)

    first, *alone = [soak.tenth("alone", TENTH) for _ in range(5)]
    long = connect(options="-c default_transaction_isolation=repeatable\\ read")
    with long.transaction():
        number(long, "select count(*) from aiserv.job")
        beside = [soak.tenth("beside a long transaction", TENTH) for _ in range(3)]
    after = [soak.tenth("after it", TENTH) for _ in range(2)]

    costs = [first.usual_pages, usual_pages(alone), usual_pages(beside), usual_pages(after)]
    measured("pages a claim at first, later, beside it, after it: " + ", ".join(f"{pages:,.0f}" for pages in costs))
    assert soak.created == soak.completed + soak.left()
    assert usual_pages(alone) <= first.usual_pages * 1.2
    # Half of the claims begin where another one ended; those from the head pay for the rows that are kept.
    assert usual_pages(beside) <= first.usual_pages * 2
    assert usual_pages(after) <= first.usual_pages * 1.2
    # What the long transaction kept is room for those who come later: nothing grows on.
    assert alone[-1].weight() <= first.weight() * 1.2 + FEW_BYTES
    assert after[-1].weight() <= beside[-1].weight() * 1.2 + FEW_BYTES


def usual_pages(tenths: Sequence[Tenth]) -> float:
    """Those of the last tenth, or of the one before it: PostgreSQL's own look at a table is a long transaction, too."""
    return min(tenth.usual_pages for tenth in tenths[-2:])
