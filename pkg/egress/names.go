package egress

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"bottle/pkg/bottle"
)

const (
	nameTTL     = 60
	maxDNSConns = 64
	maxSeen     = 4096 // questions that are told apart from new ones
	noteRate    = 10   // events a second, on average
	noteBurst   = 100
)

// nameServer is the bottle's DNS. It asks nobody: sidecars' names have their
// addresses, every other name is egress itself, and there are no other records.
// Each question that was not asked before is an event.
type nameServer struct {
	self  netip.Addr
	names map[string]netip.Addr // canonical, without the last dot
	notes noteLimit
	port  int
	udp   *dns.Server
	tcp   *dns.Server
}

// serveNames listens on UDP and TCP, on the same port.
func serveNames(self netip.Addr, port int, names map[string]netip.Addr, record func(bottle.Event)) (*nameServer, error) {
	n := &nameServer{self: self, names: map[string]netip.Addr{}, notes: noteLimit{record: record, seen: map[string]struct{}{}, left: noteBurst}}
	for name, a := range names {
		n.names[strings.ToLower(name)] = a
	}
	packets, listener, err := listenBoth(self, port)
	for tries := 0; err != nil && port == 0 && tries < anyPortTries; tries++ { // what is free for the one may not be for the other
		packets, listener, err = listenBoth(self, port)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot listen for DNS: %w", err)
	}
	n.port = packets.LocalAddr().(*net.UDPAddr).Port
	n.udp = &dns.Server{PacketConn: packets, Handler: n}
	n.tcp = &dns.Server{Listener: &fewConns{Listener: listener, slots: make(chan struct{}, maxDNSConns)}, Handler: n,
		ReadTimeout: 2 * time.Second, WriteTimeout: 2 * time.Second, IdleTimeout: func() time.Duration { return 8 * time.Second }}
	for _, s := range []*dns.Server{n.udp, n.tcp} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
	}
	return n, nil
}

const anyPortTries = 10

// listenBoth listens on one port, by UDP and by TCP.
func listenBoth(self netip.Addr, port int) (net.PacketConn, net.Listener, error) {
	how := net.ListenConfig{Control: early}
	packets, err := how.ListenPacket(context.Background(), "udp", net.JoinHostPort(self.String(), strconv.Itoa(port)))
	if err != nil {
		return nil, nil, err
	}
	port = packets.LocalAddr().(*net.UDPAddr).Port
	listener, err := how.Listen(context.Background(), "tcp", net.JoinHostPort(self.String(), strconv.Itoa(port)))
	if err != nil {
		packets.Close()
	}
	return packets, listener, err
}

func (n *nameServer) close() {
	n.udp.Shutdown()
	n.tcp.Shutdown()
}

// ServeDNS answers one message.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	w.WriteMsg(n.answer(q))
}

// answer is pure but for the event. An answer is never longer than a question
// and one record, so it fits any buffer.
func (n *nameServer) answer(q *dns.Msg) *dns.Msg {
	m := new(dns.Msg).SetReply(q)
	m.RecursionAvailable = true // stub resolvers ask for it
	switch {
	case q.Opcode != dns.OpcodeQuery:
		m.Rcode = dns.RcodeNotImplemented
		return m
	case len(q.Question) != 1:
		m.Rcode = dns.RcodeFormatError
		return m
	}
	if opt := q.IsEdns0(); opt != nil {
		m.SetEdns0(1232, false)
		if opt.Version() != 0 {
			m.Rcode = dns.RcodeBadVers
			return m
		}
	}
	ask := q.Question[0]
	n.notes.question(ask, time.Now())
	if ask.Qclass != dns.ClassINET || ask.Qtype != dns.TypeA {
		return m
	}
	addr := n.self
	if a, ok := n.names[strings.ToLower(strings.TrimSuffix(ask.Name, "."))]; ok {
		addr = a
	}
	m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: ask.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: nameTTL}, A: addr.AsSlice()}}
	return m
}

// noteLimit keeps a flood of questions from filling the log: a question is
// noted once, and only so many a second; the rest is counted.
type noteLimit struct {
	record func(bottle.Event)

	mu      sync.Mutex
	seen    map[string]struct{}
	left    float64 // events that may be noted now
	last    time.Time
	dropped int
}

func (l *noteLimit) question(q dns.Question, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kind := dns.Type(q.Qtype).String()
	key := kind + " " + strings.ToLower(q.Name)
	if _, old := l.seen[key]; old {
		return
	}
	if !l.last.IsZero() {
		l.left = min(noteBurst, l.left+noteRate*now.Sub(l.last).Seconds())
	}
	l.last = now
	if l.left < 1 {
		l.dropped++
		return
	}
	l.left--
	if len(l.seen) >= maxSeen {
		clear(l.seen)
	}
	l.seen[key] = struct{}{}
	ev := bottle.Event{Kind: "dns", Host: strings.TrimSuffix(q.Name, "."), Detail: kind}
	if l.dropped > 0 {
		ev.Detail += fmt.Sprintf(", and %d questions before it that were too many to note", l.dropped)
		l.dropped = 0
	}
	l.record(ev)
}

// fewConns closes the connections beyond its slots.
type fewConns struct {
	net.Listener
	slots chan struct{}
}

func (f *fewConns) Accept() (net.Conn, error) {
	for {
		c, err := f.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case f.slots <- struct{}{}:
			return &slotConn{Conn: c, free: sync.OnceFunc(func() { <-f.slots })}, nil
		default:
			c.Close()
		}
	}
}

type slotConn struct {
	net.Conn
	free func()
}

func (c *slotConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
