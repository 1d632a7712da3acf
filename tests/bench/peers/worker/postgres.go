package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/vmihailenco/msgpack/v5"
)

type register struct {
	MemberID     string `msgpack:"member_id"`
	Email        string `msgpack:"email"`
	EmailFolded  string `msgpack:"email_folded"`
	PasswordHash string `msgpack:"password_hash"`
	FullName     string `msgpack:"full_name"`
	PhoneNumber  string `msgpack:"phone_number"`
}

// Members with the columns and indexes of tillwire's own table.
type postgres struct {
	connection *pgx.Conn
	written    int64
}

func openPostgres(ctx context.Context, uri string) (store, error) {
	connection, err := pgx.Connect(ctx, uri)
	return &postgres{connection: connection}, err
}

func (p *postgres) prepare(ctx context.Context) error {
	_, err := p.connection.Exec(ctx, `
		create schema if not exists bench;
		create table if not exists bench.members (like tillwire.members including all) with (fillfactor = 85);
		truncate bench.members`)
	return err
}

const upsert = `
	insert into bench.members (id, email, email_folded, password_hash, full_name, phone_number, status, created_at,
		updated_at, version, credential_version, is_service)
	select id, email, email_folded, password_hash, full_name, phone_number, 'ACTIVE', at, at, 1, 1, false
	from unnest($1::uuid[], $2::varchar[], $3::varchar[], $4::varchar[], $5::varchar[], $6::varchar[], $7::timestamp[])
		as row (id, email, email_folded, password_hash, full_name, phone_number, at)
	on conflict (id) do update set email = excluded.email, full_name = excluded.full_name,
		phone_number = excluded.phone_number, updated_at = excluded.updated_at, version = members.version + 1`

func (p *postgres) write(ctx context.Context, batch []*kgo.Record) error {
	n := len(batch)
	ids, at := make([]uuid.UUID, n), make([]time.Time, n)
	emails, folded, hashes, names, phones := make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
	for i, record := range batch {
		var member register
		if err := msgpack.Unmarshal(record.Value, &member); err != nil {
			return err
		}
		id, err := uuid.Parse(member.MemberID)
		if err != nil {
			return err
		}
		ids[i], at[i] = id, record.Timestamp.UTC()
		emails[i], folded[i], hashes[i] = member.Email, member.EmailFolded, member.PasswordHash
		names[i], phones[i] = member.FullName, member.PhoneNumber
	}
	p.written += int64(n)
	_, err := p.connection.Exec(ctx, upsert, ids, emails, folded, hashes, names, phones, at)
	return err
}

func (p *postgres) check(ctx context.Context) error {
	var rows int64
	err := p.connection.QueryRow(ctx, "select count(*) from bench.members").Scan(&rows)
	if err == nil && rows != p.written {
		err = fmt.Errorf("%d rows of %d records", rows, p.written)
	}
	return err
}
