package proxy

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/tokenref"
)

func env(pairs ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, p := range pairs {
			if n, v, _ := strings.Cut(p, "="); n == name {
				return v, true
			}
		}
		return "", false
	}
}

func TestTheProxyIsWhatConfigurationOrEnvironmentSay(t *testing.T) {
	none := ""
	for _, c := range []struct {
		config Config
		env    []string
		want   bottle.Proxy
		login  string
	}{
		{Config{}, nil, bottle.Proxy{}, ""},
		{Config{}, []string{"NO_PROXY=x"}, bottle.Proxy{}, ""},
		{Config{}, []string{"https_proxy=http://Proxy.Corp:3128/"}, bottle.Proxy{Address: "proxy.corp:3128"}, ""},
		{Config{}, []string{"http_proxy=proxy.corp", "no_proxy=.corp"}, bottle.Proxy{Address: "proxy.corp:80", Except: ".corp"}, ""},
		{Config{}, []string{"HTTP_PROXY=http://a:1", "HTTPS_PROXY=http://b:2", "https_proxy=http://c:3"}, bottle.Proxy{Address: "b:2"}, ""},
		{Config{}, []string{"HTTPS_PROXY=http://ada:g%40heim@proxy.corp:8080"}, bottle.Proxy{Address: "proxy.corp:8080", Login: bottle.ProxyLogin}, "ada:g@heim"},
		{Config{URL: "http://10.1.2.3:3128", SSH: true}, []string{"HTTPS_PROXY=http://b:2", "NO_PROXY=.corp"}, bottle.Proxy{Address: "10.1.2.3:3128", Except: ".corp", SSH: true}, ""},
		{Config{URL: "http://[fd00::1]:3128", Except: &none}, []string{"NO_PROXY=.corp"}, bottle.Proxy{Address: "[fd00::1]:3128"}, ""},
		{Config{URL: "none"}, []string{"HTTPS_PROXY=http://b:2"}, bottle.Proxy{}, ""},
		{Config{TokenRef: "LOGIN"}, []string{"HTTPS_PROXY=http://ada:old@b:2", "LOGIN=ada:new"}, bottle.Proxy{Address: "b:2", Login: bottle.ProxyLogin}, "ada:new"},
	} {
		p, err := From(c.config, env(c.env...))
		if err != nil || (p == nil) != (c.want == bottle.Proxy{}) || p != nil && p.Proxy != c.want {
			t.Errorf("%+v, %q: %+v, %v", c.config, c.env, p, err)
			continue
		}
		if login, err := p.Resolve(t.Context(), tokenref.Resolver{Lookup: env(c.env...)}); err != nil || login != c.login {
			t.Errorf("%+v, %q: login %q, %v", c.config, c.env, login, err)
		}
		if p != nil && strings.Contains(p.Proxy.Summary(), "heim") {
			t.Errorf("it is shown as %s", p.Proxy.Summary())
		}
	}
}

func TestAProxyThatCannotBeUsedIsRefusedWithoutItsPassword(t *testing.T) {
	for _, text := range []string{"socks5://ada:geheim@b:1", "https://ada:geheim@b:1", "http://ada:geheim@", "http://ada:geheim@b:0", "http://ada:geheim@b:x", "http://ada:geheim@b/path",
		"http://ada:geheim@b:1?x", "http://ada:ge heim@b b:1", "http://ada:ge%0aheim@b:1", "http://ada:ge%00heim@b:1", "http://a%3Ada:geheim@b:1", "http://ada:geheim@127.0.0.1:3128", "http://ada:geheim@localhost:3128", "http://ada:geheim@[::1]:3128", "http://ada:geheim@0.0.0.0:1"} {
		for where, get := range map[string]func() (*Proxy, error){
			"config.yaml": func() (*Proxy, error) { return From(Config{URL: text}, env()) },
			"HTTPS_PROXY": func() (*Proxy, error) { return From(Config{}, env("HTTPS_PROXY="+text)) },
		} {
			p, err := get()
			if err == nil || p != nil || !strings.Contains(err.Error(), where) || strings.Contains(err.Error(), "heim") {
				t.Errorf("%s: %+v, %v", text, p, err)
			}
			if loop := strings.ContainsAny(text, "[") || strings.Contains(text, "127.") || strings.Contains(text, "localhost") || strings.Contains(text, "0.0.0.0"); errors.Is(err, ErrLoopback) != loop {
				t.Errorf("%s: %v", text, err)
			}
		}
	}
	if _, err := From(Config{URL: "http://b:1", TokenRef: "cmd:"}, env()); err == nil || !strings.Contains(err.Error(), "proxy_token_ref in config.yaml") {
		t.Error(err)
	}
	file := filepath.Join(t.TempDir(), "login")
	if err := os.WriteFile(file, []byte("geheim"), 0o600); err != nil {
		t.Fatal(err)
	}
	p, err := From(Config{URL: "http://b:1", TokenRef: "file:" + file}, env())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Resolve(t.Context(), tokenref.Resolver{}); err == nil || strings.Contains(err.Error(), "geheim") {
		t.Error(err)
	}
}

// Programs of this machine have the operator's environment already.
func TestProgramsAreToldWhatTheEnvironmentDoesNotSay(t *testing.T) {
	p, err := From(Config{URL: "http://b:1"}, env("NO_PROXY=.corp"))
	if err != nil {
		t.Fatal(err)
	}
	got := p.Environment("ada:g@heim")
	slices.Sort(got)
	if want := []string{"HTTPS_PROXY=http://ada:g%40heim@b:1", "HTTP_PROXY=http://ada:g%40heim@b:1", "NO_PROXY=.corp",
		"http_proxy=http://ada:g%40heim@b:1", "https_proxy=http://ada:g%40heim@b:1", "no_proxy=.corp"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if p, err = From(Config{TokenRef: "LOGIN"}, env("HTTPS_PROXY=http://ada:old@b:1")); err != nil || !slices.Contains(p.Environment("ada:new"), "HTTPS_PROXY=http://ada:new@b:1") {
		t.Errorf("with another login than the environment has: %v", err)
	}
	if p, err = From(Config{}, env("HTTPS_PROXY=http://b:1")); err != nil || p.Environment("") != nil {
		t.Errorf("%v", err)
	}
}

func TestSecretsAreAllThatAProgramMayPrint(t *testing.T) {
	for _, c := range []struct {
		login string
		env   []string
		want  []string
	}{
		{"", nil, nil},
		{"", []string{"HTTPS_PROXY=http://proxy.corp:3128"}, nil},
		{"ada:geheim", nil, []string{"geheim"}},
		{"ada:g@h", nil, []string{"g%40h", "g@h"}},
		{"a-token:", nil, []string{"a-token"}}, // the login is the user's name
		{"ada:new", []string{"HTTPS_PROXY=http://ada:old@b:2", "no_proxy=c"}, []string{"new", "old"}},
		{"", []string{"http_proxy=ada:g%40h@b:2", "ALL_PROXY=socks5://eve:p:q@c"}, []string{"g%40h", "g%2540h", "g@h", "p%3Aq", "p:q"}},
	} {
		got := Secrets(c.login, env(c.env...))
		for _, want := range c.want {
			if !slices.Contains(got, want) {
				t.Errorf("%q, %q: %q lacks %q", c.login, c.env, got, want)
			}
		}
		if len(got) > 0 && len(c.want) == 0 || slices.Contains(got, "") {
			t.Errorf("%q, %q: %q", c.login, c.env, got)
		}
	}
}
