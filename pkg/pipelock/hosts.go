package pipelock

import (
	"time"

	"bottle/pkg/policy"
)

// Hosts are those that a policy leads to at a time, sorted, each once; left are
// those among them that pipelock's list cannot hold, which therefore stay closed
// there.
func Hosts(p policy.Policy, now time.Time) (hosts, left []string) {
	add := func(r *policy.Route) {
		if Holds(r.Host) {
			hosts = append(hosts, r.Host)
		} else {
			left = append(left, r.Host)
		}
	}
	for i := range p.Routes {
		add(&p.Routes[i])
	}
	for i := range p.Grants {
		if g := &p.Grants[i]; g.Opens() && g.Live(now) {
			add(&g.Route)
		}
	}
	return sorted(hosts), sorted(left)
}

// Holds says whether a host can stand on pipelock's list and mean there what it
// means in a policy: a "*" would match names there, and matches nothing here.
func Holds(host string) bool {
	for i := range len(host) {
		c := host[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return host != ""
}

// Missing are the hosts that are in want and not in have.
func Missing(have, want []string) []string {
	known := map[string]bool{}
	for _, h := range have {
		known[h] = true
	}
	var missing []string
	for _, h := range want {
		if !known[h] {
			missing = append(missing, h)
		}
	}
	return missing
}
