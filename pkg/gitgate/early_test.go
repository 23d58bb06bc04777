package gitgate

import (
	"encoding/hex"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/dlp"
)

func testScanner(t testing.TB) *scanner {
	t.Helper()
	s, err := newScanner([]dlp.Known{{Name: "own", Value: []byte(ownSecret)}}, []byte("k"), 64<<20)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newPass(s *scanner) *pass {
	return &pass{s: s, most: minInflated, names: map[string]bool{}, modules: map[string]bool{}}
}

// readAll is what git's check is to a test that has none.
func readAll(r *io.PipeReader) { go io.Copy(io.Discard, r) }

// secretive is a repository with secrets in all sorts of places, and with much else.
func secretive(t *testing.T) *client {
	c := newClient(t, "nowhere")
	random := make([]byte, aside+1000)
	rand.NewChaCha8([32]byte{}).Read(random)
	lines := strings.Split(hex.EncodeToString(random[:20_000]), "0")
	for i := range 12 {
		c.write("large", string(random[i/6:]))
		lines[i*7] = fmt.Sprint("line ", i)
		c.write(fmt.Sprintf("d%d/text", i%3), strings.Join(lines, "\n"))
		c.commit("text", strings.Join(lines[i:], "\n"))
	}
	c.write("a/first", "k="+formatSecret)
	c.write("a/"+ownSecret, "its name")
	c.write("a/nuget.config", `<add key="ClearTextPassword" value="r4Tz8WvB3nYc" />`)
	c.write("a/elsewhere", `<add key="ClearTextPassword" value="r4Tz8WvB3nYc" /> once more`)
	c.write("a/key.p12", "what kind of file it is")
	c.write("a/not-key.p1", "what kind of file it is not")
	c.write("a/large", string(random)+"\n"+formatSecret)
	c.commit("binary", string(random[:500])+ownSecret+string(random[:500]))
	for i := range 4 { // a delta holds it
		c.commit("text", strings.Join(lines[i:], "\n")+"\n"+formatSecret)
	}
	c.write(".gitmodules", "[submodule \"a\"]\n\tpath = a\n")
	c.git("add", "-A")
	c.git("commit", "-q", "-m", "a message with "+ownSecret)
	c.git("tag", "-a", "v1", "-m", formatSecret)
	return c
}

// packOf has git pack all of a repository, and returns the folder of the pack.
func packOf(t *testing.T, c *client, how ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "pack"), 0o700); err != nil {
		t.Fatal(err)
	}
	c.git(append(append([]string{"pack-objects", "--all", "-q"}, how...), filepath.Join(dir, "pack", "pack"))...)
	return dir
}

// namesIn are the names of a repository's blobs and trees, as a push learns them.
func namesIn(c *client) map[string]string {
	names := map[string]string{}
	for line := range strings.Lines(c.git("rev-list", "--objects", "--all") + "\n") {
		id, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		names[id] = name
	}
	return names
}

// What is found in a pack, and what is not, is the same whether it was looked through
// while it came in or when it was there, however much of it came how fast.
func TestAPackIsLookedThroughEarlyAsItIsLate(t *testing.T) {
	t.Parallel()
	c := secretive(t)
	names, s := namesIn(c), testScanner(t)
	for _, how := range [][]string{{"--delta-base-offset", "--depth=50"}, {"--depth=4000"}, {"--no-reuse-delta", "--window=0"}} {
		dir := packOf(t, c, how...)
		p, err := openPack(dir, formatSHA1, nil)
		if err != nil {
			t.Fatal(err)
		}
		data := p.data
		defer p.close()
		look := func(p *pack, a *pass) (hits []string) {
			t.Helper()
			a.paths = func() map[string]string { return names }
			g := gitIn(c.dir + "/.git").only(dir)
			if err := a.run(t.Context(), p, g); err != nil {
				t.Fatal(err)
			}
			for _, h := range a.hits {
				hits = append(hits, fmt.Sprintf("%s %s %s %d %s", h.object.id, h.object.kind, h.rule, h.line, h.member))
			}
			slices.Sort(hits)
			return append(hits, fmt.Sprint(a.objects, a.bytes), fmt.Sprint(a.modules))
		}
		want := look(p, newPass(s))
		if len(want) != 14 {
			t.Fatalf("found %q", want)
		}
		for _, came := range []struct{ part, piece int }{{len(data), 32 << 10}, {len(data) * 2 / 3, 1000}, {len(data), 1}, {500, 100}, {0, 1}} {
			a := newPass(s)
			e := lookEarly(a, formatSHA1, readAll)
			for piece := range slices.Chunk(data[:came.part], came.piece) {
				if came.piece > 1 {
					e.chunks <- piece // as fast as it is taken
				} else {
					e.Write(piece)
				}
			}
			seen := e.whole()
			if came.part == len(data) && came.piece > 1 && len(seen) < len(p.sorted)*2/3 {
				t.Errorf("%q: only %d of %d were seen", how, len(seen), len(p.sorted))
			}
			again, err := openPack(dir, formatSHA1, seen)
			if err != nil {
				t.Fatal(err)
			}
			if got := look(again, a); !slices.Equal(got, want) {
				t.Errorf("%q, %+v: found\n%s\nnot\n%s", how, came, strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			again.close()
		}
	}
}

// Whatever an agent's pack is, what is seen of it early is what its ID says, and it ends.
func FuzzEarly(f *testing.F) {
	c := newClient(f, "nowhere")
	for i := range 5 {
		c.commit("a", strings.Repeat("some text\n", 10+i))
	}
	for _, how := range [][]string{{"--delta-base-offset"}, {"--depth=10"}} {
		f.Add([]byte(c.git(append([]string{"pack-objects", "--all", "-q", "--stdout"}, how...)...)))
	}
	s := testScanner(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		a := newPass(s)
		e := lookEarly(a, formatSHA1, readAll)
		for piece := range slices.Chunk(data, 1000) {
			e.Write(piece)
		}
		at := int64(0)
		for _, o := range e.whole() {
			if o.at <= at || o.at >= int64(len(data)) || o.size > aside || o.object.id != hex.EncodeToString([]byte(o.id)) {
				t.Errorf("%+v behind %d", o, at)
			}
			at = o.at
		}
	})
}
