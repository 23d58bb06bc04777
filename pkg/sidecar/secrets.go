package sidecar

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"bottle/pkg/bottle"
)

// SecretsSocket is where a sidecar takes its secrets: a socket file in a tmpfs
// of its container. An abstract socket would be anybody's in the network
// namespace.
const SecretsSocket = "/tmp/secrets.sock"

// SecretsWord is the argument by which a sidecar's program hands over what it
// reads to the one that runs.
const SecretsWord = "secrets"

// handTime bounds one handover.
const handTime = 10 * time.Second

// received is the answer to a handover that worked.
const received = "ok\n"

// Secrets are the values that a sidecar was handed. They live in its memory
// alone; a sidecar that was restarted has none. Safe for concurrent use.
type Secrets struct {
	mu      sync.Mutex
	values  map[string]string
	came    map[string]time.Time // when
	refused map[string]bool      // an upstream did not take the value that is here
	changed func()
}

// Now returns a copy of what is there, and when each value came in, by name.
func (s *Secrets) Now() (values map[string]string, came map[string]time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.values), maps.Clone(s.came)
}

// Refuse notes that an upstream did not take the value that came in then. It says
// whether that is news: a value is refused once, and one that was replaced
// meanwhile is nobody's business any more.
func (s *Secrets) Refuse(name string, came time.Time) (news bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if is, here := s.came[name]; !here || !is.Equal(came) || s.refused[name] {
		return false
	}
	s.refused[name] = true
	return true
}

// Tell adds to a document what is to be said of values: which of these names are
// lacking, and which refused; and of those that age, when they are as old as they
// may become.
func (s *Secrets) Tell(a *bottle.Applied, names []string, ages map[string]time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.RenewAt, a.Due, a.Stale, a.Needs = nil, nil, nil, nil
	for name, age := range ages {
		came, here := s.came[name]
		if !here {
			continue
		}
		if a.Due == nil {
			a.Due = map[string]time.Time{}
		}
		due := came.Add(age).Truncate(time.Second)
		if a.Due[name] = due; a.RenewAt == nil || due.Before(*a.RenewAt) {
			a.RenewAt = &due
		}
	}
	for _, name := range slices.Sorted(slices.Values(names)) {
		switch {
		case s.values[name] == "":
			a.Needs = append(a.Needs, name)
		case s.refused[name]:
			a.Stale = append(a.Stale, name)
		}
	}
}

// OnChange sets what is called after values came in.
func (s *Secrets) OnChange(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = f
}

// Put adds values; one by a name that is known replaces the old one.
func (s *Secrets) Put(more bottle.Secrets) {
	s.mu.Lock()
	if s.values == nil {
		s.values, s.came, s.refused = map[string]string{}, map[string]time.Time{}, map[string]bool{}
	}
	now := time.Now().UTC()
	for name, value := range more.Values {
		s.values[name], s.came[name] = value, now
		delete(s.refused, name)
	}
	changed := s.changed
	s.mu.Unlock()
	if changed != nil {
		changed()
	}
}

// Listen takes handovers at path until the returned function is called. A
// handover is answered when its values are in force.
func (s *Secrets) Listen(path string) (stop func(), err error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot take secrets: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("cannot take secrets: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("cannot take secrets: %w", err)
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.take(conn)
		}
	}()
	return func() { l.Close() }, nil
}

// take is one handover.
func (s *Secrets) take(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(handTime))
	data, err := io.ReadAll(io.LimitReader(conn, bottle.MaxSecrets+1))
	if err != nil {
		return // who hands over sees no answer
	}
	doc, err := bottle.ParseSecrets(data)
	if err != nil {
		fmt.Fprintln(conn, err)
		return
	}
	s.Put(doc)
	io.WriteString(conn, received)
}

// HandOver gives what it reads from in, a bottle.Secrets, to the sidecar that
// listens at path. It is what a sidecar's program does for the host, started by
// an exec in the sidecar's container.
func HandOver(path string, in io.Reader) error {
	conn, err := net.DialTimeout("unix", path, handTime)
	if err != nil {
		return fmt.Errorf("cannot hand secrets over: the sidecar does not listen: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(handTime))
	if _, err := io.Copy(conn, in); err != nil {
		return fmt.Errorf("cannot hand secrets over: %w", err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil {
		return fmt.Errorf("cannot hand secrets over: %w", err)
	}
	answer, err := io.ReadAll(io.LimitReader(conn, 1024))
	switch {
	case err != nil:
		return fmt.Errorf("cannot hand secrets over: %w", err)
	case len(answer) == 0:
		return errors.New("cannot hand secrets over: the sidecar did not take them")
	case string(answer) != received:
		return fmt.Errorf("cannot hand secrets over: %s", strings.TrimSpace(string(answer)))
	}
	return nil
}
