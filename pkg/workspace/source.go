package workspace

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"unicode/utf8"
)

// source is what is read of one repository on the host.
type source struct {
	ctx     context.Context
	g       git
	warn    func(string)
	index   []indexEntry
	added   map[string]bool   // paths with intent to add
	staged  []string          // objects that the index names and HEAD does not
	state   []string          // commits that a merge under way names
	files   map[string]string // where git's own files are, by their names below .git
	partial bool
}

type indexEntry struct {
	mode, oid    string
	stage        int
	path         string
	skip, assume bool
}

const gitlink = "160000"

// emptyBlobs are the IDs of no bytes, which an intent to add has in the index.
var emptyBlobs = []string{
	"e69de29bb2d1d6434b8b29ae775ad8c2e48c5391",
	"473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813",
}

func (s *source) read(rel string) (*repo, error) {
	r, err := s.history(rel)
	if err != nil {
		return nil, err
	}
	if err := s.readIndex(r); err != nil {
		return nil, err
	}
	return r, s.readFiles(r)
}

// history reads all but the index and the files.
func (s *source) history(rel string) (*repo, error) {
	r := &repo{Path: rel}
	facts, err := s.g.line(s.ctx, "rev-parse", "--show-object-format", "--is-shallow-repository")
	if err != nil {
		return nil, err
	}
	format, shallow, _ := strings.Cut(facts, "\n")
	r.Format = format
	config, err := s.g.out(s.ctx, "config", "-z", "--list")
	if err != nil {
		return nil, err
	}
	s.partial = isPartial(config)
	r.Config = choose(config, s.warn)
	s.tellOfFilters(config)
	if err := s.readHead(r); err != nil {
		return nil, err
	}
	if err := s.readRefs(r); err != nil {
		return nil, err
	}
	if err := s.locate(); err != nil {
		return nil, err
	}
	switch {
	case s.partial && r.Head != "":
		// The rest of the history may have holes. Under the same ID, as the
		// end of a shallow history, work on top of it fits the original.
		r.Shallow = []string{r.Head}
		s.warn("this is a partial clone: only HEAD's commit comes along, without its history")
	case shallow == "true":
		list, err := s.file("shallow")
		if err != nil {
			return nil, err
		}
		r.Shallow = strings.Fields(string(list))
	}
	return r, nil
}

func isPartial(config []byte) bool {
	for _, rec := range zsplit(config) {
		key, value, _ := strings.Cut(rec, "\n")
		section, _, last := splitKey(key)
		if key == "extensions.partialclone" || section == "remote" && last == "promisor" && value != "false" {
			return true
		}
	}
	return false
}

func (s *source) tellOfFilters(config []byte) {
	told := map[string]bool{"lfs": true}
	for _, rec := range zsplit(config) {
		key, _, _ := strings.Cut(rec, "\n")
		section, sub, last := splitKey(key)
		if section == "filter" && !told[sub] && (last == "clean" || last == "process") {
			told[sub] = true
			s.warn("the filter " + sub + " is not known inside: files it works on may show as modified")
		}
	}
}

func (s *source) readHead(r *repo) error {
	branch, err := s.g.line(s.ctx, "symbolic-ref", "-q", "HEAD")
	if err != nil && exitCode(err) != 1 {
		return err
	}
	if strings.HasPrefix(branch, "refs/heads/") {
		r.Branch = branch
	}
	oid, err := s.g.line(s.ctx, "rev-parse", "-q", "--verify", "HEAD")
	if err != nil && exitCode(err) != 1 {
		return err
	}
	r.Head = oid
	if r.Branch != "" && !utf8.ValidString(r.Branch) {
		return fmt.Errorf("cannot carry a branch whose name is not UTF-8: %q", r.Branch)
	}
	if r.Branch == "" && r.Head == "" {
		return fmt.Errorf("HEAD names nothing (%q)", branch)
	}
	if r.Branch == "" {
		return s.readSwitch(r)
	}
	return nil
}

func (s *source) readSwitch(r *repo) error {
	// Configured to show signatures, it would run the configured gpg.
	log, err := s.g.out(s.ctx, "log", "--no-show-signature", "-g", "-z", "--max-count=10000", "--format=%H %gs", "HEAD", "--")
	if err != nil {
		return err
	}
	for _, rec := range zsplit(log) {
		oid, said, _ := strings.Cut(rec, " ")
		if strings.HasPrefix(said, switching) {
			if f := (ref{Name: said, OID: oid}); f.isSwitch() {
				r.Switched = &f
			}
			break
		}
	}
	return nil
}

// readRefs takes branches, tags, replacements and the upstreams of branches. Of a partial
// clone it takes those that name HEAD's commit.
func (s *source) readRefs(r *repo) error {
	out, err := s.g.out(s.ctx, "for-each-ref", "--format=%(objectname) %(refname) %(upstream)", "refs/heads", "refs/tags", "refs/replace", "refs/remotes")
	if err != nil {
		return err
	}
	upstreams := map[string]bool{}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	for _, line := range lines {
		if f := strings.Split(line, " "); len(f) == 3 {
			upstreams[f[2]] = true
		}
	}
	for _, line := range lines {
		f := strings.Split(line, " ")
		if len(f) != 3 || strings.HasPrefix(f[1], "refs/remotes/") && !upstreams[f[1]] || s.partial && f[0] != r.Head {
			continue
		}
		if !utf8.ValidString(f[1]) || !validRef(f[1]) {
			s.warn(fmt.Sprintf("%q stays behind: it has an unusual name", f[1]))
			continue
		}
		r.Refs = append(r.Refs, ref{Name: f[1], OID: f[0]})
	}
	return nil
}

func (s *source) readIndex(r *repo) error {
	out, err := s.g.out(s.ctx, "ls-files", "-s", "-v", "-z")
	if err != nil {
		return err
	}
	for _, rec := range zsplit(out) {
		e, ok := parseIndexLine(rec)
		if !ok {
			return fmt.Errorf("cannot understand an entry of the index: %q", rec)
		}
		if e.stage != 0 && e.mode != gitlink {
			s.staged = append(s.staged, e.oid)
		}
		s.index = append(s.index, e)
	}
	return s.readStaged(r)
}

// readStaged finds the staged objects that no commit has, and the intents to
// add: those are what the two ways of comparing tell apart.
func (s *source) readStaged(r *repo) error {
	visible, err := s.compare(r, "--ita-visible-in-index")
	if err != nil {
		return err
	}
	maybeAdded := false
	for _, c := range visible {
		if c.mode != gitlink && strings.Trim(c.oid, "0") != "" {
			s.staged = append(s.staged, c.oid)
		}
		maybeAdded = maybeAdded || contains(emptyBlobs, c.oid)
	}
	if !maybeAdded {
		return nil
	}
	invisible, err := s.compare(r, "--ita-invisible-in-index")
	if err != nil {
		return err
	}
	s.added = map[string]bool{}
	for path, c := range visible {
		if invisible[path] != c {
			s.added[path] = true
		}
	}
	return nil
}

// staged is what the index has for a path, where HEAD has something else.
type staged struct{ mode, oid string }

func (s *source) compare(r *repo, how string) (map[string]staged, error) {
	base := r.Head
	if base == "" {
		empty, err := s.g.line(s.ctx, "hash-object", "-t", "tree", "--stdin")
		if err != nil {
			return nil, err
		}
		base = empty
	}
	out, err := s.g.out(s.ctx, "diff-index", "--cached", how, "--raw", "--no-abbrev", "--no-renames", "--ignore-submodules=none", "-z", base)
	if err != nil {
		return nil, err
	}
	found := map[string]staged{}
	fields := zsplit(out)
	for i := 0; i+1 < len(fields); i += 2 {
		if f := strings.Fields(fields[i]); len(f) == 5 {
			found[fields[i+1]] = staged{mode: f[1], oid: f[3]}
		}
	}
	return found, nil
}

// parseIndexLine reads "TAG MODE OID STAGE\tPATH", as git ls-files -s -v has it.
func parseIndexLine(rec string) (indexEntry, bool) {
	meta, name, ok := strings.Cut(rec, "\t")
	f := strings.Split(meta, " ")
	if !ok || len(f) != 4 || len(f[0]) != 1 || len(f[3]) != 1 || f[3][0] < '0' || f[3][0] > '3' || !isOID(f[2]) {
		return indexEntry{}, false
	}
	tag := f[0][0]
	return indexEntry{
		mode: f[1], oid: f[2], stage: int(f[3][0] - '0'), path: name,
		skip: tag == 'S' || tag == 's', assume: tag >= 'a' && tag <= 'z',
	}, true
}

// wants are the objects whose closure goes into the pack.
func (s *source) wants(r *repo) []string {
	seen := map[string]bool{}
	var out []string
	add := func(oid string) {
		if oid != "" && !seen[oid] {
			seen[oid] = true
			out = append(out, oid)
		}
	}
	add(r.Head)
	for _, f := range r.Refs {
		add(f.OID)
	}
	for _, oid := range append(s.staged, s.state...) {
		add(oid)
	}
	return out
}

// present lists those objects of HEAD's commit and of the index that a partial
// clone has.
func (s *source) present(r *repo, list *bytes.Buffer) error {
	missing := 0
	if r.Head != "" {
		out, err := s.g.out(s.ctx, "rev-list", "--objects", "--missing=print", "--max-count=1", "HEAD")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(out)) {
			if strings.HasPrefix(line, "?") {
				missing++
				continue
			}
			list.WriteString(line)
		}
	}
	if len(s.staged) > 0 {
		ask := []byte(strings.Join(s.staged, "\n") + "\n")
		out, err := s.g.pipe(s.ctx, ask, "cat-file", "--batch-check=%(objectname)")
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(out)) {
			if isOID(strings.TrimSuffix(line, "\n")) {
				list.WriteString(line)
			}
		}
	}
	if missing > 0 {
		s.warn(fmt.Sprintf("%d objects of HEAD were never fetched, and are missing inside too", missing))
	}
	return nil
}
