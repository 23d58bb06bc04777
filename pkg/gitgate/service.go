package gitgate

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"bottle/pkg/bottle"
	"bottle/pkg/dlp"
	"bottle/pkg/proposal"
	"bottle/pkg/sidecar"
	"bottle/pkg/spool"
)

// Source is the gate's name, in events and proposals.
const Source = proposal.GitGate

// Names below the in directory.
const (
	GateFile  = "gate.json"
	RootsFile = "roots.pem"
)

const maxGate = 16 << 20 // bytes of GateFile

// Config is what the gate runs with.
type Config struct {
	In, Out, Repos string // directories
	Dialer         sidecar.Dialer
	Roots          *x509.CertPool // what https upstreams are verified against
	Pipe           []string       // the command that Pipe is behind; a socket's path is added
	Record         func(bottle.Event)
	ProxySSH       bool          // ssh goes through the dialer's proxy too
	Quiet          time.Duration // after which a client that sends nothing is gone; 0: a minute
	Secrets        *sidecar.Secrets
}

// state is a configuration in force, with the values that it was given.
type state struct {
	service *Service
	conf    bottle.Gate
	values  map[string]string
	came    map[string]time.Time // when they came in
	lacking []string             // names of values that were not handed over
	scanner *scanner
	repos   map[string]*repo
}

// Service is a gate at work.
type Service struct {
	conf    Config
	key     []byte // of fingerprints
	queue   *sidecar.Queue
	state   atomic.Pointer[state]
	server  *http.Server
	failed  chan error
	flights singleflight.Group
	pushes  chan struct{}
	fetches chan struct{}
	looks   sync.Mutex // one push at a time is looked through while it comes in

	mu      sync.Mutex // for what follows, and for replacing state
	repos   map[string]*repo
	sum     string
	applied bottle.Applied
}

// How much may be under way at once; who comes then waits.
const (
	maxPushes  = 4
	maxFetches = 8
)

// Start begins to serve on a listener.
func Start(c Config, l net.Listener) (*Service, error) {
	if c.Quiet == 0 {
		c.Quiet = quietTime
	}
	s := &Service{conf: c, failed: make(chan error, 1), repos: map[string]*repo{},
		pushes: make(chan struct{}, maxPushes), fetches: make(chan struct{}, maxFetches)}
	var err error
	if s.key, err = fingerprintKey(c.Repos); err != nil {
		return nil, err
	}
	if err := s.Reload(); err != nil {
		return nil, err
	}
	if s.queue, err = sidecar.OpenQueue(c.In, c.Out, sidecar.Limits{Pending: maxWaiting, PerMinute: perMinute}); err != nil {
		return nil, err
	}
	if c.Secrets != nil {
		c.Secrets.OnChange(func() { s.renew() })
		c.Dialer.Proxy.OnRefuse(s.refused)
	}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10}
	go func() { s.failed <- s.server.Serve(l) }()
	return s, nil
}

// fingerprintKey is kept beside the repositories, so that what was approved is
// known again after a restart.
func fingerprintKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "fingerprint.key")
	key, err := os.ReadFile(path)
	if err == nil && len(key) == 32 {
		return key, nil
	}
	key = make([]byte, 32)
	rand.Read(key)
	if err := spool.WriteFile(path, key, 0o600); err != nil {
		return nil, fmt.Errorf("cannot keep the key of fingerprints: %w", err)
	}
	return key, nil
}

// Reload reads the configuration again.
func (s *Service) Reload() error {
	data, err := spool.ReadFile(s.conf.In, GateFile, maxGate)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", GateFile, err)
	}
	sum := sha256.Sum256(data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if hex.EncodeToString(sum[:]) == s.sum {
		return sidecar.ErrUnchanged
	}
	conf, err := parseGate(data)
	if err != nil {
		return fmt.Errorf("cannot read %s: %w", GateFile, err)
	}
	repos := map[string]*repo{}
	for name := range conf.Remotes {
		if repos[name] = s.repos[name]; repos[name] != nil {
			continue
		}
		if repos[name], err = openRepo(context.Background(), s.conf.Repos, name, conf); err != nil {
			return err
		}
	}
	s.repos, s.sum = repos, hex.EncodeToString(sum[:])
	return s.put(conf)
}

func parseGate(data []byte) (bottle.Gate, error) {
	var conf bottle.Gate
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&conf); err != nil {
		return conf, err
	}
	if conf.Push.MaxSize <= 0 {
		return conf, errors.New("a push has no size that it may have")
	}
	for name := range conf.Remotes {
		if name == "" || name[0] == '.' || name[0] == '-' || strings.ContainsAny(name, "/\\\x00") {
			return conf, fmt.Errorf("%q is not a remote's name", name)
		}
	}
	for _, id := range slices.Concat(conf.Known, conf.Shallow, slices.Collect(maps.Values(conf.Refs))) {
		if !isID(id) {
			return conf, fmt.Errorf("%q is not an object's ID", id)
		}
	}
	return conf, nil
}

// renew takes the values that were handed over.
func (s *Service) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.put(s.state.Load().conf); err != nil {
		s.conf.Record(bottle.Event{Kind: "secrets", Verdict: "error", Detail: err.Error()})
	}
}

// put puts a configuration in force, with the values of now.
func (s *Service) put(conf bottle.Gate) error {
	st := &state{service: s, conf: conf, values: map[string]string{}, repos: s.repos}
	if s.conf.Secrets != nil {
		if values, came := s.conf.Secrets.Now(); values != nil {
			st.values, st.came = values, came
		}
	}
	var known []dlp.Known
	for name, value := range st.values {
		if len(value) >= dlp.MinKnown {
			known = append(known, dlp.Known{Name: name, Value: []byte(value)})
		}
	}
	for _, name := range s.needs(conf) {
		if st.values[name] == "" {
			st.lacking = append(st.lacking, name)
		}
	}
	var err error
	if st.scanner, err = newScanner(known, s.key, conf.Push.MaxSize); err != nil {
		return fmt.Errorf("cannot look for the bottle's secrets: %w", err)
	}
	s.state.Store(st)
	s.applied = bottle.Applied{Generation: s.applied.Generation + 1, SHA256: s.sum, Tried: s.sum, Routes: len(conf.Remotes),
		Time: time.Now().UTC().Truncate(time.Millisecond)}
	return s.tell()
}

// tell says what is in force. The caller holds the lock.
func (s *Service) tell() error {
	if s.conf.Secrets != nil {
		conf := s.state.Load().conf
		s.conf.Secrets.Tell(&s.applied, s.needs(conf), ages(conf))
	}
	return sidecar.WriteApplied(s.conf.Out, s.applied)
}

// needs are the names of all values that must be here.
func (s *Service) needs(conf bottle.Gate) []string {
	return slices.Concat(conf.Needs, s.conf.Dialer.Proxy.Needs())
}

// ages are how old tokens may become: the shortest time for each.
func ages(conf bottle.Gate) map[string]time.Duration {
	ages := map[string]time.Duration{}
	for _, r := range conf.Remotes {
		if age := time.Duration(r.Refresh) * time.Second; age > 0 && (ages[r.Token] == 0 || age < ages[r.Token]) {
			ages[r.Token] = age
		}
	}
	return ages
}

// refused notes that an upstream, or the proxy, did not take a value that came in
// then.
func (s *Service) refused(name string, came time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conf.Secrets == nil || !s.conf.Secrets.Refuse(name, came) {
		return
	}
	ev := bottle.Event{Kind: "secrets", Verdict: "error", Detail: name + " is refused"}
	if err := s.tell(); err != nil {
		ev.Detail += ": " + err.Error()
	}
	s.conf.Record(ev)
}

// Failed delivers the error that ended the service by itself.
func (s *Service) Failed() <-chan error { return s.failed }

// Drain finishes what is under way until ctx ends.
func (s *Service) Drain(ctx context.Context) {
	if s.server.Shutdown(ctx) != nil {
		s.server.Close()
	}
	for _, r := range s.state.Load().repos {
		if up := r.waiting.Swap(nil); up != nil {
			up.close()
		}
	}
	s.queue.Close()
}
