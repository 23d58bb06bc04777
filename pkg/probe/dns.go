package probe

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

// embedded is the engine's own name server, which every container sees.
const embedded = "127.0.0.11"

// question is a DNS query for a name that nobody has.
var question = func() []byte {
	packed, err := new(dns.Msg).SetQuestion("probe.bottle.test.", dns.TypeA).Pack()
	if err != nil {
		panic(err) // a constant
	}
	return packed
}()

// dnsTunnel is row A3: names that tell something, asked of both name servers
// the agent has. Only the egress itself may answer, and only with itself.
func dnsTunnel(t Targets) []attempt {
	if !t.Egress.IsValid() {
		return nil
	}
	// Long labels, as a tunnel has them. ".test" is nobody's.
	name := strings.ToLower(rand.Text() + "." + rand.Text() + ".tunnel.test")
	return foreignNames(t.Egress, name)
}

// foreignNames asks for one name in all ways.
func foreignNames(egress netip.Addr, name string) []attempt {
	var list []attempt
	for _, server := range []string{embedded, egress.String()} {
		for _, network := range []string{"udp", "tcp"} {
			for _, kind := range []uint16{dns.TypeA, dns.TypeAAAA, dns.TypeTXT} {
				list = append(list, attempt{wait: patience,
					what: fmt.Sprintf("%s of %s at %s/%s", dns.TypeToString[kind], name, server, network),
					try: func(ctx context.Context) error {
						return egressAnswers(ctx, query{server, network, name, kind}, egress)
					},
				})
			}
		}
	}
	return list
}

// patience is how long egress' answer is waited for. Silence is no wall, and it
// is no hole either: an engine that starts ten bottles at once hands questions
// on late. Whoever else answers, does so in time.
const patience = 12 * time.Second

type query struct {
	server, network, name string
	kind                  uint16
}

// egressAnswers asks, and holds the answer to what egress says to foreign
// names: A is itself, everything else is empty.
func egressAnswers(ctx context.Context, q query, egress netip.Addr) error {
	client := dns.Client{Net: q.network, Timeout: Bound}
	answer, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(q.name), q.kind), q.server+":53")
	for late(q, err) && ctx.Err() == nil {
		answer, _, err = client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(q.name), q.kind), q.server+":53")
	}
	if err != nil {
		// Runtimes with a network stack of their own have no embedded server.
		if q.server == embedded && (errors.Is(err, unix.ECONNREFUSED) || unreachable(err)) {
			return nil
		}
		return fmt.Errorf("egress did not answer: %w", err)
	}
	return judgeAnswer(answer, q.kind, egress)
}

// late says whether err is of an answer that may come yet: silence, or egress
// that is not found at once on its network, where everybody is asked only once.
func late(q query, err error) bool {
	return silent(err) || q.server != embedded && errors.Is(err, unix.EHOSTUNREACH)
}

func judgeAnswer(answer *dns.Msg, kind uint16, egress netip.Addr) error {
	if answer.Rcode != dns.RcodeSuccess && !(answer.Rcode == dns.RcodeNameError && kind != dns.TypeA) {
		return fmt.Errorf("answered %s: somebody else was asked", dns.RcodeToString[answer.Rcode])
	}
	if kind == dns.TypeA && len(answer.Answer) == 0 {
		return errors.New("no address: not egress' answer")
	}
	for _, rr := range answer.Answer {
		a, ok := rr.(*dns.A)
		if ip, valid := netip.AddrFromSlice(a4(a)); !ok || !valid || kind != dns.TypeA || ip != egress {
			return fmt.Errorf("answered %q: not egress' answer", rr.String())
		}
	}
	return nil
}

func a4(a *dns.A) []byte {
	if a == nil {
		return nil
	}
	return a.A.To4()
}
