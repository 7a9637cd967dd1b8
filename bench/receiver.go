package main

import (
	"io"
	"net"
	"net/http"
)

// Receiver is the role that callbacks are POSTed to: it counts them.
type Receiver struct {
	addr string
	tally
}

func newReceiver() (*Receiver, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Receiver{addr: l.Addr().String()}
	go http.Serve(l, r)
	return r, nil
}

// ServeHTTP takes a callback. What is not the backend's answer is none.
func (receiver *Receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if size, err := io.Copy(io.Discard, r.Body); err != nil || size != answerSize {
		http.Error(w, "not the backend's answer", http.StatusBadRequest)
		return
	}
	if n, ok := numberOf(r.URL.Path); ok {
		receiver.count(n)
	}
	w.WriteHeader(http.StatusNoContent)
}

// Addr is where it listens.
func (receiver *Receiver) Addr(_ None, addr *string) error {
	*addr = receiver.addr
	return nil
}
