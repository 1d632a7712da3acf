-- Changing an e-mail address takes two partitions: the member's, and the one of the new address's identity, where all
-- who want it meet (workers/member/member_email.c tells the story). Both tables are beyond the data model: it has no
-- place for an address that is being asked for, nor for who may never get one. Types and lengths are those of `members`.

-- Addresses that became a member's by a change. One that a member registered with needs no row: its identity is that
-- member's id. Rows stay for ever, also when the member has gone on to another address: what was anybody's once is
-- never given to somebody else.
create table tillwire.tw_email_claims (
    id         uuid         primary key, -- the identity: the id a member who registers with the address would have
    member_id  uuid         not null,    -- whose address it is; no foreign key, because that member's row belongs to
                                         -- another partition, which a refill may reach later
    created_at timestamp(3) not null     -- when it was granted
);

-- Changes that are not decided yet, at most one a member, and what is needed to end the command that began one: its
-- ledger row says 'accepted' until then, and may be swept before.
create table tillwire.tw_email_changes (
    member_id     uuid                     primary key references tillwire.members (id),
    change_id     uuid                     not null, -- the command
    email         varchar(254)             not null, -- the new address as typed
    email_folded  varchar(254) collate "C" not null, -- not unique: two may ask for one address, one will get it
    caller        uuid                     not null, -- on whose behalf the command was sent
    fingerprint   bytea                    not null, -- the command's, as in the ledger
    record_offset bigint                   not null, -- of the command's record
    submitted_at  timestamp(3)             not null  -- when the edge wrote it, by its clock
);

update tillwire.tw_meta set value = '3' where name = 'schema_version';
