package egress

import (
	"bufio"
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/policy"
)

// Whatever the agent sends to a route with a credential: one credential leaves,
// the injected one, for the host and path that were judged.
func FuzzInjection(f *testing.F) {
	for _, s := range []string{
		"GET /v1/x HTTP/1.1~Host: keyed.example~~",
		"GET /v1 HTTP/1.1~Host: keyed.example~AUTHORIZATION: a~authorization: b~X_Api_Key: c~Cookie: d~~",
		"POST /v1/?api_key=x HTTP/1.1~Host: Keyed.Example.~Connection: authorization~Content-Length: 0~~",
		"GET /v1/../x HTTP/1.1~Host: keyed.example~~", "GET http://keyed.example/v1%2f HTTP/1.1~Host: keyed.example~~",
	} {
		f.Add([]byte(wire(s)))
	}
	p := &policy.Policy{Routes: []policy.Route{{Host: "keyed.example", Scheme: policy.HTTP, Port: 80, Paths: []string{"/v1"}, Auth: policy.Auth{Scheme: "Bearer", Credential: "env:T"}}}}
	k := join(p, map[string]string{"env:T": token})
	f.Fuzz(func(t *testing.T, data []byte) {
		in := newReader(bytes.NewReader(data))
		head, err := in.head()
		if err != nil {
			return
		}
		var q request
		if q.parse(head) != nil || q.method == "CONNECT" {
			return
		}
		o, target, refused := front{proxy: true, scheme: policy.HTTP, port: 80}.route(&q)
		if refused != nil {
			return
		}
		v, refused := judge(p, &uses{}, &q, o, string(path(target)))
		if refused != nil || k.admit(v.Route, &q, target) != nil {
			return
		}
		k.inject(v.Route, &q)
		out := appendRequest(nil, &q, o, target)
		r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(out)))
		if err != nil {
			if strings.Contains(err.Error(), "parse") || strings.Contains(err.Error(), "invalid URI") || strings.Contains(err.Error(), "invalid method") {
				return
			}
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		if got := r.Header["Authorization"]; !slices.Equal(got, []string{"Bearer " + token}) || r.Host != "keyed.example" {
			t.Fatalf("%q left as %q", data, out)
		}
		for name := range r.Header {
			if name != "Authorization" && policy.CarriesCredential([]byte(name)) {
				t.Fatalf("%q left with %s: %q", data, name, out)
			}
		}
		if path := r.URL.Path; path != "/v1" && !strings.HasPrefix(path, "/v1/") || policy.QueryCredential(r.URL.RawQuery) != "" {
			t.Fatalf("%q left for %s", data, r.RequestURI)
		}
	})
}
