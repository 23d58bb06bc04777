package egress

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"bottle/pkg/bottle"
)

func ask(t *testing.T, w *world, network, name string, qtype uint16) *dns.Msg {
	t.Helper()
	c := &dns.Client{Net: network, Timeout: 5 * time.Second}
	m, _, err := c.Exchange(new(dns.Msg).SetQuestion(name, qtype).SetEdns0(1232, false), w.addr(w.s.Ports().DNS))
	must(t, err)
	return m
}

func TestEveryNameIsEgressAndNobodyIsAsked(t *testing.T) {
	w := newWorld(t)
	for _, network := range []string{"udp", "tcp"} {
		for name, want := range map[string]string{
			"a.example.": "127.0.0.1", "SECRET.evil.example.": "127.0.0.1", ".": "127.0.0.1",
			"egress.": "10.83.0.2", "Supervise.": "10.83.0.3",
		} {
			m := ask(t, w, network, name, dns.TypeA)
			if m.Rcode != dns.RcodeSuccess || len(m.Answer) != 1 || m.Answer[0].(*dns.A).A.String() != want {
				t.Errorf("%s: %v", name, m)
			}
		}
		for _, qtype := range []uint16{dns.TypeAAAA, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeTXT, dns.TypeMX, dns.TypeANY, dns.TypePTR, dns.TypeAXFR, 65280} {
			if m := ask(t, w, network, "a.example.", qtype); m.Rcode != dns.RcodeSuccess || len(m.Answer) != 0 {
				t.Errorf("type %d: %v", qtype, m)
			}
		}
	}
	if d := w.dialled(); len(d) > 0 {
		t.Errorf("dialled %v", d)
	}
}

func TestOddQuestionsGetNoAnswer(t *testing.T) {
	w := newWorld(t)
	conn, err := net.Dial("udp", w.addr(w.s.Ports().DNS))
	must(t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Minute))
	for rcode, q := range map[int]*dns.Msg{
		dns.RcodeFormatError:    {Question: []dns.Question{{Name: "a.", Qtype: 1, Qclass: 1}, {Name: "b.", Qtype: 1, Qclass: 1}}},
		dns.RcodeNotImplemented: {MsgHdr: dns.MsgHdr{Opcode: dns.OpcodeUpdate}, Question: []dns.Question{{Name: "a.", Qtype: 6, Qclass: 1}}},
	} {
		data, err := q.Pack()
		must(t, err)
		conn.Write(data)
		buf := make([]byte, 512)
		n, err := conn.Read(buf)
		must(t, err)
		var m dns.Msg
		must(t, m.Unpack(buf[:n]))
		if m.Rcode != rcode || len(m.Answer) > 0 {
			t.Errorf("%v: %v", q, m)
		}
	}
}

func TestNewQuestionsAreEventsAndAFloodIsCounted(t *testing.T) {
	var mu sync.Mutex
	var events []bottle.Event
	l := noteLimit{seen: map[string]struct{}{}, left: noteBurst, record: func(e bottle.Event) { mu.Lock(); defer mu.Unlock(); events = append(events, e) }}
	now := time.Now()
	for range 3 {
		l.question(dns.Question{Name: "A.example.", Qtype: dns.TypeA}, now)
		l.question(dns.Question{Name: "a.Example.", Qtype: dns.TypeA}, now)
	}
	l.question(dns.Question{Name: "a.example.", Qtype: dns.TypeTXT}, now)
	if len(events) != 2 || events[0].Host != "A.example" || events[0].Detail != "A" || events[1].Detail != "TXT" {
		t.Fatalf("events %+v", events)
	}
	for i := range 20_000 {
		l.question(dns.Question{Name: fmt.Sprintf("x%d.example.", i), Qtype: dns.TypeA}, now)
	}
	if len(events) != noteBurst || l.dropped != 20_000-noteBurst+2 {
		t.Errorf("%d events, %d dropped", len(events), l.dropped)
	}
	for i := range 2 * maxSeen {
		now = now.Add(time.Second)
		l.question(dns.Question{Name: fmt.Sprintf("y%d.example.", i), Qtype: dns.TypeA}, now)
	}
	if len(events) != noteBurst+2*maxSeen || len(l.seen) > maxSeen || !strings.Contains(events[noteBurst].Detail, "19902 questions") {
		t.Errorf("%d events, %d remembered, first after the flood %+v", len(events), len(l.seen), events[noteBurst])
	}
}

func FuzzNameAnswer(f *testing.F) {
	for _, q := range []*dns.Msg{new(dns.Msg).SetQuestion("a.example.", dns.TypeA), new(dns.Msg).SetQuestion("b.", dns.TypeAAAA).SetEdns0(512, true)} {
		data, _ := q.Pack()
		f.Add(data)
	}
	self := netip.MustParseAddr("10.83.0.2")
	f.Fuzz(func(t *testing.T, data []byte) {
		var q dns.Msg
		if q.Unpack(data) != nil {
			return
		}
		n := &nameServer{self: self, notes: noteLimit{seen: map[string]struct{}{}, left: 1, record: func(bottle.Event) {}}}
		m := n.answer(&q)
		for _, rr := range m.Answer {
			if a, ok := rr.(*dns.A); !ok || a.A.String() != self.String() {
				t.Fatalf("%v", m)
			}
		}
		if packed, err := m.Pack(); err == nil && len(packed) > len(data)+300 {
			t.Fatalf("%d bytes for a question of %d", len(packed), len(data))
		}
	})
}
