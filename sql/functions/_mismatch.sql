create or replace function aiserv._mismatch(
    idempotency_key text,
    job_id          uuid
)
returns aiserv._refusal
language plpgsql
immutable
set search_path = ''
as $$
begin
    return (
        'JK422',
        format('idempotency_key %s was used for another body', to_json(_mismatch.idempotency_key)),
        format('It made job %s.', _mismatch.job_id),
        'Repeat the request with the body of the first time, or choose a new key.'
    )::aiserv._refusal;
end;
$$;

comment on function aiserv._mismatch is 'The words for an idempotency key that was used for another body.';
