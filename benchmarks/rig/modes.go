package main

import (
	"bytes"
	"math/rand"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// requests asks for small answers, one after the other on each connection. Bodies of any size.
func (b *bench) requests() {
	request := b.ask("", b.size)
	body := len(request) - bytes.Index(request, []byte("\r\n\r\n")) - 4
	callers := make([]*caller, b.streams)
	unused, _ := memory(b.pids)
	once := func(i int) (err error) {
		c := callers[i]
		if c == nil {
			if c, err = b.dial(); err != nil {
				return err
			}
		}
		answer, err := c.send(request, body)
		if err == nil {
			err = c.read(answer, func([]byte) {})
		}
		callers[i] = c
		if err != nil || b.reconnect {
			c.Close()
			callers[i] = nil
		}
		return err
	}
	b.each(func(i int) (err error) {
		for n := 0; n < warmUp && err == nil; n++ {
			if n < 3 || b.size < 1e6 {
				err = once(i)
			}
		}
		return err
	})
	if b.errors > 0 {
		return
	}
	took := make([][]int64, b.streams)
	b.begin()
	until := now() + int64(b.seconds*1e9)
	b.each(func(i int) error {
		for {
			asked := now()
			if asked > until {
				return nil
			}
			if err := once(i); err != nil {
				return err
			}
			took[i] = append(took[i], now()-asked)
		}
	})
	wall, worked := b.end()
	n := float64(b.quantiles(took...))
	b.result["per_second"], b.result["cpu_us"] = n/wall, worked/n*1e6
	b.result["growth_mb"] = b.result["peak_mb"].(float64) - unused
	b.result["cpu_ms_per_mb"] = worked / (n * float64(body)) * 1e9
}

// first asks for short streams on one connection and takes the time until the first byte of each.
func (b *bench) first() {
	const events = 3
	request := b.ask(b.script(events, 1000), 0)
	c, err := b.dial()
	if err != nil {
		b.failed(err)
		return
	}
	defer c.Close()
	var took []int64
	until := int64(0)
	for n := 0; ; n++ {
		if n == warmUp {
			b.begin()
			until = now() + int64(b.seconds*1e9)
		}
		asked := now()
		if n > warmUp && asked > until {
			break
		}
		answer, err := c.send(request, 0)
		if err != nil {
			b.failed(err)
			return
		}
		here := int64(0)
		s := reader{seen: func(int64) {}}
		err = c.read(answer, func(piece []byte) {
			if here == 0 && len(piece) > 0 {
				here = now()
			}
			s.take(piece)
		})
		if err = s.checked(err, events, b.size); err != nil {
			b.failed(err)
			return
		}
		if n >= warmUp {
			took = append(took, here-asked)
		}
	}
	_, worked := b.end()
	n := float64(b.quantiles(took))
	b.result["cpu_us"] = worked / n * 1e6
}

// paced opens streams at moments that chance chose once and for all, lets events come at a steady
// rate, and takes the time of each from the upstream's write to our read.
func (b *bench) paced() {
	gap := time.Duration(1e9 / b.rate)
	events := int((2*ramp.Seconds() + b.seconds) * b.rate)
	request := b.ask(b.script(events, int(gap.Microseconds())), 0)
	chance := rand.New(rand.NewSource(1))
	starts := make([]time.Duration, b.streams)
	for i := range starts {
		starts[i] = time.Duration(chance.Int63n(int64(ramp)))
	}
	begin := now() + int64(ramp) + 2e8
	end := begin + int64(b.seconds*1e9)
	took := make([][]int64, b.streams)
	arrived := int64(0)
	var all sync.WaitGroup
	all.Add(1)
	go func() {
		defer all.Done()
		b.each(func(i int) error {
			time.Sleep(starts[i])
			c, err := b.dial()
			if err != nil {
				return err
			}
			defer c.Close()
			answer, err := c.send(request, 0)
			if err != nil {
				return err
			}
			return c.whole(answer, events, b.size, func(sent int64) {
				if sent >= begin && sent < end {
					took[i] = append(took[i], now()-sent)
				}
				atomic.AddInt64(&arrived, 1)
			})
		})
	}()
	time.Sleep(time.Duration(begin - now()))
	b.begin()
	earlier := atomic.LoadInt64(&arrived)
	time.Sleep(time.Duration(end - now()))
	n := float64(atomic.LoadInt64(&arrived) - earlier)
	wall, worked := b.end()
	b.result["resident_mb"], b.result["proportional_mb"] = memory(b.pids)
	all.Wait()
	b.quantiles(took...)
	b.result["cpu_us"], b.result["busy_cores"] = worked/n*1e6, worked/wall
	b.result["delivered"] = n / (b.rate * wall * float64(b.streams))
}

// flat takes answers as fast as they come.
func (b *bench) flat() {
	events := b.megabytes * 1e6 / b.size / b.streams
	request := b.ask(b.script(events, 0), 0)
	b.begin()
	b.each(func(int) error {
		c, err := b.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		answer, err := c.send(request, 0)
		if err != nil {
			return err
		}
		return c.whole(answer, events, b.size, func(int64) {})
	})
	wall, worked := b.end()
	bytes := float64(streamLength(events, b.size)) * float64(b.streams)
	b.result["mb_per_second"], b.result["cpu_seconds_per_gb"] = bytes/1e6/wall, worked/bytes*1e9
	b.result["cpu_us"] = worked / float64(events*b.streams) * 1e6
}

// silent opens streams that say one thing and then nothing, and looks at what they hold.
func (b *bench) silent() {
	hold := b.seconds + 5
	request := b.ask(b.script(2, int(hold*1e6)), 0)
	open := make([]net.Conn, b.streams)
	b.warm()
	resident, proportional := memory(b.pids)
	b.each(func(i int) error {
		time.Sleep(time.Duration(i) * time.Millisecond)
		c, err := b.dial()
		if err != nil {
			return err
		}
		open[i] = c
		if _, err = c.send(request, 0); err == nil {
			_, err = c.r.ReadByte()
		}
		return err
	})
	time.Sleep(ramp)
	b.begin()
	time.Sleep(time.Duration(b.seconds * 1e9))
	wall, worked := b.end()
	here, share := memory(b.pids)
	for _, c := range open {
		if c != nil {
			c.Close()
		}
	}
	time.Sleep(2 * ramp)
	b.result["after_mb"], _ = memory(b.pids)
	b.result["resident_mb"], b.result["proportional_mb"], b.result["busy_cores"] = here, share, worked/wall
	b.result["kb_per_stream"] = (here - resident) * 1024 / float64(b.streams)
	b.result["proportional_kb_per_stream"] = (share - proportional) * 1024 / float64(b.streams)
}

// stalled asks for a large answer, does not read it for a while, and then reads all of it at a
// pace that the upstream could exceed by far.
func (b *bench) stalled() {
	const pause, hundred = 2 * time.Second, 100e6
	events := b.megabytes * 1e6 / b.size
	request := b.ask(b.script(events, 0), 0)
	b.warm()
	c, err := b.dial()
	if err != nil {
		b.failed(err)
		return
	}
	defer c.Close()
	b.begin()
	answer, err := c.send(request, 0)
	if err != nil {
		b.failed(err)
		return
	}
	time.Sleep(pause)
	resident, _ := memory(b.pids)
	resumed, read := time.Now(), 0.0
	s := reader{seen: func(int64) {}}
	err = c.read(answer, func(piece []byte) {
		s.take(piece)
		read += float64(len(piece))
		time.Sleep(time.Duration(read/hundred*1e9) - time.Since(resumed))
	})
	if err = s.checked(err, events, b.size); err != nil {
		b.failed(err)
	}
	b.end()
	before := b.result["before_mb"].(float64)
	b.result["stalled_mb"] = resident - before
	b.result["growth_mb"] = b.result["peak_mb"].(float64) - before
}

// idle looks at the memory of something that has just started, before and after its first
// requests and streams.
func (b *bench) idle() {
	started, share := memory(b.pids)
	b.warm()
	b.result["started_mb"], b.result["started_proportional_mb"] = started, share
	b.result["resident_mb"], b.result["proportional_mb"] = memory(b.pids)
}

// warm lets some requests and streams pass, because the first ones take memory once and for all.
func (b *bench) warm() {
	seconds, streams := b.seconds, b.streams
	b.seconds, b.streams = 0.2, 1
	b.requests()
	b.first()
	b.seconds, b.streams = seconds, streams
	for key := range b.result {
		if key != "error" {
			delete(b.result, key)
		}
	}
}
