package gitgate

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"bottle/pkg/bottle"
)

// intake is a push into an empty repository, of what a test makes up, on its way to
// an upstream.
func intake(t testing.TB, format string) *push {
	t.Helper()
	conf := bottle.Gate{Format: format, Remotes: map[string]bottle.GateRemote{"here": {}}, Push: bottle.GatePush{MaxSize: 64 << 20}}
	r, err := openRepo(t.Context(), t.TempDir(), "here", conf)
	if err != nil {
		t.Fatal(err)
	}
	p := &push{state: &state{conf: conf}, repo: r, remote: bottle.GateRemote{Upstream: "another"}, looked: newPass(testScanner(t))}
	if p.quarantine, err = r.newQuarantine(); err != nil {
		t.Fatal(err)
	}
	return p
}

// here is the only file of a kind in a quarantine's pack folder.
func here(t testing.TB, quarantine, kind string) []byte {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(quarantine, "pack", "pack-*."+kind))
	if len(found) != 1 {
		t.Fatalf("there are %q", found)
	}
	data, err := os.ReadFile(found[0])
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// indexOf is the index that is written of a pack here; an error where git has to
// take it in.
func indexOf(ctx context.Context, p *push, data []byte) (*index, error) {
	var checks errgroup.Group
	e := lookEarly(p.looked, p.repo.format, func(pack *io.PipeReader) { checks.Go(func() error { return p.fsck(ctx, pack) }) })
	defer e.end()
	for piece := range slices.Chunk(data, 1000) {
		e.Write(piece)
	}
	x := e.finish()
	if x == nil {
		return nil, errors.Join(errIndex, checks.Wait())
	}
	elsewhere, err := x.elsewhere()
	if len(elsewhere) > 0 {
		err = p.checkKinds(ctx, elsewhere)
	}
	return x, errors.Join(x.checked.end(), err, checks.Wait())
}

// The index of a pack is what git writes, to the byte, and it is written here for
// whatever is whole.
func TestTheIndexOfAPackIsGits(t *testing.T) {
	t.Parallel()
	for _, format := range []string{formatSHA1, formatSHA256} {
		c := &client{t, t.TempDir()}
		c.git("init", "-q", "-b", "main", "--object-format="+format)
		random := make([]byte, aside+1000)
		rand.NewChaCha8([32]byte{}).Read(random)
		c.write("large", string(random))
		c.write(".gitattributes", "*.go text\n")
		c.write("d/.gitattributes", "*.c text\n")
		c.write(".gitmodules", "[submodule \"a\"]\n\tpath = a\n\turl = https://a.example/a.git\n")
		for i := range 30 {
			c.write(fmt.Sprintf("d%d/text", i%3), strings.Repeat(fmt.Sprintf("line %d\n", i), 30+i))
			c.commit("text", strings.Repeat("as ever\n", i))
		}
		c.git("tag", "-a", "v1", "-m", "v1")
		c.git("tag", "-a", "v2", "-m", "of a tag", "v1")
		called, named := map[string]bool{}, map[string]bool{}
		for commit := range strings.FieldsSeq(c.git("rev-list", "--all")) {
			for line := range strings.Lines(c.git("ls-tree", "-r", "-t", "--format=%(objectname) %(path)", commit) + "\n") {
				called[strings.TrimSpace(line)] = true
				named[strings.Fields(line)[0]] = true
			}
		}
		for _, how := range [][]string{{"--delta-base-offset", "--depth=50"}, {"--depth=4000"}, {"--no-reuse-delta", "--window=0"}} {
			dir := packOf(t, c, how...)
			data := here(t, dir, "pack")
			p := intake(t, format)
			if err := p.follow(t.Context(), bytes.NewReader(data)); err != nil {
				t.Fatal(err)
			}
			if got := here(t, p.quarantine, "idx"); !bytes.Equal(got, here(t, dir, "idx")) {
				t.Errorf("%s, %q: the index is another", format, how)
			}
			if got := here(t, p.quarantine, "pack"); !bytes.Equal(got, data) {
				t.Errorf("%s, %q: the pack is another", format, how)
			}
			if len(p.seen) == 0 || p.paths == nil {
				t.Errorf("%s, %q: git has taken it in", format, how)
			}
			for id, path := range p.paths {
				if !called[id+" "+path] {
					t.Errorf("%s is not called %s", id, path)
				}
			}
			if len(p.paths) != len(named) {
				t.Errorf("%d objects have a name, not %d", len(named), len(p.paths))
			}
			if err := p.git().run(t.Context(), nil, nil, "fsck", "--strict", "--full"); err != nil {
				t.Errorf("%s, %q: %v", format, how, err)
			}
		}
	}
}

// What git would refuse, or sees more of than what is checked, is left to git.
func TestWhatIsNotRightIsLeftToGit(t *testing.T) {
	t.Parallel()
	c := newClient(t, "nowhere")
	c.commit("file", "some text\n")
	c.commit("file", "some text\nand more\n")
	const who = "A <a@example.com> 1700000000 +0000"
	blob, commit := c.literally("blob", "text"), c.git("rev-parse", "HEAD")
	tree := c.literally("tree", item("100644", "a", blob))
	attributes := c.literally("blob", strings.Repeat("a", 3000)+" text\n")
	modules := c.literally("blob", "[submodule \"a\"]\n\tpath = -a\n\turl = -b\n")
	for what, ids := range map[string][]string{
		"a tree with a name twice":         {blob, c.literally("tree", item("100644", "a", blob)+item("100755", "a", blob))},
		"a tree that is not sorted":        {blob, c.literally("tree", item("100644", "b", blob)+item("100644", "a", blob))},
		"a tree with .git":                 {blob, c.literally("tree", item("100644", ".git", blob))},
		"a tree whose end is missing":      {c.literally("tree", "100644 a\x00abc")},
		"a commit without an author":       {tree, blob, c.literally("commit", "tree "+tree+"\ncommitter "+who+"\n\nx\n")},
		"a commit of what is not there":    {c.literally("commit", "tree "+strings.Repeat("5", 40)+"\nauthor "+who+"\ncommitter "+who+"\n\nx\n")},
		"a commit whose tree is a blob":    {blob, c.literally("commit", "tree "+blob+"\nauthor "+who+"\ncommitter "+who+"\n\nx\n")},
		"a tree whose blob is a commit":    {commit, c.git("rev-parse", "HEAD~"), c.git("rev-parse", "HEAD^{tree}"), c.git("rev-parse", "HEAD~^{tree}"), c.git("rev-parse", "HEAD:file"), c.git("rev-parse", "HEAD~:file"), c.literally("tree", item("100644", "a", commit))},
		"a tree whose blob is not there":   {tree},
		"a blob that is a tree elsewhere":  {blob, tree, c.literally("tree", item("100644", "a", tree)+item("40000", "b", tree))},
		"a tag of another kind":            {blob, c.literally("tag", "object "+blob+"\ntype commit\ntag v1\ntagger "+who+"\n\nx\n")},
		"a tree with ..":                   {blob, c.literally("tree", item("100644", "..", blob))},
		"a folder's mode for a file":       {blob, c.literally("tree", item("40755", "a", blob))},
		"a mode that is too long":          {tree, blob, c.literally("tree", item("40000040000", "a", blob))},
		"a tree with a/b":                  {blob, c.literally("tree", item("100644", "a/b", blob))},
		"a tree with no name":              {blob, c.literally("tree", item("100644", "", blob))},
		"a tree of ID 0":                   {c.literally("tree", item("160000", "a", strings.Repeat("0", 40)))},
		"a commit with a date of old":      {tree, blob, c.literally("commit", "tree "+tree+"\nauthor A <a@example.com> 00 +0000\ncommitter "+who+"\n\nx\n")},
		"a commit with a NUL":              {tree, blob, c.literally("commit", "tree "+tree+"\nauthor "+who+"\ncommitter "+who+"\n\n\x00x\n")},
		"a tag that ends":                  {c.literally("tag", "object "+blob)},
		"a .gitmodules with an option":     {modules, c.literally("tree", item("100644", ".gitmodules", modules))},
		"a .gitmodules by its short name":  {modules, c.literally("tree", item("100644", "GITMOD~1", modules))},
		"a .gitmodules that is a symlink":  {blob, c.literally("tree", item("120000", ".gitmodules", blob))},
		"a .gitattributes with long lines": {attributes, c.literally("tree", item("100644", ".gitattributes", attributes))},
	} {
		data := c.packed(ids...)
		p := intake(t, formatSHA1)
		_, err := indexOf(t.Context(), p, data)
		git := p.indexPack(t.Context(), bytes.NewReader(data))
		if git != nil && err == nil {
			t.Errorf("%s: git says %v", what, git)
		}
	}
	data := here(t, packOf(t, c), "pack")
	end := slices.Clone(data)
	end[len(end)-1] ^= 1
	for what, bad := range map[string][]byte{"another end": end, "half of it": data[:len(data)/2], "no end": data[:len(data)-sha1.Size]} {
		if err := intake(t, formatSHA1).follow(t.Context(), bytes.NewReader(bad)); err == nil {
			t.Errorf("%s: a pack with that is taken in", what)
		}
	}
}

// Whatever an agent's pack is, an index that is written here is git's, or git takes
// the pack in.
func FuzzIndex(f *testing.F) {
	c := newClient(f, "nowhere")
	for i := range 5 {
		c.commit("a", strings.Repeat("some text\n", 10+i))
	}
	c.git("tag", "-a", "v1", "-m", "v1")
	for _, how := range [][]string{{"--delta-base-offset"}, {"--depth=10"}, {"--window=0"}} {
		cmd := clientCommand(c.dir, "git", append([]string{"pack-objects", "--all", "-q", "--stdout"}, how...)...)
		data, err := cmd.Output()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	s := testScanner(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < packHead+sha1.Size {
			return
		}
		sum := sha1.Sum(data[:len(data)-sha1.Size])
		data = append(data[:len(data)-sha1.Size:len(data)-sha1.Size], sum[:]...)
		e := lookEarly(newPass(s), formatSHA1, readAll)
		e.Write(data)
		if e.finish() == nil {
			return
		}
		p := intake(t, formatSHA1)
		x, err := indexOf(t.Context(), p, data)
		if err != nil {
			return
		}
		index, err := x.of(data)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.indexPack(t.Context(), bytes.NewReader(data)); err != nil {
			t.Fatalf("git says %v", err)
		}
		if !bytes.Equal(index, here(t, p.quarantine, "idx")) {
			t.Error("the index is another")
		}
	})
}

// What git's check refuses, or names what is not there, is not taken in, however its
// index would be written.
func TestNoIndexIsWrittenOfWhatIsRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t, "nowhere")
	blob := c.literally("blob", "text")
	tree := c.literally("tree", item("100644", "a", blob))
	const by = "author A <a@example.com> 1700000000 +0000\ncommitter A <a@example.com> 1700000000 +0000\n\nx\n"
	for what, ids := range map[string][]string{
		"a tree with .git":               {blob, c.literally("tree", item("100644", ".git", blob))},
		"a tree whose blob is not there": {tree},
		"a commit without its tree":      {c.literally("commit", "tree "+tree+"\n"+by)},
	} {
		p := intake(t, formatSHA1)
		if err := p.follow(t.Context(), bytes.NewReader(c.packed(ids...))); err == nil {
			t.Errorf("%s is taken in", what)
		}
		if found, _ := filepath.Glob(filepath.Join(p.quarantine, "pack", "*.pack")); len(found) > 0 {
			t.Errorf("%s: there is %q", what, found)
		}
	}
}
