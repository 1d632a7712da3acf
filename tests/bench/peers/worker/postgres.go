package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
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
	pool    *pgxpool.Pool
	before  int64 // rows
	written atomic.Int64
}

func openPostgres(ctx context.Context, uri string) (store, error) {
	pool, err := pgxpool.New(ctx, uri)
	return &postgres{pool: pool}, err
}

// As many rows to begin with as tillwire's own table has: indexes of a table that is empty are cheaper. `like` leaves
// out only how full pages get.
func (p *postgres) prepare(ctx context.Context) error {
	for _, statement := range []string{
		"create schema if not exists bench",
		"create table if not exists bench.members (like tillwire.members including all) with (fillfactor = 85)",
		"truncate bench.members",
		"insert into bench.members select * from tillwire.members",
		"vacuum analyze bench.members",
	} {
		if _, err := p.pool.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return p.pool.QueryRow(ctx, countRows).Scan(&p.before)
}

const countRows = "select count(*) from bench.members"

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
	// Not []uuid.UUID, which pgx would encode by way of text: ten times the time.
	ids, at := make([][16]byte, n), make([]time.Time, n)
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
	p.written.Add(int64(n))
	_, err := p.pool.Exec(ctx, upsert, ids, emails, folded, hashes, names, phones, at)
	return err
}

func (p *postgres) check(ctx context.Context) error {
	var rows int64
	err := p.pool.QueryRow(ctx, countRows).Scan(&rows)
	if err == nil && rows-p.before != p.written.Load() {
		err = fmt.Errorf("%d new rows of %d records", rows-p.before, p.written.Load())
	}
	return err
}
