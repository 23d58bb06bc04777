package dlp

import (
	"bytes"
	"strings"
)

// Field is a header field. Credential: it is one that carries the sender's
// credential to this host, such as Authorization.
type Field struct {
	Name, Value []byte
	Credential  bool
}

// Head scans what comes before a body: the target as it was sent (a path and a
// query) and the header fields. Its error is a *Finding or a *Refusal.
func (q *Request) Head(target []byte, fields []Field) error {
	path, query, _ := bytes.Cut(target, []byte("?"))
	q.path = string(path)
	q.grow(len(target))
	q.inHead = true
	t := q.newText(0)
	t.field(urlPath, path)
	t.pairs(query, '&', urlQuery, true)
	for i := range fields {
		q.grow(len(fields[i].Value))
		t.header(&fields[i], headerPlace)
	}
	t.close()
	q.inHead = false
	return q.err
}

// Trailers scans the fields behind a body.
func (q *Request) Trailers(fields []Field) error {
	if q.err != nil || len(fields) == 0 {
		return q.err
	}
	q.inHead = true
	t := q.newText(0)
	for i := range fields {
		q.grow(len(fields[i].Value))
		t.header(&fields[i], trailerPlace)
	}
	t.close()
	q.inHead = false
	return q.err
}

var (
	urlPath      = &place{key: "path", up: &place{key: "url"}}
	urlQuery     = &place{key: "query", up: &place{key: "url"}}
	headerPlace  = &place{key: "header"}
	trailerPlace = &place{key: "trailer"}
	cookiePlace  = &place{key: "cookie", cookie: true}
)

// field writes one field's value.
func (t *text) field(p *place, value []byte) {
	t.mark(mark{up: p, index: -1})
	t.write(value)
	t.gap(p)
}

// headerNames are names of headers as most programs write them.
var headerNames = func() map[string]string {
	m := map[string]string{}
	for _, name := range []string{"Accept", "Accept-Encoding", "Accept-Language", "Anthropic-Beta", "Anthropic-Version", "Authorization",
		"Cache-Control", "Content-Encoding", "Content-Type", "Cookie", "Git-Protocol", "Origin", "Pragma", "Referer", "User-Agent", "X-Api-Key", "X-App",
		"X-Stainless-Arch", "X-Stainless-Lang", "X-Stainless-Os", "X-Stainless-Package-Version", "X-Stainless-Retry-Count", "X-Stainless-Runtime",
		"X-Stainless-Runtime-Version", "X-Stainless-Timeout"} {
		low := strings.ToLower(name)
		m[name], m[low] = low, low
	}
	return m
}()

func lowered(name []byte) string {
	if low, ok := headerNames[string(name)]; ok {
		return low
	}
	return strings.ToLower(string(name))
}

func (t *text) gap(p *place) {
	t.mark(mark{up: p, index: -1, kind: kindGap})
	t.write([]byte{'\n'})
}

func (t *text) header(f *Field, up *place) {
	name := lowered(f.Name)
	if name == "cookie" && up == headerPlace {
		t.pairs(f.Value, ';', cookiePlace, false)
		return
	}
	p := t.q.place(place{up: up, key: name, credential: f.Credential})
	t.mark(mark{up: p, index: -1, kind: kindKey})
	t.write(f.Name)
	t.mark(mark{up: p, index: -1, kind: kindGap})
	t.write([]byte(": "))
	t.field(p, f.Value)
}

// pairs writes NAME=VALUE pairs, decoded where they are a query's or a form's.
func (t *text) pairs(list []byte, separator byte, up *place, decode bool) {
	for len(list) > 0 {
		var pair []byte
		pair, list, _ = bytes.Cut(list, []byte{separator})
		name, value, ok := bytes.Cut(bytes.TrimLeft(pair, " "), []byte("="))
		if decode {
			name, value = unquery(name), unquery(value)
		}
		m := mark{up: up, key: string(name[:min(len(name), maxName)]), index: -1}
		if m.kind = kindKey; !ok {
			m.kind = kindValue
		}
		t.mark(m)
		t.write(name)
		m.kind = kindGap
		t.mark(m)
		if !ok {
			t.write([]byte{'\n'})
			continue
		}
		t.write([]byte{'='})
		m.kind = kindValue
		t.mark(m)
		t.write(value)
		m.kind = kindGap
		t.mark(m)
		t.write([]byte{'\n'})
	}
}

// unquery undoes a query's escapes.
func unquery(s []byte) []byte {
	if bytes.IndexByte(s, '%') < 0 && bytes.IndexByte(s, '+') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '+':
			out = append(out, ' ')
		case '%':
			if n, c := hexEscape(s[i:], 1, 2); n > 0 {
				out = append(out, byte(c))
				i += n - 1
				continue
			}
			out = append(out, '%')
		default:
			out = append(out, s[i])
		}
	}
	return out
}
