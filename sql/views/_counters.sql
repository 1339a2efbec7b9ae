create or replace view aiserv._counters as
select
    tally.minute, tally.owner_service, tally.task_type, tally.model_profile, tally.error_category,
    tally.total, tally.scheduled, tally.completed, tally.failed, tally.cancelled
from aiserv.tally as tally
where tally.minute = '-infinity'
union all
select
    delta.minute, delta.owner_service, delta.task_type, delta.model_profile, delta.error_category,
    delta.total, delta.scheduled, delta.completed, delta.failed, delta.cancelled
from aiserv.delta as delta;

comment on view aiserv._counters is 'The counters of all time: the totals and what has not been folded into them. To be summed.';
