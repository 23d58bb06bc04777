package workspace

import (
	"bytes"
	"fmt"
	"path"
	"strings"
)

func (u *unpacker) firstCommit() error {
	// Folders inside that are repositories are not there yet. Where attributes
	// of the folder get in the way, the first commit is an empty one.
	// One pack is made much sooner than a file for each object.
	add := u.g.set("core.safecrlf=false", "core.bigFileThreshold=1", "pack.compression=1")
	if err := add.run(u.ctx, nil, nil, "add", "--all"); err != nil && exitCode(err) != 128 {
		return err
	}
	g := u.g
	if err := g.run(u.ctx, nil, nil, "var", "GIT_COMMITTER_IDENT"); err != nil || !u.identified() {
		g = g.with("GIT_AUTHOR_NAME=bottle", "GIT_AUTHOR_EMAIL=bottle@localhost",
			"GIT_COMMITTER_NAME=bottle", "GIT_COMMITTER_EMAIL=bottle@localhost")
	}
	return g.run(u.ctx, nil, nil, "-c", "commit.gpgSign=false", "commit", "-q", "--allow-empty", "--no-verify", "-m", "The folder as it was")
}

func (u *unpacker) identified() bool {
	both := 0
	for _, c := range u.repo.Config {
		if c.Key == "user.name" || c.Key == "user.email" {
			both++
		}
	}
	return both == 2
}

// baseFile holds the ID of the commit that the workspace began with. Capture
// reads it, as a hint.
const baseFile = "bottle-base"

// init makes the repository with a configuration of its own, and its refs.
func (u *unpacker) init() error {
	r := u.repo
	branch := strings.TrimPrefix(r.Branch, "refs/heads/")
	if branch == "" {
		branch = "main"
	}
	err := u.g.run(u.ctx, nil, nil, "init", "-q", "--template=", "--object-format="+r.Format, "--initial-branch="+branch)
	if err != nil {
		return err
	}
	dot := path.Join(r.Path, ".git")
	if err := u.files.append(path.Join(dot, "config"), render(r.Config)); err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		"info/exclude": r.Exclude, "info/sparse-checkout": r.Sparse, "info/attributes": r.Attributes,
		"shallow": lines(r.Shallow), "packed-refs": packedRefs(r.Refs), baseFile: lines([]string{r.Head}),
		"MERGE_HEAD": r.State["MERGE_HEAD"], "MERGE_MSG": r.State["MERGE_MSG"], "MERGE_MODE": r.State["MERGE_MODE"],
		"logs/HEAD":        switchLog(r.Switched),
		"CHERRY_PICK_HEAD": r.State["CHERRY_PICK_HEAD"], "REVERT_HEAD": r.State["REVERT_HEAD"],
	} {
		if len(data) == 0 {
			continue
		}
		if err := u.files.append(path.Join(dot, name), data); err != nil {
			return err
		}
	}
	if r.Branch == "" {
		return u.files.replace(path.Join(dot, "HEAD"), lines([]string{r.Head}))
	}
	return nil
}

func lines(list []string) []byte {
	s := strings.TrimSpace(strings.Join(list, "\n"))
	if s == "" {
		return nil
	}
	return []byte(s + "\n")
}

func switchLog(s *ref) []byte {
	if s == nil {
		return nil
	}
	// git skips an entry whose time is 0.
	return []byte(strings.Repeat("0", len(s.OID)) + " " + s.OID + " bottle <bottle@localhost> 1 +0000\t" + s.Name + "\n")
}

func packedRefs(refs []ref) []byte {
	var b bytes.Buffer
	for _, r := range refs {
		fmt.Fprintf(&b, "%s %s\n", r.OID, r.Name)
	}
	return b.Bytes()
}
