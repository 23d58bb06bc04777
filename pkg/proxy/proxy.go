// Package proxy says through which proxy of a company bottles reach the outside:
// what config.yaml says, or else the operator's environment. It asks nobody and
// prints nothing; the login is for memory and pipes only.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"bottle/pkg/bottle"
	"bottle/pkg/tokenref"
)

// Config is what config.yaml says. All of it is optional.
type Config struct {
	URL      string  // http://[user:password@]host[:port], or None; empty: the environment's
	TokenRef string  // where user:password comes from; empty: the URL has it, or there is none
	Except   *string // who is dialled, as NO_PROXY has it; nil: the environment's
	SSH      bool    // ssh goes through it too
}

// None is the word for no proxy, whatever the environment says.
const None = "none"

// ErrLoopback is in the error for a proxy that containers cannot reach.
var ErrLoopback = errors.New("it listens on this machine's loopback, which containers cannot reach")

// Proxy is the way out. A nil Proxy is the direct one.
type Proxy struct {
	bottle.Proxy
	given bool // by config.yaml, or its login is: programs of this machine must be told of it
	login string
	ref   tokenref.Ref
}

// From returns the proxy, or nil where there is none. lookup is such as
// os.LookupEnv. All is tunnelled, so the one for https is taken first. Errors say
// where the proxy stands, and nothing of its URL.
func From(c Config, lookup func(string) (string, bool)) (*Proxy, error) {
	variable := func(names ...string) (value, name string) {
		for _, name := range names {
			for _, name := range []string{name, strings.ToLower(name)} {
				if v, _ := lookup(name); v != "" {
					return v, name
				}
			}
		}
		return "", ""
	}
	p := &Proxy{given: c.URL != "" || c.TokenRef != ""}
	text, where := c.URL, "upstream_proxy in config.yaml"
	if text == "" {
		text, where = variable("HTTPS_PROXY", "HTTP_PROXY")
	}
	if text == "" || c.URL == None {
		return nil, nil
	}
	var err error
	if p.Address, p.login, err = parse(text); err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	if c.TokenRef != "" {
		if p.ref, err = tokenref.Parse(c.TokenRef); err != nil {
			return nil, fmt.Errorf("proxy_token_ref in config.yaml: %w", err)
		}
	}
	if p.login != "" || p.ref.Set() {
		p.Login = bottle.ProxyLogin
	}
	p.Except, _ = variable("NO_PROXY")
	if c.Except != nil {
		p.Except = *c.Except
	}
	p.SSH = c.SSH
	return p, nil
}

var errForm = errors.New("it is not the URL of an HTTP proxy, as http://proxy.example.com:3128 is")

// parse reads a proxy's URL.
func parse(text string) (address, login string, err error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || strings.ContainsAny(u.Hostname(), " \t%") {
		return "", "", errForm
	}
	if u.Scheme != "http" {
		return "", "", fmt.Errorf("%w: it begins with %.10q", errForm, u.Scheme+"://")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	if port == "" {
		port = "80"
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", "", errForm
	}
	a, err := netip.ParseAddr(host)
	if host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && (a.Unmap().IsLoopback() || a.IsUnspecified()) {
		return "", "", ErrLoopback
	}
	if u.User != nil {
		password, _ := u.User.Password()
		login = u.User.Username() + ":" + password
		if strings.Contains(u.User.Username(), ":") || strings.ContainsFunc(login, unicode.IsControl) {
			return "", "", fmt.Errorf("%w: its login holds what none can", errForm)
		}
	}
	return net.JoinHostPort(host, port), login, nil
}

// Resolve returns the login, user:password; empty: there is none.
func (p *Proxy) Resolve(ctx context.Context, r tokenref.Resolver) (string, error) {
	if p == nil || !p.ref.Set() {
		if p == nil {
			return "", nil
		}
		return p.login, nil
	}
	login, err := r.Resolve(ctx, p.ref)
	switch {
	case err != nil:
		return "", fmt.Errorf("proxy_token_ref in config.yaml: %w", err)
	case !strings.Contains(login, ":") || strings.ContainsFunc(login, unicode.IsControl):
		return "", errors.New("proxy_token_ref in config.yaml: what is behind it is not of the form user:password")
	}
	return login, nil
}

// Environment is what programs of this machine are told that fetch something:
// nothing where they have it of the operator's environment already.
func (p *Proxy) Environment(login string) []string {
	if p == nil || !p.given {
		return nil
	}
	u := url.URL{Scheme: "http", Host: p.Address}
	if user, password, ok := strings.Cut(login, ":"); ok {
		u.User = url.UserPassword(user, password)
	}
	var env []string
	for name, value := range map[string]string{"HTTP_PROXY": u.String(), "HTTPS_PROXY": u.String(), "NO_PROXY": p.Except} {
		env = append(env, name+"="+value, strings.ToLower(name)+"="+value)
	}
	return env
}

// Secrets are the parts of logins that programs of this machine may print, in the
// forms in which they may: of login, user:password, and of those in the
// environment. A login without a password is secret itself.
func Secrets(login string, lookup func(string) (string, bool)) []string {
	logins := []string{login}
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"} {
		for _, name := range []string{name, strings.ToLower(name)} {
			text, _ := lookup(name)
			logins = append(logins, userinfo(text)...)
		}
	}
	var all []string
	for _, login := range logins {
		user, password, _ := strings.Cut(login, ":")
		if password == "" {
			password = user
		}
		if password != "" {
			all = append(all, password, url.PathEscape(password), url.QueryEscape(password), strings.TrimPrefix(url.UserPassword("", password).String(), ":"))
		}
	}
	// The longest first: who looks for them in turn finds none in a part of another.
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(all)
}

// userinfo is the login in a URL, as it stands there and as it is meant, whatever
// else of the URL makes sense.
func userinfo(text string) []string {
	_, rest, found := strings.Cut(text, "://")
	if !found {
		rest = text
	}
	at := strings.LastIndexByte(rest, '@')
	if at < 0 {
		return nil
	}
	raw := rest[:at]
	if plain, err := url.PathUnescape(raw); err == nil && plain != raw {
		return []string{raw, plain}
	}
	return []string{raw}
}
