package main

import (
	"bytes"
	"cmp"
	"io"
	"log"
	"net"
	"strings"
	"sync"

	"github.com/miekg/dns"
)

// Names with an answer of their own, as a hostile zone might have them.
const (
	addressZone = ".addr.test." // 10-0-0-1.addr.test is 10.0.0.1
	flipName    = "flip.test."  // one time a metadata service, the next time this server
)

// zone answers for the tests' names.
type zone struct {
	mu    sync.Mutex
	flips int
}

// lookup returns a name's address; own is that of this server.
func (z *zone) lookup(name string, own net.IP) net.IP {
	name = strings.ToLower(name)
	if text, ok := strings.CutSuffix(name, addressZone); ok {
		if ip := net.ParseIP(strings.ReplaceAll(text, "-", ".")); ip != nil {
			return ip
		}
	}
	if name == flipName {
		z.mu.Lock()
		defer z.mu.Unlock()
		if z.flips++; z.flips%2 == 1 {
			return net.IPv4(169, 254, 169, 254)
		}
	}
	return own
}

// serveDNS answers every question for an address, most with ours, or where that
// is empty with the one it was asked at.
func serveDNS(at, ours string, d *diary) (string, error) {
	packets, err := net.ListenPacket("udp", at)
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		packets.Close()
		return "", err
	}
	names := &zone{}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		answer := new(dns.Msg).SetReply(q)
		for _, question := range q.Question {
			d.note(entry{Kind: "dns", From: w.RemoteAddr().String(), Method: w.RemoteAddr().Network(), Host: question.Name, Detail: dns.TypeToString[question.Qtype]})
			if host, _, err := net.SplitHostPort(w.LocalAddr().String()); err == nil && question.Qtype == dns.TypeA {
				answer.Answer = append(answer.Answer, &dns.A{A: names.lookup(question.Name, ownAddress(cmp.Or(ours, host))),
					Hdr: dns.RR_Header{Name: question.Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 1}})
			}
		}
		w.WriteMsg(answer)
	})
	go dns.ActivateAndServe(nil, packets, handler)
	go dns.ActivateAndServe(l, nil, handler)
	return packets.LocalAddr().String(), nil
}

// ownAddress is the address of this container, where the listener has none.
func ownAddress(listening string) net.IP {
	if ip := net.ParseIP(listening); ip != nil && !ip.IsUnspecified() {
		return ip
	}
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP
		}
	}
	return net.IPv4(127, 0, 0, 1)
}

// serveEcho sends back what it gets, over TCP and UDP.
func serveEcho(at string, d *diary) (string, error) {
	l, err := net.Listen("tcp", at)
	if err != nil {
		return "", err
	}
	packets, err := net.ListenPacket("udp", l.Addr().String())
	if err != nil {
		l.Close()
		return "", err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			d.note(entry{Kind: "tcp", From: conn.RemoteAddr().String()})
			go func() {
				defer conn.Close()
				io.Copy(conn, conn)
			}()
		}
	}()
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, from, err := packets.ReadFrom(buffer)
			if err != nil {
				return
			}
			d.note(entry{Kind: "udp", From: from.String()})
			packets.WriteTo(buffer[:n], from)
		}
	}()
	return l.Addr().String(), nil
}

// errors is a logger whose lines are entries.
func (d *diary) errors(kind string) *log.Logger { return log.New(logged{d, kind}, "", 0) }

type logged struct {
	d    *diary
	kind string
}

func (l logged) Write(p []byte) (int, error) {
	l.d.note(entry{Kind: l.kind, Detail: string(bytes.TrimSpace(p))})
	return len(p), nil
}
