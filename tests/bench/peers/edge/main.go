// Peer of the edge: the service a Go team would write for `POST /v1/products/{product_id}/views` and
// `POST /v1/cart/items`, net/http and franz-go, a 202 after the acknowledgement of all replicas. It writes to topics of
// its own with records of the edge's shape, and answers with as many bytes. It checks neither that a viewed product
// exists, nor tokens, nor what else a request says.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.mongodb.org/mongo-driver/mongo"
)

// What the edge answers, member by member.
type accepted struct {
	CommandID string            `json:"command_id"`
	Type      string            `json:"type"`
	Status    string            `json:"status"`
	Resource  string            `json:"resource"`
	Links     map[string]string `json:"links"`
}

type edge struct {
	client   *kgo.Client
	topic    string // of views
	carts    string // topic of additions
	products *mongo.Collection
}

func newClient(brokers string, linger time.Duration) (*kgo.Client, error) {
	return kgo.NewClient(
		kgo.SeedBrokers(brokers),
		kgo.RequiredAcks(kgo.AllISRAcks()), // idempotent by default
		kgo.ProducerLinger(linger),
		kgo.ProducerBatchCompression(kgo.Lz4Compression()),   // as the edge
		kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)), // murmur2 of the key
	)
}

func makeTopic(client *kgo.Client, topic string, partitions int) error {
	forEver, appendTime := "-1", "LogAppendTime"
	configs := map[string]*string{"retention.ms": &forEver, "message.timestamp.type": &appendTime}
	answer, err := kadm.NewClient(client).CreateTopic(context.Background(), int32(partitions), 1, configs, topic)
	if err == nil {
		err = answer.Err
	}
	if err == kerr.TopicAlreadyExists {
		return nil
	}
	return err
}

func text(name, value string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: name, Value: []byte(value)}
}

func headers(command uuid.UUID, kind string) []kgo.RecordHeader {
	return []kgo.RecordHeader{
		text("ce_id", command.String()),
		text("ce_type", kind),
		text("ce_source", "/tillwire/edge"),
		text("ce_time", time.Now().UTC().Format("2006-01-02T15:04:05.000Z")),
		text("ce_specversion", "1.0"),
		text("content-type", "application/msgpack"),
		text("traceparent", fmt.Sprintf("00-%016x%016x-%016x-01", rand.Uint64(), rand.Uint64(), rand.Uint64())),
	}
}

func (e *edge) record(command, product uuid.UUID) *kgo.Record {
	key := product.String()
	return &kgo.Record{
		Topic:   e.topic,
		Key:     []byte(key),
		Value:   []byte("\x81\xaaproduct_id\xd9\x24" + key), // msgpack
		Headers: headers(command, "product.record_view.v1"),
	}
}

func (e *edge) recordView(answer http.ResponseWriter, request *http.Request) {
	product, err := uuid.Parse(request.PathValue("product_id"))
	if err != nil {
		http.Error(answer, "not a product id", http.StatusNotFound)
		return
	}
	command := uuid.Must(uuid.NewV7())
	// Not the request's own context: records given up half-way, when clients leave, stall an idempotent producer.
	ctx := context.WithoutCancel(request.Context())
	record, err := e.client.ProduceSync(ctx, e.record(command, product)).First()
	if err != nil {
		http.Error(answer, err.Error(), http.StatusServiceUnavailable)
		return
	}
	accept(answer, command, "product.record_view", "/v1/products/"+product.String(), record.Offset)
}

func accept(answer http.ResponseWriter, command uuid.UUID, kind, resource string, offset int64) {
	// Of the length of the edge's sealed place in the log.
	location := fmt.Sprintf("/v1/commands/%s?at=%044d", command, offset)
	body, _ := json.Marshal(accepted{
		CommandID: command.String(), Type: kind, Status: "accepted",
		Resource: resource, Links: map[string]string{"self": location},
	})
	fields := answer.Header()
	fields.Set("X-Content-Type-Options", "nosniff")
	fields.Set("Content-Security-Policy", "default-src 'none'")
	fields.Set("Referrer-Policy", "no-referrer")
	fields.Set("Cache-Control", "no-store")
	fields.Set("Content-Type", "application/json; charset=utf-8")
	fields.Set("Content-Length", strconv.Itoa(len(body)))
	fields.Set("Location", location)
	fields.Set("Retry-After", "1")
	fields.Set("Consistency-Token", fmt.Sprintf("%036d", offset))
	answer.WriteHeader(http.StatusAccepted)
	answer.Write(body)
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8090", "address")
	brokers := flag.String("brokers", "127.0.0.1:9092", "Kafka")
	topic := flag.String("topic", "bench.commands", "made when it is not there")
	carts := flag.String("carts", "", "topic of additions to carts, made when it is not there; empty: none are taken")
	catalogue := flag.String("catalogue", "", "URI of MongoDB, for additions")
	partitions := flag.Int("partitions", 6, "of each topic")
	linger := flag.Duration("linger", 0, "how long the producer waits for company")
	flag.Parse()
	uuid.EnableRandPool()
	debug.SetGCPercent(400) // a small heap and much garbage: by default it would collect dozens of times a second
	client, err := newClient(*brokers, *linger)
	if err != nil {
		log.Fatal(err)
	}
	if err := makeTopic(client, *topic, *partitions); err != nil {
		log.Fatal("topic: ", err)
	}
	e := &edge{client: client, topic: *topic, carts: *carts}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/products/{product_id}/views", e.recordView)
	if *carts != "" {
		if err := makeTopic(client, *carts, *partitions); err != nil {
			log.Fatal("topic: ", err)
		}
		if e.products, err = openCatalogue(context.Background(), *catalogue); err != nil {
			log.Fatal("catalogue: ", err)
		}
		mux.HandleFunc("POST /v1/cart/items", e.addItem)
	}
	log.Fatal(http.ListenAndServe(*listen, mux))
}
