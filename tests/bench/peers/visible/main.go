// How long after a client meant to ask can the effect be read? Additions to carts over HTTP at a constant rate, whatever
// the answers take (open loop); times run from the moment a request was due, so a service that stalls cannot hide what
// waited behind it. One request of every -sample goes to a cart that nothing else touches meanwhile, whose summary in
// Redis is asked for until it shows the addition.
//
//	visible -url http://127.0.0.1:8080 -members FILE -products FILE -redis URI -prefix cart: [-rate N] [-seconds N]
//
// Members: one access token and one member's id a line; the first -watched of them are those of samples. Prints
// `accepted=N wrong=N lost=N samples=N accept_p50=MS accept_p99=MS p50=MS p99=MS late=MS`: acceptance of all, visibility
// of samples, and how late a request left at most.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	patience  = 10 * time.Second
	pollEvery = 500 * time.Microsecond
)

type member struct {
	token, id string
	seen      int64 // pieces in the cart, as of the last sample
	busy      sync.Mutex
}

type driver struct {
	url, prefix string
	products    []string
	client      *http.Client
	store       *redis.Client

	lock     sync.Mutex // guards the rest
	accepted []time.Duration
	visible  []time.Duration
	wrong    int
	lost     int
	late     time.Duration
}

func (d *driver) pieces(ctx context.Context, m *member) (int64, error) {
	var summary struct {
		TotalItems int64 `json:"total_items"`
	}
	text, err := d.store.Get(ctx, d.prefix+m.id+":summary").Bytes()
	if errors.Is(err, redis.Nil) {
		return 0, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &summary)
	}
	return summary.TotalItems, err
}

func (d *driver) ask(m *member, product string) bool {
	body := bytes.NewReader([]byte(`{"product_id":"` + product + `","quantity":1}`))
	request, _ := http.NewRequest("POST", d.url+"/v1/cart/items", body)
	request.Header.Set("Authorization", "Bearer "+m.token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := d.client.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	io.Copy(io.Discard, answer.Body)
	return answer.StatusCode == http.StatusAccepted
}

func (d *driver) note(due time.Time, accepted bool, left time.Time) {
	took, late := time.Since(due), left.Sub(due)
	d.lock.Lock()
	defer d.lock.Unlock()
	if !accepted {
		d.wrong++
		return
	}
	d.accepted = append(d.accepted, took)
	d.late = max(d.late, late)
}

func (d *driver) send(due time.Time, m *member, product string) bool {
	left := time.Now()
	accepted := d.ask(m, product)
	d.note(due, accepted, left)
	return accepted
}

// Asks the store from the moment the request left: an effect may show before its 202 does.
func (d *driver) sample(due time.Time, m *member, product string) {
	m.busy.Lock()
	defer m.busy.Unlock()
	m.seen++
	shown := make(chan bool)
	go func() { shown <- d.await(due, m) }()
	accepted := d.send(due, m, product)
	if !<-shown && accepted {
		d.lock.Lock()
		d.lost++
		d.lock.Unlock()
	}
}

func (d *driver) await(due time.Time, m *member) bool {
	for time.Since(due) < patience {
		pieces, err := d.pieces(context.Background(), m)
		if err == nil && pieces >= m.seen {
			took := time.Since(due)
			d.lock.Lock()
			d.visible = append(d.visible, took)
			d.lock.Unlock()
			return true
		}
		time.Sleep(pollEvery)
	}
	return false
}

func (d *driver) drive(watched, others []*member, rate, every, count int) {
	var all sync.WaitGroup
	start := time.Now().Add(100 * time.Millisecond)
	for i := range count {
		due := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		product := d.products[(i+i/every)%len(d.products)]
		time.Sleep(time.Until(due))
		all.Add(1)
		go func() {
			defer all.Done()
			if i%every == 0 {
				d.sample(due, watched[i/every%len(watched)], product)
			} else {
				d.send(due, others[i%len(others)], product)
			}
		}()
	}
	all.Wait()
}

func ms(times []time.Duration, share float64) float64 {
	if len(times) == 0 {
		return 0
	}
	slices.Sort(times)
	return times[int(float64(len(times)-1)*share)].Seconds() * 1000
}

func lines(file string) []string {
	text, err := os.ReadFile(file)
	if err != nil {
		log.Fatal(err)
	}
	return strings.Fields(string(text))
}

func main() {
	url := flag.String("url", "", "of the edge")
	memberFile := flag.String("members", "", "tokens and ids")
	productFile := flag.String("products", "", "ids")
	uri := flag.String("redis", "", "URI of the store")
	prefix := flag.String("prefix", "cart:", "of a cart's keys")
	rate := flag.Int("rate", 1000, "requests a second")
	seconds := flag.Int("seconds", 10, "how long")
	every := flag.Int("sample", 20, "one of so many requests is watched")
	watched := flag.Int("watched", 50, "members whose carts are watched")
	flag.Parse()
	options, err := redis.ParseURL(*uri)
	if err != nil {
		log.Fatal(err)
	}
	d := &driver{url: *url, prefix: *prefix, products: lines(*productFile), store: redis.NewClient(options),
		client: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 256, MaxConnsPerHost: 256}}}
	var members []*member
	words := lines(*memberFile)
	for i := 0; i+1 < len(words); i += 2 {
		members = append(members, &member{token: words[i], id: words[i+1]})
	}
	for _, m := range members[:*watched] {
		if m.seen, err = d.pieces(context.Background(), m); err != nil {
			log.Fatal(err)
		}
	}
	d.drive(members[:*watched], members[*watched:], *rate, *every, *rate**seconds)
	fmt.Printf("accepted=%d wrong=%d lost=%d samples=%d accept_p50=%.2f accept_p99=%.2f p50=%.2f p99=%.2f late=%.2f\n",
		len(d.accepted), d.wrong, d.lost, len(d.visible), ms(d.accepted, .5), ms(d.accepted, .99),
		ms(d.visible, .5), ms(d.visible, .99), d.late.Seconds()*1000)
}
