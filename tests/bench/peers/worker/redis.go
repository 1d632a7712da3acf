package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/vmihailenco/msgpack/v5"
)

const cartLife = 7 * 24 * time.Hour

type addItem struct {
	MemberID    string `msgpack:"member_id"`
	ProductID   string `msgpack:"product_id"`
	Quantity    int64  `msgpack:"quantity"`
	ProductName string `msgpack:"product_name"`
	Price       string `msgpack:"price"`
}

type item struct {
	ProductID   string      `json:"product_id"`
	ProductName string      `json:"product_name"`
	Price       json.Number `json:"price"`
	Quantity    int64       `json:"quantity"`
	AddedAt     time.Time   `json:"added_at"`
}

type summary struct {
	TotalItems int64       `json:"total_items"`
	TotalPrice json.Number `json:"total_price"`
	UpdatedAt  time.Time   `json:"updated_at"`
}

// Carts under keys of their own: an item each, a summary each, both for seven days.
type redisStore struct {
	client *redis.Client

	lock      sync.Mutex // guards what check compares
	summaries map[string]bool
	pieces    int64
}

func openRedis(_ context.Context, uri string) (store, error) {
	options, err := redis.ParseURL(uri)
	if err != nil {
		return nil, err
	}
	return &redisStore{client: redis.NewClient(options), summaries: make(map[string]bool)}, nil
}

func (r *redisStore) prepare(ctx context.Context) error {
	keys, err := r.client.Keys(ctx, "bench:cart:*").Result()
	for len(keys) > 0 && err == nil {
		some := min(len(keys), 10000)
		err = r.client.Unlink(ctx, keys[:some]...).Err()
		keys = keys[some:]
	}
	return err
}

func minor(price json.Number) int64 {
	value, _ := strconv.ParseInt(strings.Replace(string(price), ".", "", 1), 10, 64)
	return value
}

func decimal(minor int64) json.Number {
	return json.Number(fmt.Sprintf("%d.%02d", minor/100, minor%100))
}

func itemKey(add *addItem) string    { return "bench:cart:" + add.MemberID + ":" + add.ProductID }
func summaryKey(add *addItem) string { return "bench:cart:" + add.MemberID + ":summary" }

// What a batch touches, by key.
type carts struct {
	items     map[string]*item
	summaries map[string]*summary
}

func (r *redisStore) write(ctx context.Context, batch []*kgo.Record) error {
	adds := make([]addItem, len(batch))
	for i, record := range batch {
		if err := msgpack.Unmarshal(record.Value, &adds[i]); err != nil {
			return err
		}
	}
	touched, err := r.load(ctx, adds)
	if err != nil {
		return err
	}
	for i := range adds {
		apply(&touched, &adds[i], batch[i].Timestamp.UTC())
	}
	r.remember(adds)
	return r.save(ctx, &touched)
}

// One round trip for everything the batch touches.
func (r *redisStore) load(ctx context.Context, adds []addItem) (carts, error) {
	touched := carts{make(map[string]*item), make(map[string]*summary)}
	for i := range adds {
		touched.items[itemKey(&adds[i])] = nil
		touched.summaries[summaryKey(&adds[i])] = nil
	}
	pipe := r.client.Pipeline()
	items, summaries := readAll(ctx, pipe, touched.items), readAll(ctx, pipe, touched.summaries)
	if _, err := pipe.Exec(ctx); err != nil {
		return touched, err
	}
	if err := decodeAll(items, touched.items); err != nil {
		return touched, err
	}
	return touched, decodeAll(summaries, touched.summaries)
}

type reading struct {
	keys   []string
	answer *redis.SliceCmd
}

func readAll[T any](ctx context.Context, pipe redis.Pipeliner, wanted map[string]*T) reading {
	keys := make([]string, 0, len(wanted))
	for key := range wanted {
		keys = append(keys, key)
	}
	return reading{keys, pipe.MGet(ctx, keys...)}
}

func decodeAll[T any](read reading, into map[string]*T) error {
	for i, value := range read.answer.Val() {
		text, found := value.(string)
		if !found {
			continue
		}
		decoded := new(T)
		if err := json.Unmarshal([]byte(text), decoded); err != nil {
			return err
		}
		into[read.keys[i]] = decoded
	}
	return nil
}

// For check.
func (r *redisStore) remember(adds []addItem) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for i := range adds {
		r.summaries[summaryKey(&adds[i])] = true
		r.pieces += adds[i].Quantity
	}
}

func apply(touched *carts, add *addItem, at time.Time) {
	line := touched.items[itemKey(add)]
	if line == nil {
		line = &item{ProductID: add.ProductID, ProductName: add.ProductName, Price: json.Number(add.Price), AddedAt: at}
		touched.items[itemKey(add)] = line
	}
	total := touched.summaries[summaryKey(add)]
	if total == nil {
		total = &summary{TotalPrice: "0.00"}
		touched.summaries[summaryKey(add)] = total
	}
	line.Quantity += add.Quantity
	total.TotalItems += add.Quantity
	total.TotalPrice = decimal(minor(total.TotalPrice) + add.Quantity*minor(line.Price))
	total.UpdatedAt = at
}

func (r *redisStore) save(ctx context.Context, touched *carts) error {
	pipe := r.client.Pipeline()
	for key, line := range touched.items {
		text, _ := json.Marshal(line)
		pipe.Set(ctx, key, text, cartLife)
	}
	for key, total := range touched.summaries {
		text, _ := json.Marshal(total)
		pipe.Set(ctx, key, text, cartLife)
	}
	_, err := pipe.Exec(ctx)
	return err
}

func (r *redisStore) check(ctx context.Context) error {
	var pieces int64
	for key := range r.summaries {
		text, err := r.client.Get(ctx, key).Bytes()
		if err != nil {
			return err
		}
		var total summary
		if err := json.Unmarshal(text, &total); err != nil {
			return err
		}
		pieces += total.TotalItems
	}
	if pieces != r.pieces {
		return fmt.Errorf("%d pieces of %d", pieces, r.pieces)
	}
	return nil
}
