package relay

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/forward"
)

// What a build fetches arrives at the company's proxy with the login that the
// build has not, and nothing of the login arrives behind it.
func TestFetchesGetTheLoginOnTheirWay(t *testing.T) {
	host := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" {
			t.Error("the host behind the proxy got the login")
		}
		io.WriteString(w, "it is "+r.URL.Path)
	})
	plain, secure := httptest.NewServer(host), httptest.NewTLSServer(host)
	defer plain.Close()
	defer secure.Close()
	const login = "ada:a login: of the company"
	asked := make(chan string, 10)
	company := httptest.NewServer(&forward.Proxy{Login: login, Dial: func(address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":443") {
			return net.Dial("tcp", secure.Listener.Addr().String())
		}
		return net.Dial("tcp", plain.Listener.Addr().String())
	}, Note: func(method, address string, _ int) { asked <- method + " " + address }})
	defer company.Close()
	handler, err := New(bottle.Proxy{Address: strings.TrimPrefix(company.URL, "http://"), Except: "none.example"}, login)
	if err != nil {
		t.Fatal(err)
	}
	relay := httptest.NewServer(handler)
	defer relay.Close()
	at, err := url.Parse(relay.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := secure.Client() // it trusts the one behind, as example.com
	client.Transport.(*http.Transport).Proxy = http.ProxyURL(at)
	for _, u := range []string{"http://example.com/x", "https://example.com/x", "http://example.com/x"} {
		r, err := client.Get(u)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if r.Body.Close(); err != nil || string(body) != "it is /x" {
			t.Errorf("%s: %q, %v", u, body, err)
		}
	}
	got := []string{<-asked, <-asked, <-asked}
	if want := []string{"GET example.com", "CONNECT example.com:443", "GET example.com"}; !slices.Equal(got, want) {
		t.Errorf("the proxy was asked %q, want %q", got, want)
	}
	if r, err := client.Get("http://none.example/x"); err == nil {
		if r.Body.Close(); r.StatusCode != 502 || len(asked) > 0 {
			t.Errorf("a host that is excepted: %s", r.Status)
		}
	}
}
