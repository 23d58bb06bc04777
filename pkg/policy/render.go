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
			if g.Uses > 0 {
				fmt.Fprintf(&b, "    uses: %d\n", g.Uses)
			}
			if g.Rule != "" {
				fmt.Fprintf(&b, "    rule: %q\n", g.Rule)
			}
			if g.Scanner != "" {
				fmt.Fprintf(&b, "    scanner: %q\n", g.Scanner)
			}
		})
	}
	if len(p.Silenced) > 0 {
		section(&b, "silenced", p.Silenced, func(s Silence) { fmt.Fprintf(&b, "  - {%s}\n", s.keys()) })
	}
	if len(p.Given) > 0 {
		section(&b, "given", p.Given, func(g Given) {
			fmt.Fprintf(&b, "  - {name: %q, credential: %q, hosts: [%s]}\n", g.Name, g.Credential, quoted(g.Hosts))
		})
	}
	if !p.Model.zero() {
		fmt.Fprintf(&b, "model: {server_tools: [%s], url_sources: %t}\n", quoted(p.Model.ServerTools), p.Model.URLSources)
	}
	if p.MaxBody > 0 {
		fmt.Fprintf(&b, "max_body: %d\n", p.MaxBody)
	}
	if p.AskTimeout > 0 {
		fmt.Fprintf(&b, "on_deny: ask\nask_timeout: %s\n", p.AskTimeout)
	}
	return []byte(b.String())
}

// keys writes a silence as keys of a flow mapping.
func (s Silence) keys() string {
	port := ""
	if s.Port > 0 {
		port = fmt.Sprintf("port: %d, ", s.Port)
	}
	pattern := ""
	if s.Pattern != "" {
		pattern = fmt.Sprintf(", pattern: %q", s.Pattern)
	}
	reason := ""
	if s.Reason != "" {
		reason = fmt.Sprintf(", reason: %q", s.Reason)
	}
	return fmt.Sprintf("host: %q, %spath: %q%s%s", s.Host, port, s.Path, pattern, reason)
}

// keys writes an exception as keys of a flow mapping.
func (e Exception) keys() string {
	if e.Path == "" {
		return fmt.Sprintf("rule: %q", e.Rule)
	}
	return fmt.Sprintf("rule: %q, path: %q", e.Rule, e.Path)
}

// render writes what is let through.
func (s Scan) render() string {
	var parts []string
	if len(s.Allow) > 0 {
		var list []string
		for _, e := range s.Allow {
			list = append(list, "{"+e.keys()+"}")
		}
		parts = append(parts, "allow: ["+strings.Join(list, ", ")+"]")
	}
	if s.Stream {
		parts = append(parts, "oversize: stream")
	}
	return "{" + strings.Join(parts, ", ") + "}"
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
	if !r.Scan.zero() {
		key("scan: %s", r.Scan.render())
	}
	if r.Model != "" {
		key("model: %s", r.Model)
	}
}

func quoted(words []string) string {
	q := make([]string, len(words))
	for i, w := range words {
		q[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(q, ", ")
}
