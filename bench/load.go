package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Load is the role that sends requests: so many clients, each with one
// connection, that send their next request when the last was answered. It
// speaks just enough HTTP/1.1 to cost little.
type Load struct{}

// Work is what Load is to send.
type Work struct {
	Addr    string
	Clients int
	Pattern Pattern
	First   int // number of the first request
	N       int // how many requests, of all clients together
	Want    int // the status of each answer; another one is an error
	// Pause is how long a client rests before each request.
	Pause time.Duration
	Times bool // report when each request was sent and answered
}

// Sent is what came of it. Times are Unix nanoseconds.
type Sent struct {
	Began, Ended int64
	P50, P99     time.Duration
	// SentAt and AnsweredAt are those of each request, if Work asks for them.
	SentAt, AnsweredAt []int64
}

// Run sends requests until all are answered. Its error is that of the first
// request that was not answered as wanted.
func (*Load) Run(work Work, sent *Sent) error {
	clients := make([]*client, work.Clients)
	for i := range clients {
		conn, err := net.Dial("tcp", work.Addr)
		if err != nil {
			return err
		}
		defer conn.Close()
		clients[i] = &client{
			conn: conn, reader: bufio.NewReaderSize(conn, 4<<10), want: work.Want,
			pattern: Pattern{slices.Clone(work.Pattern.Head), work.Pattern.Body},
		}
	}
	latencies := make([]int64, work.N)
	if work.Times {
		sent.SentAt, sent.AnsweredAt = make([]int64, work.N), make([]int64, work.N)
	}
	began := time.Now()
	err := runAll(clients, work, func(i int, at time.Time, took time.Duration) {
		latencies[i] = int64(took)
		if work.Times {
			sent.SentAt[i] = at.UnixNano()
			sent.AnsweredAt[i] = at.Add(took).UnixNano()
		}
	})
	sent.Began, sent.Ended = began.UnixNano(), time.Now().UnixNano()
	sent.P50, sent.P99 = percentiles(latencies)
	return err
}

// runAll has the clients do the work, and tells how long each request took.
func runAll(clients []*client, work Work, took func(i int, at time.Time, took time.Duration)) error {
	var next atomic.Int64
	var wg sync.WaitGroup
	var once sync.Once
	var failure error
	for _, c := range clients {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= work.N {
					return
				}
				if work.Pause > 0 {
					time.Sleep(work.Pause)
				}
				at := time.Now()
				if err := c.send(work.First + i); err != nil {
					once.Do(func() { failure = fmt.Errorf("request %d: %w", work.First+i, err) })
					next.Store(int64(work.N)) // nobody goes on
					return
				}
				took(i, at, time.Since(at))
			}
		})
	}
	wg.Wait()
	return failure
}

// percentiles sorts the latencies.
func percentiles(latencies []int64) (p50, p99 time.Duration) {
	if len(latencies) == 0 {
		return 0, 0
	}
	slices.Sort(latencies)
	at := func(percent int) time.Duration {
		return time.Duration(latencies[(len(latencies)-1)*percent/100])
	}
	return at(50), at(99)
}

// client is one connection.
type client struct {
	conn    net.Conn
	reader  *bufio.Reader
	pattern Pattern
	want    int
}

// send sends one request and reads its answer.
func (c *client) send(number int) error {
	c.pattern.number(number)
	buffers := net.Buffers{c.pattern.Head, c.pattern.Body}
	if _, err := buffers.WriteTo(c.conn); err != nil {
		return err
	}
	status, err := c.answer()
	if err == nil && status != c.want {
		err = fmt.Errorf("the answer has status %d instead of %d", status, c.want)
	}
	return err
}

// answer reads an answer, whose body must have a Content-Length.
func (c *client) answer() (status int, err error) {
	line, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < len("HTTP/1.1 200") {
		return 0, fmt.Errorf("the answer begins with %q", line)
	}
	status = parseInt(line[9:12])
	length := -1
	for {
		if line, err = c.reader.ReadSlice('\n'); err != nil {
			return status, err
		}
		if len(line) <= 2 {
			break
		}
		if name := "content-length:"; len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			length = parseInt(bytes.TrimSpace(line[len(name):]))
		}
	}
	if length < 0 {
		return status, errors.New("the answer has no Content-Length")
	}
	_, err = c.reader.Discard(length)
	return status, err
}

// parseInt reads digits; anything else gives -1.
func parseInt(digits []byte) int {
	n := 0
	for _, d := range digits {
		if d < '0' || d > '9' {
			return -1
		}
		n = n*10 + int(d-'0')
	}
	return n
}
