package egress

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
	"bottle/test/forward"
)

// Behind a company's proxy everything goes through it, with its login; what it
// refuses is told to the agent in words, and shown to the operator.
func TestRequestsGoThroughTheProxy(t *testing.T) {
	const login = "ada:a-login-of-the-company"
	secrets := &sidecar.Secrets{}
	var w *world
	server := httptest.NewServer(&forward.Proxy{Login: login, Dial: func(address string) (net.Conn, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.dials = append(w.dials, "proxy to "+address)
		return net.Dial("tcp", w.hosts[address])
	}})
	defer server.Close()
	proxy, err := sidecar.NewProxy(&bottle.Proxy{Address: strings.TrimPrefix(server.URL, "http://"), Login: bottle.ProxyLogin}, secrets)
	must(t, err)
	w = newWorldWith(t, Config{Secrets: secrets, Out: t.TempDir(), Proxy: proxy})
	w.s.pool.dial = sidecar.Dialer{Proxy: proxy, Timeout: 5 * time.Second, Check: func(netip.Addr, bool) error { return nil },
		Lookup: func(_ context.Context, host string) ([]netip.Addr, error) {
			return nil, &net.DNSError{Name: host, Err: "it was looked up here"}
		}}.Dial
	w.serve("a.example:443", http.HandlerFunc(hello))
	w.serve("plain.example:80", http.HandlerFunc(hello))
	ask := func(url string, want int, words string) {
		t.Helper()
		if code, body := fetch(t, w.agent(), "GET", url); code != want || !strings.Contains(body, words) || strings.Contains(body, "127.0.0.1") {
			t.Errorf("%s: %d %s", url, code, body)
		}
	}
	if a := w.applied(); !slices.Equal(a.Needs, []string{bottle.ProxyLogin}) {
		t.Errorf("without the login: %+v", a)
	}
	ask("https://a.example/", 502, "the proxy on the way out needs a login that is not here")
	secrets.Put(bottle.Secrets{Values: map[string]string{bottle.ProxyLogin: "ada:a-login-of-old"}})
	ask("https://a.example/", 502, "the proxy on the way out refuses its login (407)")
	if a := w.applied(); a.Needs != nil || !slices.Equal(a.Stale, []string{bottle.ProxyLogin}) {
		t.Errorf("with a wrong login: %+v", a)
	}
	secrets.Put(bottle.Secrets{Values: map[string]string{bottle.ProxyLogin: login}})
	if a := w.applied(); a.Stale != nil {
		t.Errorf("with the login: %+v", a)
	}
	ask("https://a.example/", 200, "")
	ask("http://plain.example/", 200, "")
	if want := []string{"proxy to a.example:443", "proxy to plain.example:80"}; !slices.Equal(w.dials, want) {
		t.Errorf("dialled: %q, want %q", w.dials, want)
	}
	if code, body := fetch(t, w.agent(), "POST", "https://a.example/?x=a-login-of-the-company"); code != 403 {
		t.Errorf("the login itself went out: %d %s", code, body)
	}
}
