// Package probe tries, from inside a bottle, the attacks that can be tried
// there. The self-test after every bring-up runs the first rows, the escape
// suite all of them. A probe knows nothing of plans or engines: what it must
// not reach comes in as Targets. It judges the walls and changes nothing.
package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// Bound is how long one attempt may take: a wall that needs longer to say no is
// no wall to a program that waits.
const Bound = 2 * time.Second

// Targets are what a bottle must not reach, and the two things it may: its
// egress and a host that is allowed. Empty fields only leave attempts out.
type Targets struct {
	Egress     netip.Addr       `json:"egress"`               // on the bottle's own network
	Inner      netip.Prefix     `json:"inner"`                // the bottle's own network
	Gateway    netip.Addr       `json:"gateway"`              // where a bridge has the host's address
	Host       []netip.Addr     `json:"host,omitempty"`       // every address of the host
	HostDNS    []netip.Addr     `json:"host_dns,omitempty"`   // the host's name servers
	Neighbours []netip.Addr     `json:"neighbours,omitempty"` // containers of other bottles
	Names      []string         `json:"names,omitempty"`      // names of theirs
	Uplink     []netip.Addr     `json:"uplink,omitempty"`     // members of the uplink, this egress' second address too
	Internet   []netip.AddrPort `json:"internet,omitempty"`   // what stands for the internet, besides documentation ranges
	Listeners  []netip.AddrPort `json:"listeners,omitempty"`  // listeners on the host
	Refused    []string         `json:"refused,omitempty"`    // hosts that no route names
	Runtime    string           `json:"runtime,omitempty"`    // GVisor, or anything else
}

// Result is what became of one row.
type Result struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	By     string `json:"by"` // network, container, egress or host
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"` // what got through, empty if nothing
	Millis int64  `json:"ms"`
}

// String is the row's line: "A3 blocked by network".
func (r Result) String() string {
	if r.OK {
		return r.ID + " blocked by " + r.By
	}
	return fmt.Sprintf("%s FAILED (%s): %s", r.ID, r.Title, r.Detail)
}

// Row is one row of the threat model.
type Row struct {
	ID, Title, By string
	attempts      func(Targets) []attempt
}

// NeedsEgress says whether egress must serve for the row to mean something.
func (r Row) NeedsEgress() bool { return strings.Contains(r.By, "egress") }

// attempt is one way to try a row. It returns nil where the wall stood, and
// otherwise what came of it.
type attempt struct {
	what string
	try  func(ctx context.Context) error
	// wait is this attempt's own bound; zero: the one of all.
	wait time.Duration
	// datagram is whither one is sent, where that is the attempt.
	datagram netip.Addr
}

// SelfTest runs the rows of the self-test side by side. With standing walls it
// takes a twentieth of a second.
func SelfTest(ctx context.Context, t Targets) []Result { return runRows(ctx, SelfTestRows(), t) }

// Run runs the rows with these IDs side by side. An ID that no row has is an
// error: a misspelt attack must not count as a blocked one.
func Run(ctx context.Context, ids []string, t Targets) ([]Result, error) {
	var chosen []Row
	for _, id := range ids {
		row, err := find(id)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, row)
	}
	return runRows(ctx, chosen, t), nil
}

func find(id string) (Row, error) {
	for _, r := range rows {
		if r.ID == id {
			return r, nil
		}
	}
	return Row{}, fmt.Errorf("no probe has the id %q", id)
}

func runRows(ctx context.Context, chosen []Row, t Targets) []Result {
	results := make([]Result, len(chosen))
	var all sync.WaitGroup
	for i, row := range chosen {
		all.Go(func() { results[i] = row.run(ctx, t) })
	}
	all.Wait()
	return results
}

func (r Row) run(ctx context.Context, t Targets) Result {
	began := time.Now()
	attempts := r.attempts(t)
	failed := make([]error, len(attempts))
	var all sync.WaitGroup
	for i, a := range attempts {
		all.Go(func() {
			if err := t.on(a).run(ctx, t.bound()); err != nil {
				failed[i] = fmt.Errorf("%s: %w", a.what, err)
			}
		})
	}
	all.Wait()
	result := Result{ID: r.ID, Title: r.Title, By: r.By, Detail: summary(failed), Millis: time.Since(began).Milliseconds()}
	if len(attempts) == 0 {
		result.Detail = "nothing was tried: the targets are incomplete"
	}
	result.OK = result.Detail == ""
	return result
}

// errSlow is the failure of an attempt that got no answer. Silence is no wall:
// it may be a packet under way.
var errSlow = errors.New("no answer within the bound")

func (a attempt) run(ctx context.Context, bound time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(a.wait, bound))
	defer cancel()
	err := a.try(ctx)
	if err == nil && ctx.Err() != nil {
		return errSlow
	}
	return err
}

// summary joins what failed, the first few of them: what got through before
// what only kept silent.
func summary(failed []error) string {
	const most = 4
	var through, silent []string
	for _, err := range failed {
		switch {
		case errors.Is(err, errSlow):
			silent = append(silent, err.Error())
		case err != nil:
			through = append(through, err.Error())
		}
	}
	said := append(through, silent...)
	if more := len(said) - most; more > 0 {
		said = append(said[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(said, "; ")
}
