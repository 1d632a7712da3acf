-- What makes the database a fold of member.commands: progress, ledger, and the values everything else is pinned to.
--
-- Each file runs in one transaction and ends by setting `schema_version` to its own number.

create schema tillwire;

-- Values that must stay as they are for as long as the data lives: a worker or an edge that differs refuses to start.
--   schema_version   number of the last migration
--   id_key_check     tw_id_key_check() of the key that makes member ids      (written by `twctl schema apply`)
--   folding_version  TW_FOLDING_VERSION, how e-mail addresses are folded     (written by `twctl schema apply`)
create table tillwire.tw_meta (
    name  varchar primary key,
    value varchar not null
);

-- One row per partition of member.commands, made by its first commit; no row means offset 0.
create table tillwire.tw_progress (
    partition   integer primary key,
    next_offset bigint not null check (next_offset >= 0), -- the watermark: first offset that is not folded yet
    clock_ms    bigint not null,                          -- largest record timestamp so far, ms since 1970
    last_hash   bytea  not null,                          -- of record next_offset - 1
    outbox      bytea  not null                           -- what the last commit has to publish; empty: none
) with (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500);

-- The outbox is already packed and lives for one turn: compressing it would only cost time.
alter table tillwire.tw_progress alter column outbox set storage external;

-- 'accepted': decided, but a later command ends it (a saga); until then it is the row that tells a repeat.
create type tillwire.command_status as enum ('succeeded', 'rejected', 'dead_lettered', 'accepted');

-- Commands of the last 24 hours by their partition's clock. `id` has its partition bits zeroed, so a reader finds a
-- command by the key's first column wherever it went.
create table tillwire.tw_ledger (
    id            uuid                    not null,
    partition     integer                 not null,
    caller        uuid,                             -- null: anonymous
    fingerprint   bytea                   not null, -- HMAC of the request's body; never the body
    command_type  varchar                 not null,
    status        tillwire.command_status not null,
    http_status   smallint                not null, -- the final code a waiting client gets; accepted: 202
    problem       varchar,                          -- null: none
    detail        varchar,
    resource      varchar,
    cause_offset  bigint                  not null, -- of the record that was decided
    submitted_at  timestamp(3)            not null, -- UTC, by the edge's clock
    decided_at    timestamp(3)            not null, -- UTC, by the partition's clock
    primary key (id, partition)
);

-- The compare-and-set of every commit, and its first statement. It raises, because the pipeline's COMMIT is already on
-- its way when a client would see a count of rows. Two owners at the very first commit meet in the primary key: the
-- second waits for the first, then takes the update branch and finds another watermark.
create function tillwire.tw_advance(p_partition integer, p_first_offset bigint, p_next_offset bigint, p_clock_ms bigint,
                                    p_last_hash bytea, p_outbox bytea)
    returns void language plpgsql as
$$
begin
    if p_first_offset = 0 then
        insert into tillwire.tw_progress as stored (partition, next_offset, clock_ms, last_hash, outbox)
        values (p_partition, p_next_offset, p_clock_ms, p_last_hash, p_outbox)
        on conflict (partition) do update
            set next_offset = excluded.next_offset, clock_ms = excluded.clock_ms,
                last_hash = excluded.last_hash, outbox = excluded.outbox
            where stored.next_offset = 0;
    else
        update tillwire.tw_progress
        set next_offset = p_next_offset, clock_ms = p_clock_ms, last_hash = p_last_hash, outbox = p_outbox
        where partition = p_partition and next_offset = p_first_offset;
    end if;
    if not found then
        raise exception using errcode = 'TW001',
            message = format('the watermark of partition %s is not %s', p_partition, p_first_offset);
    end if;
end
$$;

-- The fence of housekeeping: holds the partition's row until the transaction ends, or raises. False: there is no row
-- yet, which is what watermark 0 may look like.
create function tillwire.tw_hold(p_partition integer, p_next_offset bigint) returns boolean language plpgsql as
$$
declare
    stored bigint;
begin
    select next_offset into stored from tillwire.tw_progress where partition = p_partition for update;
    if coalesce(stored, 0) <> p_next_offset then
        raise exception using errcode = 'TW001',
            message = format('the watermark of partition %s is not %s', p_partition, p_next_offset);
    end if;
    return stored is not null;
end
$$;

-- Need not survive a crash: an outbox that comes back is published again, and readers drop repeats.
create function tillwire.tw_forget_outbox(p_partition integer, p_next_offset bigint) returns void language plpgsql as
$$
begin
    if tillwire.tw_hold(p_partition, p_next_offset) then
        perform set_config('synchronous_commit', 'off', true);
        update tillwire.tw_progress set outbox = '' where partition = p_partition and outbox <> '';
    end if;
end
$$;

-- Drops up to p_limit ledger rows decided before p_before. They no longer count, so nobody can tell whether it ran.
-- It looks at p_pages pages of the table, chosen by chance: a bounded amount however large the table is, and without an
-- index on the time, which every commit would pay for. (A block range index would not do: its ranges never shrink, so
-- after a day, when pages are used again, all of them seem to hold old rows.)
create function tillwire.tw_sweep(p_partition integer, p_next_offset bigint, p_before timestamp(3), p_pages integer,
                                  p_limit integer)
    returns void language plpgsql as
$$
declare
    pages  bigint := pg_relation_size('tillwire.tw_ledger') / current_setting('block_size')::bigint;
    first  bigint := p_pages * floor(random() * ceil(pages::numeric / p_pages)::float8)::bigint;
    start  tid    := format('(%s,0)', first);
    beyond tid    := format('(%s,0)', first + p_pages);
begin
    if tillwire.tw_hold(p_partition, p_next_offset) then
        perform set_config('synchronous_commit', 'off', true);
        delete from tillwire.tw_ledger
        where ctid = any (array(select ctid from tillwire.tw_ledger
                                where ctid >= start and ctid < beyond
                                  and partition = p_partition and decided_at < p_before limit p_limit));
    end if;
end
$$;

-- Ends transactions of this program's other sessions that have written something and wait for their client for longer
-- than a worker's time-out: a worker that was stopped while it sent a commit. Returns how many.
create function tillwire.tw_end_stuck(p_longer_than_ms integer) returns bigint language sql as
$$
    select count(pg_terminate_backend(pid))
    from pg_stat_activity
    where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
      and wait_event = 'ClientRead' and backend_xid is not null
      and xact_start < clock_timestamp() - p_longer_than_ms * interval '1 millisecond'
$$;

insert into tillwire.tw_meta (name, value) values ('schema_version', '1');
