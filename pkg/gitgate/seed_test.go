package gitgate

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
)

// seeded is a gate, not started yet, that is to begin with what a client has.
func seeded(t *testing.T, c *client) *gate {
	t.Helper()
	conf := defaultGate()
	conf.Branch, conf.Refs = "refs/heads/main", map[string]string{}
	for line := range strings.Lines(c.git("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")) {
		id, ref, _ := strings.Cut(strings.TrimSpace(line), " ")
		conf.Refs[ref] = id
	}
	g := newGate(t, conf)
	cmd := clientCommand(c.dir, "git", "pack-objects", "-q", "--stdout", "--all")
	pack, err := cmd.Output()
	if err == nil {
		err = os.WriteFile(filepath.Join(g.dir, "in", bottle.GateSeed), pack, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestARemoteThatIsKeptBeginsWithTheOperatorsFolder(t *testing.T) {
	t.Parallel()
	c := newClient(t, "")
	c.commit("old.txt", "key "+formatSecret+"\n")
	first := c.git("rev-parse", "HEAD")
	c.git("tag", "-a", "v1", "-m", "v1")
	c.git("branch", "other")
	g := seeded(t, c)
	g.conf.Refs["refs/heads/-odd"] = first
	g.write()
	g.start()
	c.git("remote", "set-url", "origin", g.url+"/origin.git")
	c.git("pull", "-q", "origin", "main")
	if got := c.git("ls-remote", "origin", "HEAD", "v1^{}", "other", "*odd"); strings.Count(got, first) != 3 {
		t.Errorf("the gate begins with %q", got)
	}
	id := c.commit("new.txt", "clean\n")
	c.git("push", "-q", "origin", "main")
	if all := g.pushes(); len(all) != 1 || all[0].Objects != 3 {
		t.Errorf("not the news alone were pushed: %+v", all)
	}
	out, err := c.try("push", "--force", "origin", "main:refs/tags/v1")
	wantRefused(t, out, err, "already exists")

	// It is seeded once: what was pushed stays.
	g.start()
	c.git("remote", "set-url", "origin", g.url+"/origin.git")
	if got := c.git("ls-remote", "origin", "refs/heads/main"); !strings.HasPrefix(got, id) {
		t.Errorf("after a restart main is %s", got)
	}
	g.noQuarantine()
}

// What cannot be taken leaves the repository as it would be without.
func TestASeedThatIsBrokenIsLeftOut(t *testing.T) {
	t.Parallel()
	c := newClient(t, "")
	c.commit("a.txt", "one\n")
	for name, harm := range map[string]func(file string) error{
		"no pack":    func(file string) error { return os.WriteFile(file, []byte("PACK of nothing"), 0o600) },
		"cut off":    func(file string) error { return os.Truncate(file, 100) },
		"not there":  os.Remove,
		"a lost ref": func(string) error { return nil },
	} {
		g := seeded(t, c)
		if name == "a lost ref" {
			g.conf.Refs["refs/heads/lost"] = strings.Repeat("1", 40)
			g.write()
		}
		if err := harm(filepath.Join(g.dir, "in", bottle.GateSeed)); err != nil {
			t.Fatal(err)
		}
		g.start()
		if got := c.git("ls-remote", g.url+"/origin.git"); got != "" {
			t.Errorf("%s: the gate begins with %q", name, got)
		}
		c.git("push", "-q", g.url+"/origin.git", "main")
		g.noQuarantine()
	}
}

func TestAShallowFolderIsBegunWithAsOne(t *testing.T) {
	t.Parallel()
	full := newClient(t, "")
	full.commit("a.txt", "one\n")
	full.commit("b.txt", "two\n")
	c := &client{t, t.TempDir()}
	c.git("clone", "-q", "--depth", "1", "file://"+full.dir, ".")
	g := seeded(t, c)
	g.conf.Shallow = []string{c.git("rev-parse", "HEAD")}
	g.write()
	g.start()
	c.git("remote", "set-url", "origin", g.url+"/origin.git")
	c.git("pull", "-q", "origin", "main")
	id := c.commit("c.txt", "three\n")
	c.git("push", "-q", "origin", "main")
	if got := c.git("ls-remote", "origin", "refs/heads/main"); !strings.HasPrefix(got, id) {
		t.Errorf("main is %s", got)
	}
}
