package gitgate

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"bottle/pkg/bottle"
	"bottle/pkg/sidecar"
)

// line is the way of one git to one upstream, for as long as that git runs. git
// itself dials nothing: it speaks to a socket here, behind which the address is
// checked and the secret is added.
type line struct {
	url   string // what git is given
	shown string // what people are
	host  string
	env   []string
	// receiver begins to push: no git is between.
	receiver func(context.Context, git) (*receiver, error)

	remote  bottle.GateRemote
	port    int
	dialer  sidecar.Dialer
	refused func() // the upstream did not take the token
	closes  []func()
	mu      sync.Mutex
	err     error
}

const (
	connectTime = 15 * time.Second
	refreshTime = 15 * time.Minute
)

// open opens the line to the upstream of a remote.
func (s *Service) open(st *state, name string) (*line, error) {
	remote := st.conf.Remotes[name]
	u, err := url.Parse(remote.Upstream)
	if err != nil {
		return nil, fmt.Errorf("the upstream of %s is no URL", name)
	}
	l := &line{shown: remote.Upstream, host: u.Hostname(), remote: remote, dialer: s.conf.Dialer}
	ports := map[string]int{"https": 443, "ssh": 22}
	if l.port = ports[u.Scheme]; l.port == 0 || l.host == "" || strings.HasPrefix(l.host, "-") {
		return nil, fmt.Errorf("the upstream of %s is neither ssh:// nor https://", name)
	}
	if p := u.Port(); p != "" {
		if l.port, err = strconv.Atoi(p); err != nil {
			return nil, err
		}
	}
	if u.Scheme == "https" {
		l.refused = func() { s.refused(remote.Token, st.came[remote.Token]) }
		err = l.web(u, st.values[remote.Token], s.conf.Roots)
	} else {
		if !s.conf.ProxySSH {
			l.dialer.Proxy = nil
		}
		err = l.shell(u, st.values[remote.Key], s.conf.Pipe)
	}
	if err != nil {
		l.close()
		return nil, fmt.Errorf("cannot open the way to %s: %w", l.host, err)
	}
	return l, nil
}

func (l *line) close() {
	for i := len(l.closes) - 1; i >= 0; i-- {
		l.closes[i]()
	}
}

// ended is why the upstream could not be dialled.
func (l *line) ended() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// connect dials the upstream.
func (l *line) connect(ctx context.Context) (net.Conn, error) {
	d := l.dialer
	if a, err := netip.ParseAddr(l.host); err == nil {
		d.Lookup = func(context.Context, string) ([]netip.Addr, error) { return []netip.Addr{a}, nil }
	}
	conn, err := d.Dial(ctx, l.host, l.port, l.remote.Private)
	if err != nil {
		l.unreached(err)
		return nil, err
	}
	return conn, nil
}

var errRedirect = errors.New("the upstream redirects elsewhere: write the address that it leads to into the manifest")

var errToken = errors.New("it refuses the token that the gate has (401): the operator runs bottle-start --renew")

// web is the line to an https upstream: a relay on the loopback that adds the
// token, for this repository's paths alone.
func (l *line) web(u *url.URL, token string, roots *x509.CertPool) error {
	if l.remote.Token != "" && token == "" {
		return errors.New("its token was not handed over: the operator runs bottle-start --resume")
	}
	path := strings.TrimSuffix(u.Path, "/")
	transport := &http.Transport{Proxy: nil, DisableCompression: true, TLSHandshakeTimeout: connectTime, MaxIdleConnsPerHost: 2,
		DialContext:     func(ctx context.Context, _, _ string) (net.Conn, error) { return l.connect(ctx) },
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: l.host, MinVersion: tls.VersionTLS12}}
	user := u.User.Username()
	if user == "" {
		user = "x-access-token"
	}
	direct := func(r *http.Request) {
		r.URL.Scheme, r.URL.Host, r.Host = "https", u.Host, u.Host
		r.Header.Del("Authorization")
		if token != "" {
			r.SetBasicAuth(user, token)
		}
	}
	check := func(r *http.Response) error {
		switch {
		case r.StatusCode/100 == 3:
			return errRedirect
		case r.StatusCode == http.StatusUnauthorized && token != "":
			l.refused()
			return errToken
		}
		r.Header.Del("WWW-Authenticate") // git would ask somebody
		return nil
	}
	proxy := &httputil.ReverseProxy{Transport: transport, FlushInterval: -1, ErrorLog: nil, ModifyResponse: check,
		Rewrite: func(r *httputil.ProxyRequest) { direct(r.Out) },
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			l.unreached(err)
			w.WriteHeader(http.StatusBadGateway)
		}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{ReadHeaderTimeout: connectTime, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, path+"/") || strings.Contains(r.URL.Path, "/../") {
			http.Error(w, "another repository", http.StatusForbidden)
			return
		}
		proxy.ServeHTTP(w, r)
	})}
	go server.Serve(listener)
	l.closes = append(l.closes, func() { server.Close(); transport.CloseIdleConnections() })
	l.url = "http://" + listener.Addr().String() + (&url.URL{Path: path}).EscapedPath()
	l.env = []string{"GIT_ALLOW_PROTOCOL=http", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=http.followRedirects", "GIT_CONFIG_VALUE_0=false"}
	l.receiver = func(ctx context.Context, _ git) (*receiver, error) {
		w := &webReceiver{ctx: ctx, line: l, path: path, trip: func(r *http.Request) (*http.Response, error) {
			direct(r)
			resp, err := transport.RoundTrip(r)
			if err == nil {
				err = check(resp)
			}
			return resp, err
		}}
		return w.begin()
	}
	return nil
}

// unreached keeps the first reason why the upstream did not answer.
func (l *line) unreached(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil {
		l.err = fmt.Errorf("cannot reach %s: %w", l.host, err)
	}
}

// shell is the line to an ssh upstream: an agent that holds the key, and a
// socket that leads to the checked address.
func (l *line) shell(u *url.URL, key string, pipe []string) error {
	dir, err := os.MkdirTemp("", "line-")
	if err != nil {
		return err
	}
	l.closes = append(l.closes, func() { os.RemoveAll(dir) })
	known := filepath.Join(dir, "known_hosts")
	if err := os.WriteFile(known, []byte(l.remote.KnownHosts+"\n"), 0o600); err != nil {
		return err
	}
	agentAt := "none"
	if l.remote.Key != "" {
		if key == "" {
			return errors.New("its key was not handed over: the operator runs bottle-start --resume")
		}
		agentAt = filepath.Join(dir, "agent")
		if err := l.serveKey(agentAt, key); err != nil {
			return err
		}
	}
	way := filepath.Join(dir, "way")
	if err := l.listen(way, func(conn net.Conn) {
		ctx, cancel := context.WithTimeout(context.Background(), connectTime)
		defer cancel()
		up, err := l.connect(ctx)
		if err != nil {
			return
		}
		defer up.Close()
		splice(conn, up)
	}); err != nil {
		return err
	}
	options := []string{"-F", "/dev/null"}
	for _, o := range []string{"BatchMode=yes", "StrictHostKeyChecking=yes", "UserKnownHostsFile=" + known, "GlobalKnownHostsFile=/dev/null", "IdentityFile=none",
		"IdentityAgent=" + agentAt, "ProxyCommand=" + strings.Join(append(pipe, way), " "), "ForwardAgent=no", "ClearAllForwardings=yes",
		"PermitLocalCommand=no", "UpdateHostKeys=no", "CanonicalizeHostname=no", "CheckHostIP=no", "ControlMaster=no", "ConnectTimeout=15",
		"ServerAliveInterval=15", "PreferredAuthentications=publickey", "LogLevel=ERROR"} {
		options = append(options, "-o", o)
	}
	user := ""
	if u.User != nil {
		user = u.User.Username() + "@"
	}
	l.url = "ssh://" + user + u.Host + u.EscapedPath()
	command := "ssh"
	for _, o := range options {
		command += " " + quoteShell(o)
	}
	l.env = []string{"GIT_ALLOW_PROTOCOL=ssh", "GIT_SSH_VARIANT=ssh", "GIT_SSH_COMMAND=" + command}
	path := u.Path
	if strings.HasPrefix(path, "/~") { // somebody's home
		path = path[1:]
	}
	args := append(options, "-p", strconv.Itoa(l.port), "--", user+l.host, receivePack+" "+quoteShell(path))
	l.receiver = func(ctx context.Context, g git) (*receiver, error) {
		return shellReceiver(g.program(ctx, "ssh", args...))
	}
	return nil
}

func quoteShell(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// serveKey is an ssh agent that has one key.
func (l *line) serveKey(path, pem string) error {
	key, err := ssh.ParseRawPrivateKey([]byte(pem))
	if err != nil {
		return errors.New("its key cannot be read: it must be one without a passphrase")
	}
	ring := agent.NewKeyring()
	if err := ring.Add(agent.AddedKey{PrivateKey: key}); err != nil {
		return errors.New("its key is of a kind that is not known")
	}
	return l.listen(path, func(conn net.Conn) { agent.ServeAgent(ring, conn) })
}

func (l *line) listen(path string, serve func(net.Conn)) error {
	listener, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	l.closes = append(l.closes, func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				serve(conn)
			}()
		}
	}()
	return nil
}

// splice copies both ways until both have ended.
func splice(a, b net.Conn) {
	done := make(chan struct{})
	one := func(to, from net.Conn) {
		io.Copy(to, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			half.CloseWrite()
		}
	}
	go func() { one(a, b); close(done) }()
	one(b, a)
	<-done
}

// Pipe joins standard input and output with a socket: it is what ssh runs to
// reach an upstream.
func Pipe(path string, in io.Reader, out io.Writer) error {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	go func() {
		io.Copy(conn, in)
		conn.(*net.UnixConn).CloseWrite()
	}()
	_, err = io.Copy(out, conn)
	return err
}
