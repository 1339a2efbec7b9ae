-- The roles of aiserv. Roles belong to the whole cluster, so this file is safe to run again and from
-- several databases at once. It needs CREATEROLE; `aiserv migrate` goes on without it and says so.
--
--   aiserv_owner     owns every object; nobody logs in as it
--   aiserv_service   may execute the functions and read the views: servers, workers, calling services
--   aiserv_readonly  may read the views: dashboards, reports

do $$
declare
    role_name text;
begin
    foreach role_name in array array['aiserv_owner', 'aiserv_service', 'aiserv_readonly'] loop
        if not exists (select from pg_catalog.pg_roles as role where role.rolname = role_name) then
            begin
                execute format('create role %I nologin', role_name);
            exception
                -- Another database of this cluster was faster.
                when duplicate_object or unique_violation then null;
            end;
        end if;
    end loop;

    -- Whoever installs must be able to hand the objects over, and to replace them later. From PostgreSQL 16 on, who
    -- makes a role is a member of it without the right to act as it.
    if not pg_has_role(
        current_user, 'aiserv_owner',
        case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end
    ) then
        execute format('grant aiserv_owner to %I', current_user);
    end if;
end;
$$;
