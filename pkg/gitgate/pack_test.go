package gitgate

import (
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// A pack says the same to this package as to git: with deltas by offset and by ID,
// chains of them, objects that are large, and what is made of these.
func TestAPackIsReadAsGitReadsIt(t *testing.T) {
	t.Parallel()
	c := newClient(t, "nowhere")
	random := make([]byte, aside+1000)
	rand.NewChaCha8([32]byte{}).Read(random)
	lines := strings.Split(hex.EncodeToString(random[:100_000]), "0")
	for i := range 12 {
		c.write("large", string(random[i:]))
		c.write("empty", "")
		lines[i*7] = fmt.Sprint("line ", i)
		c.write(fmt.Sprintf("d%d/text", i%3), strings.Join(lines, "\n"))
		c.commit("text", strings.Join(lines[i:], "\n"))
	}
	c.git("tag", "-a", "v1", "-m", "v1")
	kinds := map[string]string{}
	for line := range strings.Lines(c.git("cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)", "--unordered") + "\n") {
		id, kind, _ := strings.Cut(strings.TrimSpace(line), " ")
		kinds[id] = kind
	}
	for _, how := range [][]string{{"--delta-base-offset", "--depth=50"}, {"--depth=4000"}, {"--no-reuse-delta", "--window=0"}} {
		t.Run(strings.Join(how, " "), func(t *testing.T) {
			dir := packOf(t, c, how...)
			p, err := openPack(dir, formatSHA1, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			var mu sync.Mutex
			read := map[string]string{}
			rest, err := p.each(aside, func(o object, data []byte) error {
				mu.Lock()
				defer mu.Unlock()
				isWhatItsIDSays(t, o, data)
				read[o.id] = o.kind
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range rest {
				read[id] = "blob"
			}
			for id, kind := range kinds {
				if got := p.kind(id); got != kind && got != "" {
					t.Errorf("%s is a %s, not a %s", id, kind, got)
				}
			}
			if p.kind(c.git("rev-parse", "HEAD")) != "commit" || p.kind("ab") != "" || p.kind(strings.Repeat("5", 40)) != "" {
				t.Error("what is a commit is not known")
			}
			if len(rest) != 12 || len(p.sorted) != len(kinds) || !maps.Equal(read, kinds) {
				t.Errorf("%d objects and %d large ones of %d", len(read), len(rest), len(kinds))
			}
		})
	}
}

func isWhatItsIDSays(t *testing.T, o object, data []byte) {
	t.Helper()
	sum := sha1.Sum(append(fmt.Appendf(nil, "%s %d\x00", o.kind, len(data)), data...))
	if hex.EncodeToString(sum[:]) != o.id || o.size != int64(len(data)) {
		t.Errorf("object %s is another", o.id)
	}
}

// Whatever a pack's bytes are, what is handed on is what its ID says, or nothing.
func TestAPackThatLiesIsRefused(t *testing.T) {
	t.Parallel()
	c := newClient(t, "nowhere")
	for i := range 5 {
		c.commit("a", strings.Repeat("some text\n", 10+i))
	}
	c.git("repack", "-q", "-a", "-d")
	dir := filepath.Join(c.dir, ".git", "objects")
	good, err := openPack(dir, formatSHA1, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer good.close()
	read := func(data, index []byte) error {
		p := &pack{data: data, index: index, format: formatSHA1, width: sha1.Size}
		err := p.list()
		if err == nil {
			err = p.link()
		}
		if err == nil {
			_, err = p.each(aside, func(o object, data []byte) error { isWhatItsIDSays(t, o, data); return nil })
		}
		return err
	}
	refused := 0
	for at := 12; at < len(good.data)-sha1.Size; at++ {
		bad := slices.Clone(good.data)
		bad[at] ^= 0x5a
		if read(bad, good.index) != nil {
			refused++
		}
		if at%16 == 0 && read(good.data[:at], good.index) == nil {
			t.Errorf("it may end after %d bytes", at)
		}
	}
	if all := len(good.data) - sha1.Size - 12; refused < all*9/10 {
		t.Errorf("only %d of %d are refused", refused, all)
	}
	for at := range len(good.index) {
		read(good.data, good.index[:at])
	}
}

func FuzzApplyDelta(f *testing.F) {
	f.Add([]byte("some text"), []byte("\x09\x0c\x90\x09\x03 or"))
	f.Add([]byte("a"), []byte("\x01\x02\x90\x01\x90\x01"))
	f.Fuzz(func(t *testing.T, base, delta []byte) {
		data, err := applyDelta(base, delta, 1<<16, func(n int) []byte { return make([]byte, n) })
		if err != nil || data == nil {
			return
		}
		_, n := binary.Uvarint(delta)
		if size, _ := binary.Uvarint(delta[n:]); size != uint64(len(data)) || size > 1<<16 {
			t.Errorf("%d bytes, and it says %d", len(data), size)
		}
	})
}
