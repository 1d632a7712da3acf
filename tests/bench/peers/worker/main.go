// Peer of the workers: the consumer of the usual kind. Poll a batch, write it to the store in one go, or by partitions
// in as many goes as there are writers, all at once; commit the offsets, again. It knows no outbox, no ledger and no
// fence, so a crash between write and offset commit applies a batch twice.
//
//	worker -store postgres|mongo|redis -uri URI -brokers B -topic T -from 0,0,0 -to 10,11,12 [-batch N] [-writers N]
//
// Prints `records=N seconds=S`, from the first batch committed to the last. Ends with an error when the store does not
// hold what the records say.
//
//	worker … -from 0,0,0 -follow [-batch N] [-writers N]
//
// Goes on until it is stopped.
//
//	worker -store mongo -uri URI -views COLLECTION
//
// Prints `views=N`, the sum of all view counts.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"math"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
)

// A store of the worker's own, beside tillwire's on the same server.
type store interface {
	// Called once before the clock starts.
	prepare(ctx context.Context) error
	// Writes a batch, in one round trip where the store can. Called for several batches at once; no two of them hold
	// records of one partition.
	write(ctx context.Context, batch []*kgo.Record) error
	// Compares the store with what was written since prepare.
	check(ctx context.Context) error
}

var stores = map[string]func(ctx context.Context, uri string) (store, error){
	"postgres": openPostgres,
	"mongo":    openMongo,
	"redis":    openRedis,
}

type offsets []int64

func (o *offsets) String() string { return fmt.Sprint(*o) }

func (o *offsets) Set(text string) error {
	for _, part := range strings.Split(text, ",") {
		offset, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return err
		}
		*o = append(*o, offset)
	}
	return nil
}

func (o offsets) sum() (sum int64) {
	for _, offset := range o {
		sum += offset
	}
	return sum
}

// A fresh group that has committed where the work begins.
func join(ctx context.Context, brokers, topic string, from offsets) (*kgo.Client, error) {
	group := fmt.Sprintf("bench-worker-%d", time.Now().UnixNano())
	admin, err := kgo.NewClient(kgo.SeedBrokers(brokers))
	if err != nil {
		return nil, err
	}
	defer admin.Close()
	start := make(kadm.Offsets)
	for partition, offset := range from {
		start.AddOffset(topic, int32(partition), offset, -1)
	}
	if err := kadm.NewClient(admin).CommitAllOffsets(ctx, group, start); err != nil {
		return nil, err
	}
	return kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic),
		kgo.DisableAutoCommit())
}

type drained struct {
	records int64 // after the first batch, which starts the clock
	took    time.Duration
}

func writeAll(ctx context.Context, into store, batch []*kgo.Record, writers int) error {
	if writers == 1 {
		return into.write(ctx, batch)
	}
	shares := make([][]*kgo.Record, writers)
	for _, record := range batch {
		share := &shares[int(record.Partition)%writers]
		*share = append(*share, record)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, share := range shares {
		if len(share) > 0 {
			group.Go(func() error { return into.write(ctx, share) })
		}
	}
	return group.Wait()
}

func drain(ctx context.Context, client *kgo.Client, into store, wanted int64, batchSize, writers int) (drained, error) {
	var seen, first int64
	var started time.Time
	for seen < wanted {
		fetches := client.PollRecords(ctx, batchSize)
		if err := fetches.Err(); err != nil {
			return drained{}, err
		}
		batch := fetches.Records()
		if err := writeAll(ctx, into, batch, writers); err != nil {
			return drained{}, err
		}
		if err := client.CommitRecords(ctx, batch...); err != nil {
			return drained{}, err
		}
		seen += int64(len(batch))
		if started.IsZero() {
			started, first = time.Now(), seen
		}
	}
	return drained{seen - first, time.Since(started)}, nil
}

func run(ctx context.Context, name, uri, brokers, topic string, from offsets, wanted int64, batchSize, writers int) error {
	open, known := stores[name]
	if !known {
		return fmt.Errorf("no store called '%s'", name)
	}
	into, err := open(ctx, uri)
	if err != nil {
		return err
	}
	if err := into.prepare(ctx); err != nil {
		return err
	}
	client, err := join(ctx, brokers, topic, from)
	if err != nil {
		return err
	}
	defer client.Close()
	done, err := drain(ctx, client, into, wanted, batchSize, writers)
	if err != nil {
		return err
	}
	fmt.Printf("records=%d seconds=%.6f\n", done.records, done.took.Seconds())
	return into.check(ctx)
}

func main() {
	var from, to offsets
	name := flag.String("store", "", "postgres, mongo or redis")
	uri := flag.String("uri", "", "of the store")
	brokers := flag.String("brokers", "127.0.0.1:9092", "Kafka")
	topic := flag.String("topic", "", "commands")
	batch := flag.Int("batch", 1000, "records, at most")
	writers := flag.Int("writers", 1, "that share a batch")
	follow := flag.Bool("follow", false, "go on until stopped")
	views := flag.String("views", "", "collection to sum up instead of working")
	flag.Var(&from, "from", "first offset of each partition")
	flag.Var(&to, "to", "first offset of each partition that is not read")
	flag.Parse()
	debug.SetGCPercent(400) // batches are garbage once they are written, and memory is there
	if *views != "" {
		if err := printViews(*uri, *views); err != nil {
			log.Fatalf("worker: views: %v", err)
		}
		return
	}
	ctx, wanted := context.Background(), int64(math.MaxInt64)
	if !*follow {
		some, cancel := context.WithTimeout(ctx, 3*time.Minute)
		defer cancel()
		ctx, wanted = some, to.sum()-from.sum()
	}
	if err := run(ctx, *name, *uri, *brokers, *topic, from, wanted, *batch, *writers); err != nil {
		log.Fatalf("worker: %s: %v", *name, err)
	}
}
