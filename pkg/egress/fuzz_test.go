package egress

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"bottle/pkg/policy"
)

// FuzzRequest holds the property that all rests on: where a request is allowed,
// a strict and an independent reader (net/http) finds in what leaves exactly
// one request, for the host, port, method and path that were judged, and no
// field of this hop.
func FuzzRequest(f *testing.F) {
	for _, c := range smuggling {
		f.Add([]byte(wire(c.raw)), true)
	}
	for _, c := range judged {
		f.Add([]byte(wire(c.raw)), false)
	}
	f.Add([]byte(wire("GET http://plain.example/a?b HTTP/1.1~Host: H~Connection: x~X: y~~")), true)
	f.Add([]byte(wire("OPTIONS * HTTP/1.0~~")), false)
	f.Add([]byte(wire("POST /%2e%2e/ HTTP/1.1~Host: PLAIN.example.:80~Content-Length: 007~~")), false)
	p := &policy.Policy{Routes: []policy.Route{{Host: "plain.example", Scheme: policy.HTTP, Port: 80}, {Host: "odd.example", Scheme: policy.HTTP, Port: 8080}}}
	f.Fuzz(func(t *testing.T, data []byte, proxy bool) {
		in := newReader(bytes.NewReader(data))
		head, err := in.head()
		if err != nil {
			return
		}
		var q request
		if q.parse(head) != nil {
			return
		}
		fr := front{proxy: proxy, scheme: policy.HTTP, port: 80}
		if q.method == "CONNECT" {
			fr.tunnel(&q)
			return
		}
		o, target, refused := fr.route(&q)
		if refused != nil {
			return
		}
		if _, refused = judge(p, &uses{}, &q, o, string(path(target))); refused != nil {
			return
		}
		if o.host != "plain.example" && o.host != "odd.example" {
			t.Fatalf("%q was allowed for %v", data, o)
		}
		q.expect = nil
		out := appendRequest(nil, &q, o, target)
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
		if err != nil {
			if strings.Contains(err.Error(), "parse") || strings.Contains(err.Error(), "invalid URI") || strings.Contains(err.Error(), "invalid method") {
				return // net/http wants well-formed percent signs; upstreams may not
			}
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		wantHost := o.host
		if o.port != 80 {
			wantHost = fmt.Sprintf("%s:%d", o.host, o.port)
		}
		if r.Host != wantHost || r.Method != q.method || r.RequestURI != string(target) {
			t.Fatalf("%q became %q, read as %s %s for %s", data, out, r.Method, r.RequestURI, r.Host)
		}
		for _, name := range []string{"Connection", "Upgrade", "Keep-Alive", "Te", "Proxy-Authorization", "Proxy-Connection"} {
			if r.Header.Get(name) != "" {
				t.Fatalf("%q left with %s", data, name)
			}
		}
		if n := r.ContentLength; !q.chunked && n != max(q.length, 0) || q.chunked && n != -1 {
			t.Fatalf("%q: a body of %d became one of %d", data, q.length, n)
		}
	})
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte(wire("HTTP/1.1 200 OK~Content-Length: 2~~ok")))
	f.Add([]byte(wire("HTTP/1.1 200~Transfer-Encoding: chunked~Keep-Alive: timeout=99999999999~~0~~")))
	f.Add([]byte(wire("HTTP/1.0 999 x~Connection: a, b,,~A: 1~~")))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := newReader(bytes.NewReader(data))
		head, err := in.head()
		if err != nil {
			return
		}
		var p response
		if p.parse(head) != nil {
			return
		}
		b, err := answerBody("GET", &p)
		if err != nil || p.status < 200 {
			return
		}
		out := appendResponse(nil, &p, b.chunked, b.length, true)
		r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), nil)
		if err != nil {
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		if r.StatusCode != p.status || r.Header.Get("X-Bottle-Blocked") != "" || r.Header.Get("Upgrade") != "" {
			t.Fatalf("%q became %q", data, out)
		}
	})
}

// FuzzChunked compares with net/http's reader: what we take, it takes, and both
// find the same payload, also in what we write.
func FuzzChunked(f *testing.F) {
	for _, s := range []string{"5~hello~0~~", "5;x=y~hello~0~A: b~~", "0~~", "000~~", "A~0123456789~1~x~0~~", "5~hell", "1~ab~0~~", "0~A: b~ c~~", "fffffffffffffff~a"} {
		f.Add([]byte(wire(s)), uint8(3))
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint8) {
		n := min(int(cut), len(data))
		in := newReader(&pieces{append([]byte(nil), data[:n]...), append([]byte(nil), data[n:]...)})
		var out bytes.Buffer
		size, err := body{chunked: true, length: -1}.relay(&out, &in, nil, true, nil)
		if err != nil {
			return
		}
		head := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		read := func(b []byte) []byte {
			r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(head), bytes.NewReader(b))))
			must(t, err)
			payload, err := io.ReadAll(r.Body)
			if err != nil {
				t.Fatalf("we took %q as %q, net/http says %v", data, b, err)
			}
			return payload
		}
		again := read(out.Bytes())
		if int64(len(again)) != size {
			t.Fatalf("%q: %d bytes became %d", data, size, len(again))
		}
		if !bytes.Contains(data, []byte{';'}) && !bytes.Contains(data, []byte{':'}) && !bytes.Equal(read(data), again) {
			t.Fatalf("%q: the payload changed", data)
		}
	})
}

func FuzzAuthority(f *testing.F) {
	for _, s := range []string{"a.example:443", "a:443:80", "u@a:443", "a:0443", "[::1]:443", "[::1", "::1:443", "A.Example.:1", ":443", "a:", "bücher.example:443", "127.1:443"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		o, err := parseAuthority(data, policy.HTTPS, 0)
		if err != nil || o.address {
			return
		}
		if o.port < 1 || o.port > 65535 || strings.ContainsAny(o.host, ":@/[]%?# ") {
			t.Fatalf("%q is %v", data, o)
		}
		if !bytes.HasSuffix(data, fmt.Appendf(nil, ":%d", o.port)) {
			t.Fatalf("%q has port %d", data, o.port)
		}
		if again, err := parseAuthority(fmt.Appendf(nil, "%s:%d", o.host, o.port), policy.HTTPS, 0); err != nil || again != o {
			t.Fatalf("%q: %v, %v", data, again, err)
		}
	})
}

// FuzzSpelled says that an origin's own spelling is read as that origin, and that
// nothing else is one.
func FuzzSpelled(f *testing.F) {
	for _, s := range []string{"a.example", "a.example:443", "a.example:0443", "a.example:443 ", "a.example:", "a.example443", "a.example.:443", "A.example", "a.example:8443", "a.example:65979"} {
		f.Add([]byte(s), "a.example", uint16(443), uint16(443))
	}
	f.Fuzz(func(t *testing.T, raw []byte, name string, port, usual uint16) {
		host, err := policy.CanonicalHost(name)
		if err != nil || port == 0 || usual == 0 {
			return
		}
		bound := origin{scheme: policy.HTTPS, host: host, port: int(port)}
		for _, raw := range [][]byte{raw, []byte(host), fmt.Appendf(nil, "%s:%d", host, port)} {
			if !bound.spelled(raw, int(usual)) {
				continue
			}
			if o, err := parseAuthority(raw, policy.HTTPS, int(usual)); err != nil || o != bound {
				t.Fatalf("%q is %v: %v, %v", raw, bound, o, err)
			}
		}
		if !bound.spelled(fmt.Appendf(nil, "%s:%d", host, port), int(usual)) || bound.spelled([]byte(host), int(usual)) != (port == usual) {
			t.Fatalf("%v is not spelled so", bound)
		}
	})
}

func TestRefusalsCannotBreakTheirStatusLine(t *testing.T) {
	out := appendRefusal(nil, refuse(403, showHost("a\r\nX: y\x00é"+strings.Repeat("b", 400))+" is\r\nwrong"), true, true, false)
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(out)), nil)
	must(t, err)
	body, _ := io.ReadAll(r.Body)
	if len(r.Header) != 3 || r.StatusCode != 403 || bytes.Count(body, []byte("\n")) != 1 || !strings.HasPrefix(r.Status, "403 egress: a???:?y???b") {
		t.Errorf("%q", out)
	}
}
