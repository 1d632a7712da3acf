package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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

// Carts under keys of their own: an item each, a summary each, and a set of what is in the cart, because every change
// moves the end of all of its keys, to the same millisecond, seven days on.
type redisStore struct {
	client *redis.Client

	lock    sync.Mutex // guards what check compares
	members map[string]bool
	pieces  int64
}

func openRedis(_ context.Context, uri string) (store, error) {
	options, err := redis.ParseURL(uri)
	if err != nil {
		return nil, err
	}
	return &redisStore{client: redis.NewClient(options), members: make(map[string]bool)}, nil
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

func key(member, what string) string { return "bench:cart:" + member + ":" + what }

const (
	summaryName = "summary"
	linesName   = "lines"
)

// What a batch needs to know of a cart and changes in it.
type cart struct {
	lines   *redis.StringSliceCmd // products that were in it before the batch
	items   map[string]*item      // by product: those that the batch adds to
	summary *summary
}

type place struct {
	cart *cart
	what string // a product or the summary
}

func (r *redisStore) write(ctx context.Context, batch []*kgo.Record) error {
	adds := make([]addItem, len(batch))
	for i, record := range batch {
		if err := msgpack.Unmarshal(record.Value, &adds[i]); err != nil {
			return err
		}
	}
	carts, err := r.load(ctx, adds)
	if err != nil {
		return err
	}
	for i := range adds {
		carts[adds[i].MemberID].apply(&adds[i], batch[i].Timestamp.UTC())
	}
	r.remember(adds)
	return r.save(ctx, carts)
}

// One round trip for everything the batch touches.
func (r *redisStore) load(ctx context.Context, adds []addItem) (map[string]*cart, error) {
	pipe := r.client.Pipeline()
	carts := make(map[string]*cart)
	var keys []string
	var places []place // of the keys' values
	for i := range adds {
		member, product := adds[i].MemberID, adds[i].ProductID
		touched := carts[member]
		if touched == nil {
			touched = &cart{pipe.SMembers(ctx, key(member, linesName)), make(map[string]*item), nil}
			carts[member] = touched
			keys, places = append(keys, key(member, summaryName)), append(places, place{touched, summaryName})
		}
		if _, known := touched.items[product]; !known {
			touched.items[product] = nil
			keys, places = append(keys, key(member, product)), append(places, place{touched, product})
		}
	}
	values := pipe.MGet(ctx, keys...)
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, err
	}
	for i, value := range values.Val() {
		text, found := value.(string)
		if !found {
			continue
		}
		if err := places[i].cart.decode(places[i].what, text); err != nil {
			return nil, err
		}
	}
	return carts, nil
}

func (c *cart) decode(what, text string) error {
	if what == summaryName {
		return json.Unmarshal([]byte(text), &c.summary)
	}
	line := new(item)
	c.items[what] = line
	return json.Unmarshal([]byte(text), line)
}

// For check.
func (r *redisStore) remember(adds []addItem) {
	r.lock.Lock()
	defer r.lock.Unlock()
	for i := range adds {
		r.members[adds[i].MemberID] = true
		r.pieces += adds[i].Quantity
	}
}

func (c *cart) apply(add *addItem, at time.Time) {
	line := c.items[add.ProductID]
	if line == nil {
		line = &item{ProductID: add.ProductID, ProductName: add.ProductName, Price: json.Number(add.Price), AddedAt: at}
		c.items[add.ProductID] = line
	}
	if c.summary == nil {
		c.summary = &summary{TotalPrice: "0.00"}
	}
	line.Quantity += add.Quantity
	c.summary.TotalItems += add.Quantity
	c.summary.TotalPrice = decimal(minor(c.summary.TotalPrice) + add.Quantity*minor(line.Price))
	c.summary.UpdatedAt = at
}

// One round trip, too.
func (r *redisStore) save(ctx context.Context, carts map[string]*cart) error {
	pipe := r.client.Pipeline()
	for member, touched := range carts {
		touched.save(ctx, pipe, member)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// What is in the cart and was not added to only gets the new end.
func (c *cart) save(ctx context.Context, pipe redis.Pipeliner, member string) {
	ends := c.summary.UpdatedAt.Add(cartLife)
	fresh := make([]any, 0, len(c.items))
	for product, line := range c.items {
		set(ctx, pipe, key(member, product), line, ends)
		if !slices.Contains(c.lines.Val(), product) {
			fresh = append(fresh, product)
		}
	}
	for _, product := range c.lines.Val() {
		if c.items[product] == nil {
			pipe.PExpireAt(ctx, key(member, product), ends)
		}
	}
	if len(fresh) > 0 {
		pipe.SAdd(ctx, key(member, linesName), fresh...)
	}
	pipe.PExpireAt(ctx, key(member, linesName), ends)
	set(ctx, pipe, key(member, summaryName), c.summary, ends)
}

// SetArgs knows whole seconds only.
func set(ctx context.Context, pipe redis.Pipeliner, key string, value any, ends time.Time) {
	text, _ := json.Marshal(value)
	pipe.Do(ctx, "SET", key, text, "PXAT", ends.UnixMilli())
}

// All pieces are there, and each cart ends as a whole.
func (r *redisStore) check(ctx context.Context) error {
	var pieces int64
	for member := range r.members {
		text, err := r.client.Get(ctx, key(member, summaryName)).Bytes()
		if err != nil {
			return err
		}
		var total summary
		if err := json.Unmarshal(text, &total); err != nil {
			return err
		}
		pieces += total.TotalItems
		if err := r.checkEnds(ctx, member, total.UpdatedAt.Add(cartLife)); err != nil {
			return err
		}
	}
	if pieces != r.pieces {
		return fmt.Errorf("%d pieces of %d", pieces, r.pieces)
	}
	return nil
}

func (r *redisStore) checkEnds(ctx context.Context, member string, ends time.Time) error {
	products, err := r.client.SMembers(ctx, key(member, linesName)).Result()
	if err != nil {
		return err
	}
	pipe := r.client.Pipeline()
	for _, what := range append(products, summaryName, linesName) {
		pipe.PExpireTime(ctx, key(member, what))
	}
	answers, err := pipe.Exec(ctx)
	for _, answer := range answers {
		if at := answer.(*redis.DurationCmd).Val(); err == nil && at.Milliseconds() != ends.UnixMilli() {
			err = fmt.Errorf("a key of cart %s ends at %v, not at %v", member, at, ends)
		}
	}
	return err
}
