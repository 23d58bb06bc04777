package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Summary is one entry in a line, for people.
func (r *Route) Summary() string {
	parts := []string{r.Host}
	if r.Scheme != HTTPS || r.Port != DefaultPort(r.Scheme) {
		parts[0] = r.originText()
	}
	if len(r.Paths) == 0 {
		parts = append(parts, EntireHost)
	} else {
		parts = append(parts, strings.Join(r.Paths, " "))
	}
	if len(r.Methods) > 0 {
		parts = append(parts, strings.Join(r.Methods, " "))
	}
	if r.Auth.Set() {
		parts = append(parts, "[auth:"+r.Auth.String()+"]")
	}
	if r.Private {
		parts = append(parts, "[private]")
	}
	if !r.Scan.zero() {
		parts = append(parts, "["+r.Scan.Summary()+"]")
	}
	return strings.Join(parts, "  ")
}

// originText is the entry's URL without a path.
func (r *Route) originText() string {
	if r.Port == DefaultPort(r.Scheme) {
		return r.Scheme + "://" + r.Host
	}
	return fmt.Sprintf("%s://%s:%d", r.Scheme, r.Host, r.Port)
}

// EntireHost is how people are shown an empty path list.
const EntireHost = "ENTIRE HOST"

// Row is what people and agents are shown of one host: the union of its
// entries. It may show more than any of them allows; nothing is decided by it.
type Row struct {
	Host string `json:"host"`
	// Origins are the URLs without a path that may be asked.
	Origins    []string `json:"origins"`
	EntireHost bool     `json:"entire_host"`
	Paths      []string `json:"path_allowlist"` // empty: the entire host
	Methods    []string `json:"methods"`        // empty: all
	// Auth is what egress adds by itself: authorization schemes and headers.
	Auth    []string   `json:"auth,omitempty"`
	Private bool       `json:"private,omitempty"`
	Expires *time.Time `json:"expires,omitempty"` // when the last of it ends; absent: it does not
}

// View returns a row for each host, in the order of the policy; grants that are
// over at now are left out, and so is what matches no host.
func View(p Policy, now time.Time) []Row {
	rows := []Row{}
	index := map[string]int{}
	add := func(r *Route, expires *time.Time) {
		if r.Wildcard() {
			return
		}
		i, known := index[r.Host]
		if !known {
			i = len(rows)
			index[r.Host] = i
			rows = append(rows, Row{Host: r.Host, Paths: []string{}, Methods: []string{}, Expires: expires})
		}
		rows[i].add(r, expires, known)
	}
	for i := range p.Routes {
		add(&p.Routes[i], nil)
	}
	for i := range p.Grants {
		g := &p.Grants[i]
		switch {
		case !g.Live(now), !g.Opens():
		case g.Expires.IsZero():
			add(&g.Route, nil)
		default:
			add(&g.Route, &g.Expires)
		}
	}
	return rows
}

// add makes the row the union with one more entry.
func (w *Row) add(r *Route, expires *time.Time, more bool) {
	allMethods := more && len(w.Methods) == 0
	w.Origins = union(w.Origins, r.originText())
	if w.EntireHost = w.EntireHost || len(r.Paths) == 0; w.EntireHost {
		w.Paths = []string{}
	} else {
		w.Paths = union(w.Paths, r.Paths...)
	}
	if allMethods || len(r.Methods) == 0 {
		w.Methods = []string{}
	} else {
		w.Methods = union(w.Methods, r.Methods...)
	}
	if r.Auth.Set() {
		w.Auth = union(w.Auth, r.Auth.String())
	}
	w.Private = w.Private || r.Private
	if w.Expires != nil && (expires == nil || expires.After(*w.Expires)) {
		w.Expires = expires
	}
}

// PathText is the row's paths for people.
func (w *Row) PathText() []string {
	if w.EntireHost {
		return []string{EntireHost}
	}
	return w.Paths
}

func union(have []string, more ...string) []string {
	for _, s := range more {
		if !slices.Contains(have, s) {
			have = append(have, s)
		}
	}
	return have
}
