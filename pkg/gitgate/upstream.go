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

// refresh brings the repository to what its upstream has, and returns its
// branches and tags. Those who ask the same at the same time wait for one answer.
// A *stale error leaves what was there.
func (s *Service) refresh(ctx context.Context, st *state, r *repo, service string) (map[string]string, error) {
	if st.conf.Remotes[r.name].Upstream == "" {
		s.seed(ctx, st, r)
		return r.refs(ctx)
	}
	fetch := s.fetch
	if service == receivePack {
		fetch = s.fetchToPush
	}
	refs, err, _ := s.flights.Do(service+" "+r.name, func() (any, error) {
		// It is not one client's: whoever hangs up does not end it for the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), refreshTime)
		defer cancel()
		r.mu.Lock()
		defer r.mu.Unlock()
		return fetch(ctx, st, r)
	})
	r.stale.Store(err != nil)
	if err != nil {
		return nil, &stale{err}
	}
	return refs.(map[string]string), nil
}

// fetch asks what can be fetched, and where HEAD points.
func (s *Service) fetch(ctx context.Context, st *state, r *repo) (map[string]string, error) {
	line, err := s.open(st, r.name)
	if err != nil {
		return nil, err
	}
	defer line.close()
	list, err := r.git.with(line.env...).out(ctx, "", "ls-remote", "--symref", "--", line.url, "HEAD", "refs/heads/*", "refs/tags/*")
	if err != nil {
		return nil, line.explain(err)
	}
	head, theirs := parseRefs(list)
	return r.bring(ctx, line, head, theirs)
}

// fetchToPush asks what can be pushed to, and leaves upstream waiting for the push:
// no git runs for it here. Where HEAD points is not in the answer.
func (s *Service) fetchToPush(ctx context.Context, st *state, r *repo) (map[string]string, error) {
	up := s.reach(ctx, st, r)
	if up.line == nil {
		return nil, errors.Join(up.err, up.close())
	}
	refs, err := maps.Clone(up.has.refs), up.err // the push that follows wants all of them
	if err == nil {
		maps.DeleteFunc(refs, func(name, _ string) bool { return !isBranchOrTag(name) })
		refs, err = r.bring(ctx, up.line, "", refs)
	} else {
		err = up.line.explain(err)
	}
	if err != nil {
		up.close()
		return nil, err
	}
	r.leave(up)
	return refs, nil
}

// bring brings the repository to what its upstream has, and returns its refs.
func (r *repo) bring(ctx context.Context, line *line, head string, theirs map[string]string) (map[string]string, error) {
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
