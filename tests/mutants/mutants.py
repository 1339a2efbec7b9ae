"""The bugs that the tests must find: each a small change of one file, and the tests that are to fail of it."""

from tests.mutants import access, connections, creating, holding, keeping, moving, processes, queues, telling

MUTANTS = [
    mutant
    for area in (holding, creating, keeping, moving, queues, telling, access, connections, processes)
    for mutant in area.MUTANTS
]
