"""Connections: how many, how slow, and who goes first."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "who works gives way to a newcomer",
        "aiserv/http/connections.py",
        "next((each for each in others if each.is_idle), None)",
        "next(others, None)",
        "tests/test_connections.py::test_a_connection_with_a_request_never_gives_way",
    ),
    Mutant(
        "who has gone keeps a place",
        "aiserv/http/connections.py",
        "count = self.open_connections\n",
        "count = len(self._connections)\n",
        "tests/test_connections.py::test_who_has_gone_while_busy_keeps_no_place",
    ),
    Mutant(
        "a crowd keeps probes out",
        "aiserv/http/connections.py",
        "elif count <= self.most_connections + PROBE_CONNECTIONS:",
        "elif count < self.most_connections:",
        "tests/test_connections.py::test_when_all_are_busy_probes_are_answered_and_others_told_to_come_again",
    ),
    Mutant(
        "beyond the most everybody is answered",
        "aiserv/http/runner.py",
        "return _refuse(request) if _is_crowded(request) else server.request_handler(request)",
        "return server.request_handler(request)",
        "tests/test_connections.py::test_when_all_are_busy_probes_are_answered_and_others_told_to_come_again",
    ),
    Mutant(
        "who takes the place of a probe is none",
        "aiserv/http/connections.py",
        "handler.is_extra = longest_idle.is_extra",
        "handler.is_extra = False",
        "tests/test_connections.py::test_who_takes_a_place_for_probes_is_answered_no_more_than_they",
    ),
    Mutant(
        "clients take all files",
        "aiserv/http/serving.py",
        "return min(max(files - KEPT_FILES, files // 2), MAX_CONNECTIONS)",
        "return min(files, MAX_CONNECTIONS)",
        "tests/test_connections.py::test_some_files_are_kept_and_connections_bounded",
    ),
    Mutant(
        "a head may take for ever",
        "aiserv/http/serving.py",
        "keepalive_timeout=deadlines.idle,",
        "keepalive_timeout=3600.0,",
        "tests/api/test_slow_clients.py::test_a_connection_without_a_whole_head_is_closed_in_time",
    ),
    Mutant(
        "a body may take for ever",
        "aiserv/api/requests.py",
        "with anyio.move_on_after(patience) as arrival:",
        "with anyio.move_on_after(None) as arrival:",
        "tests/api/test_slow_clients.py::test_a_body_that_does_not_arrive_in_time_is_refused",
    ),
    Mutant(
        "an autovacuum is not asked to give way to an update",
        "aiserv/migrate.py",
        "                _interrupt_vacuums(connection)\n",
        "",
        "tests/faults/test_updates.py::test_who_writes_goes_on_while_an_update_waits_for_a_vacuum",
    ),
    Mutant(
        "an update holds up writers for as long as all its locks take",
        "aiserv/migrate.py",
        'LOCKS_TIMEOUT = "800ms"',
        'LOCKS_TIMEOUT = "0"',
        "tests/faults/test_updates.py::test_an_update_takes_its_locks_at_once_or_begins_anew",
    ),
    Mutant(
        "an update locks tables of somebody else",
        "aiserv/migrate.py",
        " and class.relowner = namespace.nspowner",
        "",
        "tests/test_schema.py::test_what_somebody_else_made_in_the_schema_is_no_hindrance_to_who_owns_it",
    ),
]
