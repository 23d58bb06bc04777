package gitgate

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
)

// stale says that what the repository has may be old, and why.
type stale struct{ err error }

func (s *stale) Error() string {
	return "the upstream could not be asked, what is here may be old: " + s.err.Error()
}

// asking is how an upstream is asked where its HEAD points, and for its branches
// and tags.
type asking func(context.Context, git, *line) (head string, refs map[string]string, err error)

// refresh brings the repository to what its upstream has, and returns its
// branches and tags. Those who ask the same at the same time wait for one answer.
// A *stale error leaves what was there.
func (s *Service) refresh(ctx context.Context, st *state, r *repo, service string) (map[string]string, error) {
	if st.conf.Remotes[r.name].Upstream == "" {
		s.seed(ctx, st, r)
		return r.refs(ctx)
	}
	ask := asking(askToFetch)
	if service == receivePack {
		ask = askToPush
	}
	refs, err, _ := s.flights.Do(service+" "+r.name, func() (any, error) {
		// It is not one client's: whoever hangs up does not end it for the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTime)
		defer cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		return s.fetch(ctx, st, r, ask)
	})
	r.stale.Store(err != nil)
	if err != nil {
		return nil, &stale{err}
	}
	return refs.(map[string]string), nil
}

func (s *Service) fetch(ctx context.Context, st *state, r *repo, ask asking) (map[string]string, error) {
	line, err := s.open(st, r.name)
	if err != nil {
		return nil, err
	}
	defer line.close()
	head, theirs, err := ask(ctx, r.git, line)
	if err != nil {
		return nil, line.explain(err)
	}
	ours, err := r.refs(ctx)
	if err != nil {
		return nil, err
	}
	if !maps.Equal(ours, theirs) {
		err = r.git.with(line.env...).run(ctx, nil, nil, "fetch", "--quiet", "--prune", "--no-tags", "--force", "--no-write-fetch-head", "--no-auto-maintenance", "--no-show-forced-updates",
			"--no-recurse-submodules", "--", line.url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
		if err != nil {
			return nil, line.explain(err)
		}
		if ours, err = r.refs(ctx); err != nil {
			return nil, err
		}
	}
	return ours, r.point(ctx, head, theirs)
}

// askToFetch asks for what can be fetched.
func askToFetch(ctx context.Context, g git, l *line) (head string, refs map[string]string, err error) {
	list, err := g.with(l.env...).out(ctx, "", "ls-remote", "--symref", "--", l.url, "HEAD", "refs/heads/*", "refs/tags/*")
	if err != nil {
		return "", nil, err
	}
	head, refs = parseRefs(list)
	return head, refs, nil
}

// askToPush asks for what can be pushed to: no git runs for it here. Where HEAD
// points is not in the answer.
func askToPush(ctx context.Context, g git, l *line) (head string, refs map[string]string, err error) {
	up, has, err := l.ask(ctx, g)
	if err != nil {
		return "", nil, err
	}
	up.close()
	maps.DeleteFunc(has.refs, func(name, _ string) bool { return !isBranchOrTag(name) })
	return "", has.refs, nil
}

func isBranchOrTag(name string) bool {
	return strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")
}

// parseRefs reads what git ls-remote --symref says: where HEAD points, and the
// branches and tags.
func parseRefs(list string) (head string, refs map[string]string) {
	refs = map[string]string{}
	for line := range strings.Lines(list) {
		value, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		to, symbolic := strings.CutPrefix(value, "ref: ")
		switch {
		case symbolic && name == "HEAD":
			head = to
		case strings.HasSuffix(name, "^{}"): // what a tag is of
		case isBranchOrTag(name):
			refs[name] = value
		}
	}
	return head, refs
}

// bundle writes the branches to a file for the operator, without what his own
// folder has.
func (p *push) bundle(ctx context.Context) error {
	had, err := p.repo.git.commits(ctx, p.conf.Known)
	if err != nil {
		return err
	}
	var in strings.Builder
	for _, id := range had {
		in.WriteString("^" + id + "\n")
	}
	file := filepath.Join(p.service.conf.Out, p.repo.name+".bundle")
	_, err = p.repo.git.out(ctx, in.String(), "bundle", "create", "--quiet", file, "--branches", "--stdin")
	var failed *gitError
	if errors.As(err, &failed) && strings.Contains(failed.said, "empty bundle") {
		if err = os.Remove(file); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
	}
	return err
}

// explain says in words what git's failure to reach an upstream comes from.
func (l *line) explain(err error) error {
	if l.ended() != nil {
		return l.ended()
	}
	var failed *gitError
	if !errors.As(err, &failed) {
		return err
	}
	switch said := failed.said; {
	case strings.Contains(said, "Host key verification failed"), strings.Contains(said, "host key is known"):
		return fmt.Errorf("the host key of %s is not the one in known_hosts, or is not there: the operator puts it there, and starts anew", l.host)
	case strings.Contains(said, "Permission denied"):
		return fmt.Errorf("%s refuses the key that the gate has", l.host)
	}
	return errors.New(strings.ReplaceAll(failed.Error(), l.url, l.shown))
}
