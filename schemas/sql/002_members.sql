-- Members, their addresses and their tokens: the data model's tables, columns and types; what is beyond it says why.
--
-- Times are `timestamp`, as the data model has them, in UTC and with the milliseconds every tillwire time has. Without
-- a zone, because a value then never depends on a session's TimeZone: what the worker wrote is what every reader sees.
--
-- Lengths are those of schemas/commands (bytes there, characters here, so the database never refuses what a message
-- may hold); they stand here for whoever writes beside the log, which nobody should.

create type tillwire.member_status as enum ('ACTIVE', 'INACTIVE', 'SUSPENDED');

create table tillwire.members (
    id                 uuid                   primary key, -- UUIDv8 of the folded e-mail it registered with
    email              varchar(254)           not null,    -- as typed
    password_hash      varchar(128),                       -- argon2id; null: a service member, who cannot log in
    full_name          varchar(200)           not null,
    phone_number       varchar(16),
    status             tillwire.member_status not null,
    created_at         timestamp(3)           not null,
    updated_at         timestamp(3)           not null,
    last_login_at      timestamp(3),
    -- beyond the data model
    email_folded       varchar(254) collate "C" not null,  -- unique, and what a login looks for; by bytes, because
                                                           -- an index in a language's order breaks with its rules
    version            bigint                 not null,    -- If-Match and the order of events
    credential_version bigint                 not null,    -- tells a command that it rests on an old password or status
    is_service         boolean                not null,    -- operators and merchants: tokens are issued, no login
    constraint members_email_folded_key unique (email_folded)
) with (fillfactor = 85); -- room on the page for the next login's row

-- Pages of the list, oldest first. Those of a rare status have one of their own, else a page would pass over nearly
-- everybody. Neither holds what a login changes.
create index members_page on tillwire.members (created_at, id);
create index members_page_not_active on tillwire.members (status, created_at, id) where status <> 'ACTIVE';

create table tillwire.member_addresses (
    id            uuid         primary key,
    member_id     uuid         not null references tillwire.members (id),
    label         varchar(50)  not null,
    address_line1 text         not null,
    address_line2 text,
    city          varchar(100) not null,
    province      varchar(100) not null,
    postal_code   varchar(20)  not null,
    is_default    boolean      not null,
    created_at    timestamp(3) not null
);
create index member_addresses_member_id on tillwire.member_addresses (member_id);

-- At most one default. Checked row by row: a default is taken away in an earlier statement than one is given.
create unique index member_addresses_one_default on tillwire.member_addresses (member_id) where is_default;

create type tillwire.member_token_kind as enum ('access', 'refresh', 'service');

create table tillwire.jwt_tokens (
    id         uuid                       primary key, -- the token's `jti`
    member_id  uuid                       not null references tillwire.members (id),
    token_hash varchar(64)                not null,    -- SHA-256, lower-case hex; the token itself is nowhere
    expires_at timestamp(3)               not null,
    is_revoked boolean                    not null,
    created_at timestamp(3)               not null,
    -- beyond the data model
    family_id  uuid                       not null,    -- one session: a spent refresh token ends all of it
    kind       tillwire.member_token_kind not null,    -- what it is good for
    scope      varchar(512)               not null,    -- separated by single spaces; empty for a member's own
    label      varchar(100)               not null     -- what an issued token is for, for people
);
create index jwt_tokens_member_id on tillwire.jwt_tokens (member_id);

update tillwire.tw_meta set value = '2' where name = 'schema_version';
