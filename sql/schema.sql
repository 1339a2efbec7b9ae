-- The schema itself, and what is installed in it.

do $$
begin
    if exists (select from pg_catalog.pg_roles as role where role.rolname = 'aiserv_owner')
        and pg_has_role(
            current_user, 'aiserv_owner',
            case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end
        ) then
        create schema if not exists aiserv authorization aiserv_owner;
        -- Until the end of the transaction: what is created from here on belongs to the owner.
        set local role aiserv_owner;
    else
        create schema if not exists aiserv;
    end if;
end;
$$;

create table if not exists aiserv.installed (
    file         text        not null,
    checksum     text,
    version      text,
    installed_at timestamptz not null default clock_timestamp(),
    constraint installed_pkey primary key (file)
);

comment on table aiserv.installed is
'The files of sql/ that this schema was made of, and by which version of aiserv. A migration runs once; another file again when its
SHA-256 differs, unless a newer version wrote it. psql leaves neither.';

create table if not exists aiserv.shape (
    object     text not null,
    definition text not null,
    constraint shape_pkey primary key (object)
);

comment on table aiserv.shape is 'What was installed, as the catalog said it then: what differs from it now was changed by hand.';
