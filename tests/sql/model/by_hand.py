"""What nobody may do to a job in one of these states, the owner of the tables included."""

STATUSES = ["pending", "running", "completed", "failed", "cancelled"]
LIVE = {"pending", "running"}
BY_HAND: dict[str, tuple[str, set[str]]] = {
    "finish": ("update aiserv.job set outcome = 'cancelled', finished_at = now() where id = %(id)s", LIVE),
    "delete": ("delete from aiserv.job where id = %(id)s", LIVE),
    "rewrite": ("update aiserv.job set result = '7' where id = %(id)s", {"completed", "failed", "cancelled"}),
    "reopen": (
        "update aiserv.job set outcome = null, finished_at = null where id = %(id)s",
        {"completed", "cancelled"},
    ),
    "rename": ("update aiserv.job set owner_service = 'z' where id = %(id)s", set(STATUSES)),
    "forget": ("update aiserv.job set attempt = attempt - 1 where id = %(id)s", set(STATUSES)),
    "lease": (
        """
        insert into aiserv.lease (
            job_id, attempt, worker_id, instance_id, owner_service, task_type, model_profile, lease, lease_expires_at,
            started_at, updated_at
        )
        select id, 9, 'me', id, owner_service, task_type, model_profile, '1 h', now() + '1 h', now(), now()
        from aiserv.job where id = %(id)s
        """,
        set(STATUSES),
    ),
    "line up": (
        """
        insert into aiserv.ready (model_profile, task_type, priority, owner_service, run_at, job_id, input_bytes)
        select model_profile, task_type, priority, owner_service, run_at, id, input_bytes
        from aiserv.job where id = %(id)s
        """,
        set(STATUSES),
    ),
}
