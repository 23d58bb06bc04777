package policy

import (
	"errors"
	"strings"
	"testing"
)

func TestCanonicalHostHasOneForm(t *testing.T) {
	for in, want := range map[string]string{
		"api.github.com":         "api.github.com",
		"API.GitHub.com.":        "api.github.com",
		"bücher.example":         "xn--bcher-kva.example",
		"BÜCHER.example":         "xn--bcher-kva.example",
		"xn--bcher-kva.example":  "xn--bcher-kva.example",
		"_dmarc.my_bucket.s3.eu": "_dmarc.my_bucket.s3.eu",
		"r3---sn-4g5e.example":   "r3---sn-4g5e.example",
		"ａｐｉ.example":            "api.example",
		"egress":                 "egress",
		"a\u200bb.example":       "ab.example",
		"1.2.3.4.example":        "1.2.3.4.example",
		"0xyz":                   "0xyz",
		"a.com1":                 "a.com1",
	} {
		got, err := CanonicalHost(in)
		if err != nil || got != want {
			t.Errorf("CanonicalHost(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestCanonicalHostRefusesAddressesInAnySpelling(t *testing.T) {
	for _, in := range []string{
		"127.0.0.1", "127.0.0.1.", "127.1", "2130706433", "0x7f000001", "0x7F.1", "0177.0.0.1", "0x", "0",
		"[::1]", "::1", "[::ffff:127.0.0.1]", "::ffff:7f00:1", "[64:ff9b::7f00:1]", "fe80::1%eth0", "[fe80::1%25eth0]",
		"１２７.0.0.１", "a.b.1", "999.999.999.999",
	} {
		if got, err := CanonicalHost(in); !errors.Is(err, ErrAddress) {
			t.Errorf("CanonicalHost(%q) = %q, %v; want ErrAddress", in, got, err)
		}
	}
}

func TestCanonicalHostRefusesWhatIsNoName(t *testing.T) {
	for _, in := range []string{
		"", ".", "..", "a..b", ".a", "a..", "a b", "a%2eb", "a/b", "a@b", "a:443", "[a]", "[", "]", "a\x00b", "a\nb", "*", "*.a.com",
		"-a.com", "a-.com", "a。b", "\xff.com", "\u00ad.com",
		strings.Repeat("a", 64) + ".com", strings.Repeat("a.", 127) + "com", strings.Repeat("ü", 1000), "a,b", "a#b", "a?b", `a\b`,
	} {
		if got, err := CanonicalHost(in); err == nil {
			t.Errorf("CanonicalHost(%q) = %q; want an error", in, got)
		}
	}
}

func TestDecideIsExact(t *testing.T) {
	p := Policy{Routes: []Route{
		{Host: "api.github.com", Scheme: HTTPS, Port: 443}, {Host: "plain.example", Scheme: HTTP, Port: 80},
		{Host: "odd.example", Scheme: HTTPS, Port: 8443}, {Host: "*.x.com", Scheme: HTTPS, Port: 443},
	}}
	for _, c := range []struct {
		scheme, host string
		port         int
		reason       string
	}{
		{HTTPS, "api.github.com", 443, ""},
		{HTTP, "plain.example", 80, ""},
		{HTTPS, "odd.example", 8443, ""},
		{HTTPS, "github.com", 443, "github.com is not on this bottle's allowlist"},
		{HTTPS, "x.api.github.com", 443, "x.api.github.com is not on this bottle's allowlist"},
		{HTTPS, "a.x.com", 443, "a.x.com is not on this bottle's allowlist"},
		{HTTPS, "*.x.com", 443, "*.x.com is not on this bottle's allowlist"},
		{HTTP, "api.github.com", 80, "api.github.com is not on this bottle's allowlist for http"},
		{HTTP, "api.github.com", 443, "api.github.com is not on this bottle's allowlist for http"},
		{HTTPS, "plain.example", 443, "plain.example is not on this bottle's allowlist for https"},
		{HTTPS, "api.github.com", 8443, "port 8443 of api.github.com is not on this bottle's allowlist"},
		{HTTPS, "odd.example", 22, "port 22 of odd.example is not on this bottle's allowlist"},
	} {
		v := Decide(p, Request{Scheme: c.scheme, Host: c.host, Port: c.port, Method: "GET", Path: "/"})
		if v.Allow != (c.reason == "") || v.Reason != c.reason {
			t.Errorf("%s://%s:%d: %+v, want %q", c.scheme, c.host, c.port, v, c.reason)
		}
	}
	if v := Decide(Policy{}, Request{Scheme: HTTPS, Host: "a.com", Port: 443}); v.Allow {
		t.Error("an empty policy allows something")
	}
}

func TestParseCanonicalisesAndFillsDefaults(t *testing.T) {
	p, err := Parse([]byte("routes:\n- host: API.github.com.\n- {host: a.com, scheme: http}\n- {host: b.com, port: 8443}\n- host: \"*.c.com\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []Route{{Host: "api.github.com", Scheme: HTTPS, Port: 443}, {Host: "a.com", Scheme: HTTP, Port: 80},
		{Host: "b.com", Scheme: HTTPS, Port: 8443}, {Host: "*.c.com", Scheme: HTTPS, Port: 443}}
	if len(p.Routes) != len(want) {
		t.Fatalf("got %v", p.Routes)
	}
	for i := range want {
		if !p.Routes[i].Equal(want[i]) {
			t.Errorf("route %d is %v, want %v", i, p.Routes[i], want[i])
		}
	}
}

func TestParseNamesTheLineOfAnError(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "empty",
		"routes:\n- hots: a.com\n":            `line 2: unknown key "hots"`,
		"rules: []\n":                         `line 1: unknown key "rules"`,
		"{}\n":                                "routes is missing",
		"routes: a\n":                         "line 1: routes is not a list",
		"routes:\n- a.com\n":                  "line 2: this is not a mapping",
		"routes:\n- {}\n":                     "line 2: a route has no host",
		"routes:\n- host: 10.0.0.1\n":         "line 2: an IP address",
		"routes:\n- host: [a]\n":              "line 2: host is not text",
		"routes:\n- {host: a, host: b}\n":     "twice",
		"routes:\n- host: a\n  scheme: ftp\n": `line 3: scheme "ftp"`,
		"routes:\n- host: a\n  port: 0443\n":  `line 3: "0443" is not a port`,
		"routes:\n- host: a\n  port: 70000\n": "not a port",
		"routes: [\n":                         "line",
		"routes:\n- host: a\n  path_allowlist: [/a, b]\n":                                "line 3: the path does not begin with /",
		"routes:\n- host: a\n  path_allowlist: [/a/../b]\n":                              "line 3: the path has a segment of dots",
		"routes:\n- host: a\n  path_allowlist: [\"/a?b\"]\n":                             "line 3: the path has a query",
		"routes:\n- host: a\n  path_allowlist: /a\n":                                     "line 3: path_allowlist is not a list",
		"routes:\n- host: a\n  methods: [TRACE]\n":                                       "line 3: TRACE cannot be allowed",
		"routes:\n- host: a\n  methods: [G T]\n":                                         "not a method",
		"routes:\n- host: a\n  private: yes\n":                                           "line 3: private is neither true nor false",
		"routes:\n- host: a\n  auth: {credential: x}\n":                                  "line 3: auth needs a scheme or a header",
		"routes:\n- host: a\n  auth: {scheme: Bearer, header: x-a, credential: x}\n":     "auth needs a scheme or a header",
		"routes:\n- host: a\n  auth: {scheme: Bearer}\n":                                 "auth needs a credential",
		"routes:\n- host: a\n  auth: {header: Host, credential: x}\n":                    "host is no header for a credential",
		"routes:\n- host: a\n  auth: {scheme: Bearer, token: x}\n":                       `unknown key "token"`,
		"routes:\n- host: a\n  auth: {scheme: Bearer, credential: x, refresh: 1s}\n":     "is no time as 45m",
		"routes:\n- host: a\n  foreign_credentials: drop\n":                              "neither allow nor refuse",
		"routes: []\ngrants:\n- host: a\n":                                               "line 3: a grant has no id",
		"routes: []\ngrants:\n- {id: ../x, host: a}\n":                                   "not the ID of a grant",
		"routes: []\ngrants:\n- {id: x, host: a}\n- {id: x, host: b}\n":                  "the grant x is there twice",
		"routes: []\ngrants:\n- {id: x, host: a, expires: tomorrow}\n":                   "is no time",
		"routes: []\non_deny: hold\n":                                                    `line 2: on_deny "hold" is neither reject nor ask`,
		"routes: []\nask_timeout: 500ms\n":                                               `line 2: ask_timeout "500ms" is no time as 30s is`,
		"routes: []\nask_timeout: 11m\n":                                                 "1s to 10m",
		"routes: []\ngrants:\n- {id: x, host: a, rule: \"\"}\n":                          "rule is not text",
		"routes: []\ngrants:\n- {id: x, host: a, rule: JWT Token}\n":                     "not a rule's ID",
		"routes: []\ngrants:\n- {id: x, host: a, rule: jwt, scanner: other}\n":           `scanner "other" is not pipelock`,
		"routes: []\ngrants:\n- {id: x, host: a, scanner: pipelock}\n":                   "not the name of a pattern",
		"routes: []\ngrants:\n- {id: x, host: a, rule: 'a  b', scanner: pipelock}\n":     "not the name of a pattern",
		"routes: []\ngrants:\n- {id: x, host: a, uses: 1, rule: a, scanner: pipelock}\n": "pipelock counts no uses",
		"routes: []\nsilenced:\n- {host: a, path: /, pattern: '*'}\n":                    "not the name of a pattern",
		"routes: []\nsilenced:\n- {host: a}\n":                                           "needs a host and a path",
		"routes: []\nsilenced:\n- {host: a, path: /, reason: ' x'}\n":                    "not one line",
		"routes: []\nsilenced:\n- {host: a, path: /, port: 0}\n":                         "port",
	} {
		_, err := Parse([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v; want %q in it", in, err, want)
		}
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"a.com", "A.b.", "bücher.example", "127.1", "[::1]", "xn--a", "a。b", "_x.y", "１.２", "ﬃ.ß.com"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		h, err := CanonicalHost(s)
		if err != nil {
			return
		}
		if again, err := CanonicalHost(h); err != nil || again != h {
			t.Fatalf("%q → %q → %q, %v", s, h, again, err)
		}
		if strings.Trim(h, "abcdefghijklmnopqrstuvwxyz0123456789-_.") != "" || h == "" || len(h) > maxHost {
			t.Fatalf("%q → %q", s, h)
		}
		if number(h[strings.LastIndexByte(h, '.')+1:]) {
			t.Fatalf("%q → %q, an address", s, h)
		}
	})
}
