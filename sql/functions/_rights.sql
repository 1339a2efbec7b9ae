create or replace function aiserv._rights(
    owner  oid,
    rights aclitem[]
)
returns text
language plpgsql
stable
set search_path = pg_temp
as $$
begin
    return concat_ws(
        ', ', format('owned by %I', pg_catalog.pg_get_userbyid(_rights.owner)),
        (
            select string_agg(format('%s to %s', lower(given.privilege_type), grantee.rolname), ', ' order by grantee.rolname, given.privilege_type)
            from pg_catalog.aclexplode(_rights.rights) as given
            join pg_catalog.pg_roles as grantee on grantee.oid = given.grantee
            where grantee.rolname in ('aiserv_service', 'aiserv_readonly')
        )
    );
end;
$$;

comment on function aiserv._rights is
'Who owns a thing, and what our own roles may do with it; whether others may do too much is for inspect_rights.';
