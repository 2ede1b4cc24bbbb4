package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// A stream is an opening, events that are alike but for their stamp, and a closing. No other part
// of it contains the two signs around a stamp.
const (
	opening = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_rig\"," +
		"\"type\":\"message\",\"role\":\"assistant\",\"model\":\"kimi-k2.5\",\"content\":[]}}\n\n"
	closing     = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	eventBefore = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0," +
		"\"delta\":{\"type\":\"text_delta\",\"text\":\"<"
	eventAfter = "\"}}\n\n"
	digits     = 19
)

// event returns one event of size bytes (or as many as it needs) and where its stamp is.
func event(size int) ([]byte, int) {
	padding := size - len(eventBefore) - digits - len(">") - len(eventAfter)
	if padding < 0 {
		padding = 0
	}
	text := eventBefore + strings.Repeat("0", digits) + ">" + strings.Repeat("x", padding) + eventAfter
	return []byte(text), len(eventBefore)
}

// streamLength returns the bytes of a whole stream, so that a client can tell a cut or altered one.
func streamLength(events, size int) int64 {
	one, _ := event(size)
	return int64(len(opening)) + int64(events)*int64(len(one)) + int64(len(closing))
}

// chunks is one write's worth of events, framed as one chunk, ready to be stamped again and again.
type chunks struct {
	frame  []byte
	stamps []int
}

func newChunks(size, batch int) chunks {
	one, at := event(size)
	frame := strconv.AppendInt(nil, int64(len(one)*batch), 16)
	frame = append(frame, "\r\n"...)
	stamps := make([]int, batch)
	for i := range stamps {
		stamps[i] = len(frame) + at
		frame = append(frame, one...)
	}
	return chunks{append(frame, "\r\n"...), stamps}
}

// stamped returns the frame with moment in each of its events.
func (c chunks) stamped(moment int64) []byte {
	for _, at := range c.stamps {
		rest := moment
		for i := at + digits - 1; i >= at; i-- {
			c.frame[i] = byte('0' + rest%10)
			rest /= 10
		}
	}
	return c.frame
}

// reader finds the stamps in a stream that arrives in whatever pieces.
type reader struct {
	bytes, events int64
	inside        bool
	value         int64
	seen          func(sent int64)
}

func (s *reader) take(data []byte) {
	s.bytes += int64(len(data))
	for len(data) > 0 {
		if !s.inside {
			at := bytes.IndexByte(data, '<')
			if at < 0 {
				return
			}
			data, s.inside, s.value = data[at+1:], true, 0
			continue
		}
		if data[0] == '>' {
			s.inside = false
			s.events++
			s.seen(s.value)
		} else {
			s.value = s.value*10 + int64(data[0]-'0')
		}
		data = data[1:]
	}
}

// checked returns what was wrong with a stream that ended with err, if anything was.
func (s *reader) checked(err error, events, size int) error {
	want := streamLength(events, size)
	if err == nil && (s.bytes != want || s.events != int64(events)) {
		err = errors.New("cut or altered")
	}
	if err != nil {
		err = fmt.Errorf("a stream of %d events, %d bytes, at %d, %d: %w", events, want, s.events, s.bytes, err)
	}
	return err
}
