"""Jobs come and go by the thousand, in `make soak` by the million: what a claim costs and what the tables weigh stays.

What is asserted is counted in pages read and in bytes: no other process on the machine changes either. Times are shown
in `build/soak.md`.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.scale import SOAK_JOBS
from tests.faults.soak import MIB, ROUND, Db, Soak, number, usual_pages

REPORT = Path(__file__).parents[2] / "build" / "soak.md"
TENTH = max(SOAK_JOBS // 10 // ROUND, 1) * ROUND

# The last tenth shows what has grown; of a short run it is four claims, which one vacuum held back may make dear.
LAST = 1 if SOAK_JOBS else 2
# Of tables as small as those of a short run.
FEW_BYTES = 4 * MIB


# A tenth takes a minute at least, from one autovacuum to the next.
@pytest.mark.timeout(1_200 + SOAK_JOBS // 200 if SOAK_JOBS else 300)
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

    # Autovacuum comes once a minute, and a machine does now more rounds in one, now fewer: compared is what all had.
    rounds = min(tenth.rounds for tenth in soak.tenths)
    costs = [usual_pages(tenths[-LAST:], rounds) for tenths in ([first], alone, beside, after)]
    measured("pages a claim at first, later, beside it, after it: " + ", ".join(f"{pages:,}" for pages in costs))
    at_first, later, beside_it, after_it = costs
    assert soak.created == soak.completed + soak.left()
    assert later <= at_first * 1.2
    # Half of the claims begin where another one ended; those from the head pay for the rows that are kept.
    assert beside_it <= at_first * 2
    assert after_it <= at_first * 1.2
    # Tables have room for what comes between two vacuums. What the long transaction kept is room for those who come
    # later: nothing grows on.
    room = max(tenth.rounds for tenth in (first, *alone)) / first.rounds
    assert alone[-1].weight() <= first.weight() * room * 1.2 + FEW_BYTES
    assert after[-1].weight() <= beside[-1].weight() * 1.2 + FEW_BYTES
