package policy

import (
	"fmt"
	"strings"
	"time"
)

// Render writes p in the form that Parse reads, defaults left out.
func Render(p Policy) []byte {
	var b strings.Builder
	section(&b, "routes", p.Routes, func(r Route) { r.render(&b, "  - ") })
	if len(p.Grants) > 0 {
		section(&b, "grants", p.Grants, func(g Grant) {
			fmt.Fprintf(&b, "  - id: %q\n", g.ID)
			g.render(&b, "    ")
			if !g.Expires.IsZero() {
				fmt.Fprintf(&b, "    expires: %q\n", g.Expires.Format(time.RFC3339))
			}
		})
	}
	if len(p.Silenced) > 0 {
		section(&b, "silenced", p.Silenced, func(s Silence) { fmt.Fprintf(&b, "  - {host: %q, path: %q}\n", s.Host, s.Path) })
	}
	if len(p.Given) > 0 {
		section(&b, "given", p.Given, func(g Given) {
			fmt.Fprintf(&b, "  - {name: %q, credential: %q, hosts: [%s]}\n", g.Name, g.Credential, quoted(g.Hosts))
		})
	}
	return []byte(b.String())
}

func section[T any](b *strings.Builder, name string, items []T, each func(T)) {
	if len(items) == 0 {
		fmt.Fprintf(b, "%s: []\n", name)
		return
	}
	fmt.Fprintf(b, "%s:\n", name)
	for _, item := range items {
		each(item)
	}
}

// render writes an entry's keys; first leads the first line.
func (r *Route) render(b *strings.Builder, first string) {
	// Quoted: a host such as "null" or "1e3.x" must stay text, and "*" is no alias.
	fmt.Fprintf(b, "%shost: %q\n", first, r.Host)
	key := func(format string, args ...any) { fmt.Fprintf(b, "    "+format+"\n", args...) }
	if r.Scheme != HTTPS {
		key("scheme: %s", r.Scheme)
	}
	if r.Port != DefaultPort(r.Scheme) {
		key("port: %d", r.Port)
	}
	if len(r.Paths) > 0 {
		key("path_allowlist: [%s]", quoted(r.Paths))
	}
	if len(r.Methods) > 0 {
		key("methods: [%s]", quoted(r.Methods))
	}
	if r.Auth.Set() {
		how, word, refresh := "scheme", r.Auth.Scheme, ""
		if r.Auth.Header != "" {
			how, word = "header", r.Auth.Header
		}
		if r.Auth.Refresh > 0 {
			refresh = fmt.Sprintf(", refresh: %q", r.Auth.Refresh)
		}
		key("auth: {%s: %q, credential: %q%s}", how, word, r.Auth.Credential, refresh)
	}
	if r.Private {
		key("private: true")
	}
	if r.RefuseForeign {
		key("foreign_credentials: refuse")
	}
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, ", ")
}
