package destination

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/dns/dnsmessage"
)

// nameServer answers DNS queries in memory, for a real net.Resolver.
type nameServer struct {
	mu      sync.Mutex
	answer  func(name string) ([]netip.Addr, dnsmessage.RCode)
	queries []string // names asked for, once for IPv4 and once for IPv6
}

// names is a nameServer that knows a few names; others don't exist.
func names(zone map[string]string) *nameServer {
	return &nameServer{answer: func(name string) ([]netip.Addr, dnsmessage.RCode) {
		list, ok := zone[name]
		if !ok {
			return nil, dnsmessage.RCodeNameError
		}
		return addrs(list), dnsmessage.RCodeSuccess
	}}
}

func addrs(list string) []netip.Addr {
	var ips []netip.Addr
	for text := range strings.FieldsSeq(list) {
		ips = append(ips, netip.MustParseAddr(text))
	}
	return ips
}

func (s *nameServer) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		client, server := net.Pipe() // no net.PacketConn: framed as over TCP
		go s.serve(server)
		return client, nil
	}}
}

func (s *nameServer) serve(conn net.Conn) {
	defer conn.Close()
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		reply, err := s.reply(query)
		if err != nil {
			return
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

func (s *nameServer) reply(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, errors.New("bad query")
	}
	q := m.Questions[0]
	name := strings.TrimSuffix(q.Name.String(), ".")
	s.mu.Lock()
	s.queries = append(s.queries, name)
	ips, code := s.answer(name)
	s.mu.Unlock()

	m.Response, m.RecursionAvailable, m.RCode, m.Additionals = true, true, code, nil
	for _, ip := range ips {
		h := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}
		switch {
		case q.Type == dnsmessage.TypeA && ip.Is4():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: ip.As4()}})
		case q.Type == dnsmessage.TypeAAAA && ip.Is6():
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
		}
	}
	return m.Pack()
}

func (s *nameServer) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.queries)
}

func newPolicy(t testing.TB, rules Rules, options Options) *Policy {
	t.Helper()
	p, err := New(rules, options)
	require.NoError(t, err)
	return p
}
