package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	warmUp   = 20
	patience = 60 * time.Second
	ramp     = 500 * time.Millisecond
)

// bench is one measurement: how it is asked for, and what has come of it.
type bench struct {
	to, path, credential string
	streams, size, batch int
	rate, seconds        float64
	megabytes            int
	reconnect            bool
	pids                 []int
	upstream             int

	lock   sync.Mutex
	result map[string]any
	errors int
	began  cost
}

func load(words []string) {
	b := bench{result: map[string]any{}}
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	mode := flags.String("mode", "requests", "requests, first, paced, flat, silent, stalled or idle")
	flags.StringVar(&b.to, "to", "", "address and port")
	flags.StringVar(&b.path, "path", "/v1/messages?beta=true", "path and query")
	flags.StringVar(&b.credential, "credential", "", "what a direct request has to carry itself")
	flags.IntVar(&b.streams, "streams", 1, "requests or streams at a time")
	flags.IntVar(&b.size, "size", 200, "bytes of an event, or of a request body")
	flags.IntVar(&b.batch, "batch", 1, "events to a write")
	flags.Float64Var(&b.rate, "rate", 50, "events a second in a stream")
	flags.Float64Var(&b.seconds, "seconds", 1, "how long to measure")
	flags.IntVar(&b.megabytes, "megabytes", 200, "size of an answer")
	flags.BoolVar(&b.reconnect, "reconnect", false, "a new connection for each request")
	flags.IntVar(&b.upstream, "upstream", 0, "process id of the upstream")
	pids := flags.String("pids", "", "process ids of what is measured")
	flags.Parse(words)
	for _, word := range strings.FieldsFunc(*pids, func(r rune) bool { return r == ',' }) {
		pid, _ := strconv.Atoi(word)
		b.pids = append(b.pids, pid)
	}
	modes := map[string]func(){"requests": b.requests, "first": b.first, "paced": b.paced,
		"flat": b.flat, "silent": b.silent, "stalled": b.stalled, "idle": b.idle}
	if modes[*mode] == nil {
		log.Fatalf("no such mode: %s", *mode)
	}
	modes[*mode]()
	b.result["errors"] = b.errors
	json.NewEncoder(os.Stdout).Encode(b.result)
}

// failed keeps the first of all errors in words.
func (b *bench) failed(err error) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if b.errors++; b.errors == 1 {
		b.result["error"] = err.Error()
	}
}

func (b *bench) begin() {
	forgetPeaks(b.pids)
	b.result["before_mb"] = peak(b.pids)
	b.began = costNow(b.pids, b.upstream)
}

// end closes the account and returns the seconds measured and those that the subject has worked.
func (b *bench) end() (wall, worked float64) {
	ended := costNow(b.pids, b.upstream)
	wall = float64(ended.moment-b.began.moment) / 1e9
	worked = ended.subject - b.began.subject
	ours := worked + ended.upstream - b.began.upstream + ended.client - b.began.client
	b.result["seconds"], b.result["cpu_seconds"] = wall, worked
	b.result["foreign_cores"] = (ended.everybody - b.began.everybody - ours) / wall
	b.result["peak_mb"] = peak(b.pids)
	return
}

// quantiles puts the usual ones of some nanoseconds into the result, as microseconds.
func (b *bench) quantiles(all ...[]int64) int {
	var v []int64
	for _, some := range all {
		v = append(v, some...)
	}
	if len(v) == 0 {
		return 0
	}
	sort.Slice(v, func(i, j int) bool { return v[i] < v[j] })
	for name, share := range map[string]float64{"p50_us": .5, "p90_us": .9, "p99_us": .99, "max_us": 1} {
		b.result[name] = float64(v[int(share*float64(len(v)-1))]) / 1000
	}
	b.result["samples"] = len(v)
	return len(v)
}

// caller is one connection of a client that holds a dummy key, as agents do.
type caller struct {
	net.Conn
	r      *bufio.Reader
	buffer []byte
}

func (b *bench) dial() (*caller, error) {
	c, err := net.DialTimeout("tcp", b.to, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	return &caller{c, bufio.NewReaderSize(c, 1<<16), make([]byte, 1<<18)}, nil
}

// ask returns the bytes of a request with a body of at least size bytes.
func (b *bench) ask(script string, size int) []byte {
	streaming := script != ""
	before := fmt.Sprintf(`{"model":"kimi-k2.5","max_tokens":1024,"stream":%t,"messages":[{"role":"user","content":"`, streaming)
	after := `"}]}`
	padding := size - len(before) - len(after)
	if padding < 60 {
		padding = 60
	}
	const words = "what a person asks and what an agent has read "
	body := before + strings.Repeat(words, padding/len(words)+1)[:padding] + after
	secrets := "Authorization: Bearer placeholder-token\r\nx-api-key: placeholder-key\r\n"
	if b.credential != "" {
		secrets = "Authorization: Bearer " + b.credential + "\r\n"
	}
	if streaming {
		secrets += "X-Rig: " + script + "\r\n"
	}
	return []byte(fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bridge-benchmark\r\n"+
		"Accept: application/json\r\nContent-Type: application/json\r\nanthropic-version: 2023-06-01\r\n"+
		"%sContent-Length: %d\r\n\r\n%s", b.path, b.to, secrets, len(body), body))
}

func (b *bench) script(events, microseconds int) string {
	return fmt.Sprintf("%d %d %d %d", events, b.size, microseconds, b.batch)
}

// send writes a request and returns the answer when its head is here. The answer says how much of
// the body arrived, if it is not a stream.
func (c *caller) send(request []byte, body int) (io.Reader, error) {
	if _, err := c.Write(request); err != nil {
		return nil, err
	}
	answer, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != 200 {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 200))
		return nil, fmt.Errorf("%s: %s", answer.Status, text)
	}
	if arrived := answer.Header.Get("X-Rig-Received"); arrived != "" && arrived != strconv.Itoa(body) {
		return nil, fmt.Errorf("%s of %d bytes arrived", arrived, body)
	}
	return answer.Body, nil
}

// read gives the pieces of an answer to take as they arrive, and returns at its end.
func (c *caller) read(answer io.Reader, take func([]byte)) error {
	for {
		n, err := answer.Read(c.buffer)
		take(c.buffer[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// whole reads a stream to its end, which has to be where it belongs.
func (c *caller) whole(answer io.Reader, events, size int, seen func(sent int64)) error {
	s := reader{seen: seen}
	return s.checked(c.read(answer, s.take), events, size)
}

// each runs work for every stream at the same time and returns when all have ended.
func (b *bench) each(work func(i int) error) {
	var all sync.WaitGroup
	for i := 0; i < b.streams; i++ {
		all.Add(1)
		go func(i int) {
			defer all.Done()
			if err := work(i); err != nil {
				b.failed(err)
			}
		}(i)
	}
	all.Wait()
}
