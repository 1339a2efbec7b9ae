"""Who may do what: scoped tokens, roles, and addresses that are fetched from."""

from tests.mutants.mutant import Mutant

MUTANTS = [
    Mutant(
        "every token may do everything",
        "aiserv/tokens.py",
        "return self.scope in ALLOWED[scope] and ",
        "return ",
        "tests/api/test_scopes.py -k its_routes",
    ),
    Mutant(
        "an admin of one owner rules all queues",
        "aiserv/tokens.py",
        ' and (scope != "admin" or self.owner is None)',
        "",
        "tests/api/test_scopes.py -k nobodys_own",
    ),
    Mutant(
        "a token reaches the jobs of other owners",
        "aiserv/api/auth.py",
        "if job_id not in await request.app[DATABASE].jobs_of_owner([job_id], owner):",
        "if False:",
        "tests/api/test_scopes.py -k job_of_another",
    ),
    Mutant(
        "jobs of any owner are the owner's",
        "sql/functions/jobs_of_owner.sql",
        " and job.owner_service = jobs_of_owner.owner_service",
        "",
        "tests/api/test_scopes.py -k job_of_another",
    ),
    Mutant(
        "a token sees the batches of other owners",
        "sql/functions/is_batch_of.sql",
        "job.owner_service <> is_batch_of.owner_service",
        "false",
        "tests/api/test_scopes.py -k jobs_of_others",
    ),
    Mutant(
        "a token creates for other owners",
        "aiserv/api/requests.py",
        "if caller.owner is not None and any(",
        "if False and any(",
        "tests/api/test_scopes.py -k owner_alone",
    ),
    Mutant(
        "lists are those of all owners",
        "aiserv/api/requests.py",
        '    return asked.model_construct(asked.model_fields_set, **{**fields, "owner_service": confined})',
        "    return asked",
        "tests/api/test_scopes.py -k lists_and_numbers",
    ),
    Mutant(
        "a claim gets the jobs of other owners",
        "aiserv/api/claims.py",
        "request.app[CLAIM_LEASE], request[CALLER].owner)",
        "request.app[CLAIM_LEASE], None)",
        "tests/api/test_scopes.py -k claim_gets",
    ),
    Mutant(
        "a claim settles the jobs of other owners",
        "aiserv/api/claims.py",
        "    if owner is None:\n        return set()\n",
        "    if owner:\n        return set()\n",
        "tests/api/test_scopes.py -k settlement_within",
    ),
    Mutant(
        "a service calls what is private",
        "sql/grants.sql",
        "if function.name not like '\\_%' and exists",
        "if exists",
        "tests/sql/test_roles.py -k public_functions",
    ),
    Mutant(
        "an address within an address is not seen",
        "workers/audio/addresses.py",
        "not any(_is_local(meant) for meant in _meanings(real))",
        "not _is_local(real)",
        "tests/workers/audio/test_addresses.py",
    ),
    Mutant(
        "a recording is fetched from anywhere",
        "workers/audio/sources.py",
        "if not limits.hosts.admits(host, str(peer[0])):",
        "if not peer:",
        "tests/workers/audio/test_sources.py -k redirect",
    ),
]
