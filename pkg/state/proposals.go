package state

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
	"bottle/pkg/spool"
)

// Names below a sidecar's folder.
const (
	proposalsDir = "proposals"    // in out/
	pendingFile  = "pending.json" // in out/
	decisionsDir = "decisions"    // in in/
)

// Bounds of what is read of one sidecar. What is beyond is not read, and told.
const (
	maxProposals = 5_000
	maxPending   = 1 << 20
	maxDecision  = 256 << 10
)

// sources are the sidecars that write proposals.
var sources = []string{proposal.Egress, proposal.Supervise, proposal.GitGate}

// Filed is a proposal as it lies in the state directory.
type Filed struct {
	bottle.Proposal
	Pending  bottle.Pending
	Decision *bottle.Decision // nil: it waits
}

// Proposals reads what the sidecars of a bottle ask, oldest first: all that
// waits, and where all is set what was decided too. What cannot be what a
// sidecar wrote is left out, and told as an error each.
func (h *Home) Proposals(slug string, all bool) ([]Filed, []error) {
	var found []*Filed
	var bad []error
	agent := "?"
	if b, err := h.Bottle(slug); err == nil {
		agent = b.Agent
	}
	for _, source := range sources {
		r, err := h.openSource(slug, source)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			bad = append(bad, err)
			continue
		}
		some, errs := r.proposals(all)
		r.close()
		for _, f := range some {
			f.Slug, f.Agent = slug, agent
		}
		found, bad = append(found, some...), append(bad, errs...)
	}
	slices.SortStableFunc(found, func(a, b *Filed) int { return a.CreatedAt.Compare(b.CreatedAt) })
	sorted := make([]Filed, len(found))
	for i, f := range found {
		sorted[i] = *f
	}
	return sorted, bad
}

// Proposal reads one proposal. The error is ErrNotFound where there is none.
func (h *Home) Proposal(slug, id string) (Filed, error) {
	if proposal.CheckID(id) != nil || bottle.CheckSlug(slug) != nil {
		return Filed{}, ErrNotFound
	}
	for _, source := range sources {
		r, err := h.openSource(slug, source)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Filed{}, err
		}
		f, err := r.one(id)
		r.close()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if b, berr := h.Bottle(slug); berr == nil {
			f.Agent = b.Agent
		}
		f.Slug = slug
		return f, err
	}
	return Filed{}, ErrNotFound
}

// source reads what one sidecar asks. All of it is the sidecar's: it is read
// without following what leads out, waiting, or taking more than a bound.
type source struct {
	name, in string
	out      *os.File // its out directory
	dir      *os.File // the proposals in it
}

func (h *Home) openSource(slug, name string) (*source, error) {
	base := filepath.Join(h.StateDir(slug), name)
	out, err := os.OpenFile(filepath.Join(base, "out"), os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	fd, err := openIn(out, proposalsDir, unix.O_DIRECTORY)
	if err != nil {
		out.Close()
		if err == unix.ENOTDIR || err == unix.ELOOP {
			return nil, fmt.Errorf("%s: %s is no directory", name, proposalsDir)
		}
		return nil, fmt.Errorf("%s: cannot open %s: %w", name, proposalsDir, err)
	}
	return &source{name: name, in: filepath.Join(base, "in"), out: out, dir: os.NewFile(uintptr(fd), proposalsDir)}, nil
}

// openIn opens what lies in dir itself: name is one of ours, or an ID. No link is
// followed, and nothing waits for a pipe. It is a descriptor, since what a file
// costs besides counts where there are thousands.
func openIn(dir *os.File, name string, flags int) (fd int, err error) {
	for {
		fd, err = unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

func (s *source) close() {
	s.dir.Close()
	s.out.Close()
}

func (s *source) proposals(all bool) (found []*Filed, bad []error) {
	names, err := s.dir.Readdirnames(maxProposals + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, []error{err}
	}
	if len(names) > maxProposals {
		bad = append(bad, fmt.Errorf("%s has more than %d proposals: the others are not read", s.name, maxProposals))
		names = names[:maxProposals]
	}
	decided := s.decided()
	pending := s.pending()
	files := make([]file, 0, len(names))
	for _, name := range names {
		id, ok := strings.CutSuffix(name, ".json")
		switch {
		case !ok || proposal.CheckID(id) != nil:
			if !strings.HasPrefix(name, spool.TempPrefix) {
				files = append(files, file{bad: fmt.Errorf("%s: %q is not the name of a proposal", s.name, clipped(name))})
			}
		case all || !decided[id]:
			files = append(files, file{id: id, decided: decided[id]})
		}
	}
	s.readAll(files)
	for i := range files {
		f := &files[i]
		if f.bad != nil {
			bad = append(bad, f.bad)
		}
		if f.ID != "" {
			f.Pending = pending[f.id]
			found = append(found, &f.Filed)
		}
	}
	return found, bad
}

// file is the file of one proposal, and what was read of it.
type file struct {
	id      string // empty: its name is none
	decided bool
	Filed         // without an ID where it could not be read
	bad     error // of it, or of its decision
}

// readAll reads files, a hundred by a hundred, side by side.
func (s *source) readAll(files []file) {
	var wg sync.WaitGroup
	for some := range slices.Chunk(files, 100) {
		wg.Go(func() {
			for i := range some {
				s.readInto(&some[i])
			}
		})
	}
	wg.Wait()
}

func (s *source) readInto(f *file) {
	if f.id == "" {
		return
	}
	p, err := s.read(f.id)
	if err != nil {
		f.bad = err
		return
	}
	f.Proposal = p
	if f.decided {
		f.Decision, f.bad = s.decision(f.id)
	}
}

func clipped(name string) string {
	const most = 80
	if len(name) > most {
		return name[:most] + "…"
	}
	return name
}

func (s *source) one(id string) (f Filed, err error) {
	if f.Proposal, err = s.read(id); err != nil {
		return f, err
	}
	f.Pending = s.pending()[id]
	if f.Decision, err = s.decision(id); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return f, err
}

func (s *source) read(id string) (bottle.Proposal, error) {
	data, err := readRegular(s.dir, id+".json", proposal.MaxSize)
	if err != nil {
		return bottle.Proposal{}, fmt.Errorf("cannot read the proposal %s: %w", id, err)
	}
	p, err := proposal.Parse(data, s.name, id)
	if err != nil {
		return p, fmt.Errorf("cannot read the proposal %s: %w", id, err)
	}
	return p, nil
}

// readRegular reads a file that somebody else may have made: a regular one with
// one name, of at most so many bytes.
func readRegular(dir *os.File, name string, most int64) ([]byte, error) {
	fd, err := openIn(dir, name, 0)
	if err == unix.ELOOP {
		return nil, spool.ErrUnsafe
	}
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return nil, err
	}
	if info.Mode&unix.S_IFMT != unix.S_IFREG || info.Nlink > 1 || info.Size > most {
		return nil, spool.ErrUnsafe
	}
	data := make([]byte, info.Size+1)
	for n := 0; n < len(data); {
		some, err := unix.Read(fd, data[n:])
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case some == 0:
			return data[:n], nil
		default:
			n += some
		}
	}
	return nil, spool.ErrUnsafe // it grew while it was read
}

// pending is what the sidecar says of what waits: advice, and empty where it
// cannot be read.
func (s *source) pending() map[string]bottle.Pending {
	var p map[string]bottle.Pending
	if data, err := readRegular(s.out, pendingFile, maxPending); err != nil || json.Unmarshal(data, &p) != nil {
		return nil
	}
	return p
}

// decided are the ids that have a decision.
func (s *source) decided() map[string]bool {
	ids := map[string]bool{}
	entries, err := os.ReadDir(filepath.Join(s.in, decisionsDir))
	if err != nil {
		return ids // there is none yet
	}
	for _, e := range entries {
		if id, ok := strings.CutSuffix(e.Name(), ".json"); ok {
			ids[id] = true
		}
	}
	return ids
}

func (s *source) decision(id string) (*bottle.Decision, error) {
	data, err := spool.ReadFile(filepath.Join(s.in, decisionsDir), id+".json", maxDecision)
	if err != nil {
		return nil, err
	}
	var d bottle.Decision
	if err := json.Unmarshal(data, &d); err != nil {
		return nil, fmt.Errorf("cannot read the decision of %s: %w", id, err)
	}
	return &d, nil
}

// ErrDecided is the error for a proposal that somebody decided before.
var ErrDecided = errors.New("it is decided already")

// Decide records decisions, durably: of several deciders one wins, and the others
// get ErrDecided, once what was not decided before is. source is the sidecar that
// asked.
func (h *Home) Decide(slug, source string, decisions ...bottle.Decision) error {
	dir := filepath.Join(h.StateDir(slug), source, "in", decisionsDir)
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = spool.Sync(filepath.Dir(dir))
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cannot record the decision: %w", err)
	}
	var before error
	for _, d := range decisions {
		err := record(dir, d)
		if errors.Is(err, fs.ErrExist) {
			before, err = ErrDecided, nil
		}
		if err != nil {
			return err
		}
	}
	if err := spool.Sync(dir); err != nil {
		return fmt.Errorf("cannot record the decision: %w", err)
	}
	return before
}

func record(dir string, d bottle.Decision) error {
	if err := proposal.CheckID(d.Proposal); err != nil {
		return err
	}
	// As proposals are written: what fitted there must not grow past maxDecision.
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return fmt.Errorf("cannot record the decision: %w", err)
	}
	return spool.CreateFile(filepath.Join(dir, d.Proposal+".json"), out.Bytes(), 0o600)
}

// Decision reads the decision on a proposal; fs.ErrNotExist where there is none.
func (h *Home) Decision(slug, sidecar, id string) (*bottle.Decision, error) {
	s := source{in: filepath.Join(h.StateDir(slug), sidecar, "in")}
	return s.decision(id)
}

// Decisions are all decisions on what a bottle's sidecars asked.
func (h *Home) Decisions(slug string) (all []bottle.Decision) {
	for _, name := range sources {
		s := source{name: name, in: filepath.Join(h.StateDir(slug), name, "in")}
		for id := range s.decided() {
			if d, err := s.decision(id); err == nil {
				all = append(all, *d)
			}
		}
	}
	return all
}

// LockPolicy takes the lock under which a bottle's policy is changed and its
// proposals are decided, and waits for it until ctx ends.
func (h *Home) LockPolicy(ctx context.Context, slug string) (*Lock, error) {
	if _, err := h.Bottle(slug); err != nil {
		return nil, err
	}
	return await(ctx, filepath.Join(h.StateDir(slug), "policy.lock"))
}

// TryLockPolicy is LockPolicy without waiting: ErrLocked where another has it.
func (h *Home) TryLockPolicy(slug string) (*Lock, error) {
	l, err := take(filepath.Join(h.StateDir(slug), "policy.lock"), exclusive, unix.F_OFD_SETLK)
	if errors.Is(err, unix.EAGAIN) {
		return nil, fmt.Errorf("%s: %w", slug, ErrLocked)
	}
	return l, err
}
