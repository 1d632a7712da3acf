-- The two roles, for an empty server: the worker owns the schema, the edge reads it.
-- Passwords come from the environment, so they stand neither in a file nor in a process list.
\set ON_ERROR_STOP on
\getenv worker_password TW_WORKER_PASSWORD
\getenv edge_password TW_EDGE_PASSWORD

create role tillwire login password :'worker_password';
create role tillwire_edge login password :'edge_password';
alter role tillwire_edge set default_transaction_read_only = on;
grant pg_read_all_data to tillwire_edge;

create database tillwire owner tillwire;
revoke all on database tillwire from public;
grant connect on database tillwire to tillwire_edge;
