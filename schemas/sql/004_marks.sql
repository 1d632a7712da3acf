-- What it takes to build a second copy of this schema beside it and to put that into its place: partitions that stand
-- still meanwhile, and functions that go with the schema when its name changes.
--
-- The functions of 001 named their tables with the schema. From now on a name is looked for where the session looks:
-- whoever calls them has the schema first in its search_path (workers/member/pg_pipeline.c). So the functions of a copy
-- work on the copy, and after a change of names on the tables they lie beside.

-- 0: none. Else the partition is frozen: tw_advance() refuses, housekeeping goes on. Above 0 it is a lease, below 0 it
-- lasts until its maker takes it away (include/tillwire/store.h).
alter table tillwire.tw_progress add column mark bigint not null default 0;

-- As before, and whoever finds a mark is refused like one who finds another watermark; so is, when p_table is not 0, who
-- has read from another tw_progress than this one: from a schema that was here before.
drop function tillwire.tw_advance(integer, bigint, bigint, bigint, bytea, bytea);
create function tillwire.tw_advance(p_partition integer, p_first_offset bigint, p_next_offset bigint, p_clock_ms bigint,
                                    p_last_hash bytea, p_outbox bytea, p_table bigint default 0)
    returns void language plpgsql as
$$
begin
    if p_first_offset = 0 then
        insert into tw_progress as stored (partition, next_offset, clock_ms, last_hash, outbox)
        values (p_partition, p_next_offset, p_clock_ms, p_last_hash, p_outbox)
        on conflict (partition) do update
            set next_offset = excluded.next_offset, clock_ms = excluded.clock_ms,
                last_hash = excluded.last_hash, outbox = excluded.outbox
            where stored.next_offset = 0 and stored.mark = 0;
    else
        update tw_progress
        set next_offset = p_next_offset, clock_ms = p_clock_ms, last_hash = p_last_hash, outbox = p_outbox
        where partition = p_partition and next_offset = p_first_offset and mark = 0
          and (p_table = 0 or tableoid::bigint = p_table);
    end if;
    if not found then
        raise exception using errcode = 'TW001',
            message = format('partition %s is frozen, its watermark is not %s, or it is of another schema', p_partition,
                             p_first_offset);
    end if;
end
$$;

-- A compare-and-set of the mark at a watermark, or it raises. A partition that nothing was folded of gets a row of
-- zeros, which reads like none.
create function tillwire.tw_set_mark(p_partition integer, p_next_offset bigint, p_from bigint, p_to bigint)
    returns void language plpgsql as
$$
begin
    if p_next_offset = 0 and p_from = 0 then
        insert into tw_progress as stored (partition, next_offset, clock_ms, last_hash, outbox, mark)
        values (p_partition, 0, 0, decode(repeat('00', 16), 'hex'), '', p_to)
        on conflict (partition) do update set mark = excluded.mark where stored.next_offset = 0 and stored.mark = 0;
    else
        update tw_progress set mark = p_to
        where partition = p_partition and next_offset = p_next_offset and mark = p_from;
    end if;
    if not found then
        raise exception using errcode = 'TW001',
            message = format('the watermark of partition %s is not %s, or its mark is not %s', p_partition,
                             p_next_offset, p_from);
    end if;
end
$$;

create or replace function tillwire.tw_hold(p_partition integer, p_next_offset bigint) returns boolean
    language plpgsql as
$$
declare
    stored bigint;
begin
    select next_offset into stored from tw_progress where partition = p_partition for update;
    if coalesce(stored, 0) <> p_next_offset then
        raise exception using errcode = 'TW001',
            message = format('the watermark of partition %s is not %s', p_partition, p_next_offset);
    end if;
    return stored is not null;
end
$$;

create or replace function tillwire.tw_forget_outbox(p_partition integer, p_next_offset bigint) returns void
    language plpgsql as
$$
begin
    if tw_hold(p_partition, p_next_offset) then
        perform set_config('synchronous_commit', 'off', true);
        update tw_progress set outbox = '' where partition = p_partition and outbox <> '';
    end if;
end
$$;

create or replace function tillwire.tw_sweep(p_partition integer, p_next_offset bigint, p_before timestamp(3),
                                             p_pages integer, p_limit integer)
    returns void language plpgsql as
$$
declare
    pages  bigint := pg_relation_size('tw_ledger') / current_setting('block_size')::bigint;
    first  bigint := p_pages * floor(random() * ceil(pages::numeric / p_pages)::float8)::bigint;
    start  tid    := format('(%s,0)', first);
    beyond tid    := format('(%s,0)', first + p_pages);
begin
    if tw_hold(p_partition, p_next_offset) then
        perform set_config('synchronous_commit', 'off', true);
        delete from tw_ledger
        where ctid = any (array(select ctid from tw_ledger
                                where ctid >= start and ctid < beyond
                                  and partition = p_partition and decided_at < p_before limit p_limit));
    end if;
end
$$;

-- As before, but only of transactions that hold something of this very schema: one that fills a copy of it may take
-- longer than a worker's time-out.
create or replace function tillwire.tw_end_stuck(p_longer_than_ms integer) returns bigint language sql as
$$
    select count(pg_terminate_backend(pid))
    from pg_stat_activity as activity
    where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
      and wait_event = 'ClientRead' and backend_xid is not null
      and xact_start < clock_timestamp() - p_longer_than_ms * interval '1 millisecond'
      and exists (select from pg_locks
                  where locktype = 'relation' and database = datid and relation = to_regclass('tw_progress')
                    and pg_locks.pid = activity.pid)
$$;

update tillwire.tw_meta set value = '4' where name = 'schema_version';
