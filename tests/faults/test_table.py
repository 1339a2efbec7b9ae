"""The table says what the tests do."""

from tests.faults import table


def test_every_fault_stands_in_the_table_as_its_test_describes_it() -> None:
    shown = [[fault, injection, goal] for fault, injection, goal, *_ in table.cells(table.shown())]

    assert shown == [[row.fault, row.injection, row.goal] for row in table.rows()]
