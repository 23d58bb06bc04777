package dlp

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
)

// ask is one request of a connection.
type ask struct {
	s      *Scanner
	policy Policy
	target string
	fields []Field
	body   string
}

// scan scans it, its head by head, and returns all that came of it.
func (a ask) scan(head func(q *Request, target []byte, fields []Field) error) (err error, passed []Passed, work, room int64) {
	q := a.s.Request(a.policy)
	defer q.Close()
	if err = head(q, []byte(a.target), a.fields); err == nil {
		err = bodyOf(q, "text/plain", "", []byte(a.body), 1<<20)
	}
	return err, q.Passed(), q.work, q.room
}

// same scans it after what last knows, and as if it were the first.
func (a ask) same(t *testing.T, last *LastHead) error {
	t.Helper()
	got, passed, work, room := a.scan(last.Head)
	want, wantPassed, wantWork, wantRoom := a.scan((*Request).Head)
	if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(passed, wantPassed) || work != wantWork || room != wantRoom {
		t.Errorf("%q %q: %v, %v, %d, %d; as the first one: %v, %v, %d, %d", a.target, a.body, got, passed, work, room, want, wantPassed, wantWork, wantRoom)
	}
	return want
}

// TestLastHeadHidesNothing sends what passes twice, so that its head is known, and
// then what must not pass behind it.
func TestLastHeadHidesNothing(t *testing.T) {
	key, one, other := ghp(), scanner(t), scanner(t, Known{Name: "OTHER", Value: []byte(secret)}, Known{Name: "KEY", Value: []byte("tr0ub4dor-and-3-more")})
	first := ask{one, Policy{Host: "a"}, "/x", headers("X-A", "b", "X-C", "tr0ub4dor-and-3-more"), "hello"}
	with := func(change func(a *ask)) ask {
		a := first
		a.fields = append([]Field(nil), first.fields...)
		change(&a)
		return a
	}
	for name, next := range map[string]ask{
		"the path":           with(func(a *ask) { a.target = "/" + key }),
		"a field":            with(func(a *ask) { a.fields[0].Value = []byte(key) }),
		"a field's name":     with(func(a *ask) { a.fields[0].Name = []byte(secret) }),
		"one field more":     with(func(a *ask) { a.fields = append(a.fields, headers("X-A", key)...) }),
		"the body":           with(func(a *ask) { a.body = key }),
		"a new known secret": with(func(a *ask) { a.s = other }),
	} {
		var last LastHead
		for range 2 {
			if err := first.same(t, &last); err != nil {
				t.Fatal(err)
			}
		}
		if err := next.same(t, &last); !errors.As(err, new(*Finding)) {
			t.Errorf("%s: %v", name, err)
		}
		if err := first.same(t, &last); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
}

// TestLastHeadHidesNoHalf has a head that holds the first half of a secret.
func TestLastHeadHidesNoHalf(t *testing.T) {
	var last LastHead
	half := ask{scanner(t), Policy{Host: "a"}, "/x?n=" + secret[:10], nil, "hello"}
	for range 2 {
		if err := half.same(t, &last); err != nil {
			t.Fatal(err)
		}
	}
	half.body = secret[10:]
	if err := half.same(t, &last); !errors.As(err, new(*Finding)) {
		t.Errorf("both halves: %v", err)
	}
}

// TestLastHeadKnowsTheSameHead says that it is used at all, and when not.
func TestLastHeadKnowsTheSameHead(t *testing.T) {
	s := scanner(t)
	first := ask{s, Policy{Host: "a"}, "/x", headers("X-A", "b"), "hello"}
	var last LastHead
	first.same(t, &last)
	for name, next := range map[string]ask{
		"":              first,
		"another host":  {s, Policy{Host: "b"}, "/x", headers("X-A", "b"), ""},
		"a model":       {s, Policy{Host: "a", Model: true}, "/x", headers("X-A", "b"), ""},
		"an exception":  {s, Policy{Host: "a", Allow: []Exception{{Rule: "github-pat"}}}, "/x", headers("X-A", "b"), ""},
		"other rules":   {scanner(t), Policy{Host: "a"}, "/x", headers("X-A", "b"), ""},
		"a field apart": {s, Policy{Host: "a"}, "/x", headers("X-Ab", ""), ""},
		"a credential":  {s, Policy{Host: "a"}, "/x", []Field{{Name: []byte("X-A"), Value: []byte("b"), Credential: true}}, ""},
	} {
		q := next.s.Request(next.policy)
		if known := q.untouched() && last.is(q, []byte(next.target), next.fields); known != (name == "") {
			t.Errorf("%s: %v", name, known)
		}
		q.Close()
	}
	long := first
	long.fields = headers("X-A", strings.Repeat("a b ", maxLastHead/4))
	if long.same(t, &last); last.rules != nil {
		t.Error("it keeps a long head")
	}
}

// FuzzLastHead sends requests over one connection, and each must come to what it
// comes to alone. A line of data is one: the first byte says to whom and by what
// rules, and the rest are target, a field's name, its value, and a body.
func FuzzLastHead(f *testing.F) {
	key := ghp()
	f.Add([]byte("\x00/a|X-A|b|c\n\x00/a|X-A|b|c\n\x10/a|X-A|b|" + secret + "\n\x01/a|X-A|b|c"))
	f.Add([]byte("\x00/a|X-A|" + secret[:8] + "|c\n\x00/a|X-A|" + secret[:8] + "|" + secret[8:]))
	f.Add([]byte("\x04/a|X-A|" + key + "|c\n\x04/a|X-A|" + key + "|c\n\x00/a|X-A|" + key + "|c"))
	f.Add([]byte("\x00/server.pfx|A|b|c\n\x00/server.pfx|A|b|c\n\x02/a|Authorization|" + key + "|\n\x0a/a|Authorization|" + key + "|"))
	scanners := []*Scanner{scanner(f), scanner(f, Known{Name: "KEY", Value: []byte("tr0ub4dor-and-3-more"), Hosts: []string{"b"}})}
	f.Fuzz(func(t *testing.T, data []byte) {
		var last LastHead
		lines := bytes.Split(data, []byte("\n"))
		for _, line := range lines[:min(len(lines), 16)] {
			if len(line) == 0 {
				continue
			}
			how := line[0]
			parts := append(bytes.SplitN(line[1:], []byte("|"), 4), nil, nil, nil)
			a := ask{s: scanners[how&1], policy: Policy{Host: "a", Model: how&2 != 0}, target: string(parts[0]),
				fields: []Field{{Name: parts[1], Value: parts[2], Credential: how&8 != 0}}, body: string(parts[3])}
			if how&4 != 0 {
				a.policy.Allow = []Exception{{Rule: "github-pat"}}
			}
			if how&16 != 0 {
				a.policy.Host = "b"
			}
			for range 1 + how>>5&1 {
				a.same(t, &last)
			}
		}
	})
}
