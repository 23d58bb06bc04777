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
	maxNames     = 10_000 // where they are counted alone
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
	var found []Filed
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
		for i := range some {
			some[i].Slug, some[i].Agent = slug, agent
		}
		found, bad = append(found, some...), append(bad, errs...)
	}
	slices.SortStableFunc(found, func(a, b Filed) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return found, bad
}

// Undecided counts the proposals of all bottles that have no decision, by their
// names alone.
func (h *Home) Undecided() int {
	slugs, _ := h.Slugs() // what cannot be listed has none
	n := 0
	for _, slug := range slugs {
		for _, source := range sources {
			base := filepath.Join(h.StateDir(slug), source)
			asked := namesIn(filepath.Join(base, "out", proposalsDir))
			if len(asked) == 0 {
				continue
			}
			decided := namesIn(filepath.Join(base, "in", decisionsDir))
			for name := range asked {
				if !decided[name] {
					n++
				}
			}
		}
	}
	return n
}

// namesIn are the names of the documents in a directory. What is none, such as a
// link that a sidecar put there, has none; nothing waits for a pipe.
func namesIn(dir string) map[string]bool {
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	defer d.Close()
	entries, err := d.ReadDir(maxNames)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil
	}
	names := make(map[string]bool, len(entries))
	for _, e := range entries {
		name := e.Name()
		if strings.HasSuffix(name, ".json") && !strings.HasPrefix(name, ".") && e.Type()&(fs.ModeSymlink|fs.ModeNamedPipe) == 0 {
			names[name] = true
		}
	}
	return names
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
	out      *os.Root // its out directory
	dir      *os.Root // the proposals in it
}

func (h *Home) openSource(slug, name string) (*source, error) {
	base := filepath.Join(h.StateDir(slug), name)
	out, err := os.OpenRoot(filepath.Join(base, "out"))
	if err != nil {
		return nil, err
	}
	info, err := out.Lstat(proposalsDir)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s: %s is no directory", name, proposalsDir)
	}
	var dir *os.Root
	if err == nil {
		dir, err = out.OpenRoot(proposalsDir)
	}
	if err != nil {
		out.Close()
		return nil, err
	}
	return &source{name: name, in: filepath.Join(base, "in"), out: out, dir: dir}, nil
}

func (s *source) close() {
	s.dir.Close()
	s.out.Close()
}

func (s *source) proposals(all bool) (found []Filed, bad []error) {
	d, err := s.dir.Open(".")
	if err != nil {
		return nil, []error{err}
	}
	defer d.Close()
	names, err := d.Readdirnames(maxProposals + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, []error{err}
	}
	if len(names) > maxProposals {
		bad = append(bad, fmt.Errorf("%s has more than %d proposals: the others are not read", s.name, maxProposals))
		names = names[:maxProposals]
	}
	decided := s.decided()
	pending := s.pending()
	for _, name := range names {
		id, ok := strings.CutSuffix(name, ".json")
		if !ok || proposal.CheckID(id) != nil {
			if !strings.HasPrefix(name, spool.TempPrefix) {
				bad = append(bad, fmt.Errorf("%s: %q is not the name of a proposal", s.name, clipped(name)))
			}
			continue
		}
		if decided[id] && !all {
			continue
		}
		p, err := s.read(id)
		if err != nil {
			bad = append(bad, err)
			continue
		}
		f := Filed{Proposal: p, Pending: pending[id]}
		if decided[id] {
			if f.Decision, err = s.decision(id); err != nil {
				bad = append(bad, err)
			}
		}
		found = append(found, f)
	}
	return found, bad
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
func readRegular(root *os.Root, name string, most int64) ([]byte, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if s, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || !ok || s.Nlink > 1 || info.Size() > most {
		return nil, spool.ErrUnsafe
	}
	data := make([]byte, info.Size()+1)
	n, err := io.ReadFull(f, data)
	switch {
	case err == nil:
		return nil, spool.ErrUnsafe // it grew while it was read
	case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF):
		return nil, err
	}
	return data[:n], nil
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
