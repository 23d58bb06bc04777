package gitgate

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
)

// raw is a pack's object, or what makes one of another, as a test likes it.
func raw(number byte, before string, data []byte) []byte {
	var b bytes.Buffer
	b.WriteByte(0x80 | number<<4 | byte(len(data)&15))
	b.Write(binary.AppendUvarint(nil, uint64(len(data)>>4)))
	b.WriteString(before)
	z := zlib.NewWriter(&b)
	z.Write(data)
	z.Close()
	return b.Bytes()
}

// rawPack is a pack of such.
func rawPack(objects ...[]byte) []byte {
	data := binary.BigEndian.AppendUint32([]byte(packVersion), uint32(len(objects)))
	data = append(data, bytes.Join(objects, nil)...)
	sum := sha1.Sum(data)
	return append(data, sum[:]...)
}

// deep is a pack of folders in folders, whose names are longer together than any pack
// that has them, and the outermost one.
func deep() (pack []byte, outermost string) {
	id := idOf(formatSHA1, "blob", nil)
	objects := [][]byte{raw(3, "", nil)}
	mode := "100644 "
	for range 1000 {
		tree := []byte(mode + strings.Repeat("d", 1000) + "\x00" + string(id))
		objects = append(objects, raw(2, "", tree))
		id, mode = idOf(formatSHA1, "tree", tree), "40000 "
	}
	return rawPack(objects...), hex.EncodeToString([]byte(id))
}

func TestPathsAreBounded(t *testing.T) {
	t.Parallel()
	p := intake(t, formatSHA1)
	pack, _ := deep()
	if err := p.follow(t.Context(), bytes.NewReader(pack)); err != nil {
		t.Fatal(err)
	}
	size := 0
	for _, path := range p.paths {
		size += len(path)
	}
	if size > maxPaths {
		t.Errorf("the names have %d bytes", size)
	}
}

// Where git has to be asked for them, they are too long.
func TestPathsOfGitsAreBounded(t *testing.T) {
	t.Parallel()
	p := intake(t, formatSHA1)
	pack, outermost := deep()
	if err := p.indexPack(t.Context(), bytes.NewReader(pack)); err != nil {
		t.Fatal(err)
	}
	p.commands = []*command{{PushUpdate: bottle.PushUpdate{New: outermost}}}
	if _, err := p.connected(t.Context()); !errors.Is(err, errNames) {
		t.Errorf("%v", err)
	}
}

// What git answers is bounded however it comes: a copy may not go round the bound.
func TestAnAnswerOfGitsIsBounded(t *testing.T) {
	t.Parallel()
	b := &bounded{left: 4}
	if err := gitIn(t.TempDir()).run(t.Context(), nil, b, "version"); err == nil || b.buf.Len() > 4 {
		t.Errorf("%q: %v", b.buf.String(), err)
	}
}

// What a tag names first has the name that a tree has for it all the same: rules for
// some names depend on it.
func TestATagTakesNoName(t *testing.T) {
	t.Parallel()
	blob := idOf(formatSHA1, "blob", []byte("x"))
	tree := []byte("100644 key.p12\x00" + string(blob))
	tag := []byte("object " + hex.EncodeToString(blob) + "\ntype blob\ntag a\ntagger A <a@example.com> 1700000000 +0000\n\nx\n")
	p := intake(t, formatSHA1)
	if err := p.follow(t.Context(), bytes.NewReader(rawPack(raw(4, "", tag), raw(2, "", tree), raw(3, "", []byte("x"))))); err != nil {
		t.Fatal(err)
	}
	if got := p.paths[hex.EncodeToString(blob)]; got != "key.p12" {
		t.Errorf("it is called %q in %q", got, p.paths)
	}
}

// However small objects are, so many are held as have room.
func TestSmallObjectsNeedRoomToo(t *testing.T) {
	t.Parallel()
	b := newBases()
	for at := range int64(200_000) {
		b.keep(&base{at: at, id: "the same"})
	}
	if n := b.list.Len(); n != len(b.byPlace) || n > earlyBases/baseRoom {
		t.Errorf("%d are held, and %d places", n, len(b.byPlace))
	}
}

// A delta that is shorter than git lets one be is left to git.
func TestADeltaThatIsTooShort(t *testing.T) {
	t.Parallel()
	data := rawPack(raw(3, "", []byte("text")), raw(refDelta, string(idOf(formatSHA1, "blob", []byte("text"))), []byte{4, 0}))
	if err := intake(t, formatSHA1).follow(t.Context(), bytes.NewReader(data)); err == nil {
		t.Error("it is taken in")
	}
}

// The same object in two places is let go of in any order.
func TestAnObjectThatIsTwiceInAPack(t *testing.T) {
	t.Parallel()
	once := raw(3, "", []byte("text"))
	delta := []byte{4, 4, 4, 'n', 'e', 'x', 't'}
	objects := [][]byte{once, once, raw(ofsDelta, string([]byte{byte(2 * len(once))}), delta)}
	for i := range earlyBases>>20 + 1 {
		objects = append(objects, raw(3, "", bytes.Repeat([]byte{byte(i)}, aside)))
	}
	e := lookEarly(newPass(testScanner(t)), formatSHA1, readAll)
	e.Write(rawPack(objects...))
	if n := len(e.whole()); n != len(objects) {
		t.Errorf("%d of %d were seen", n, len(objects))
	}
}

// An index that the disk has no room for is left to git, and nothing of it stays.
func TestAnIndexThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	p := intake(t, formatSHA1)
	data := rawPack(raw(3, "", []byte("text")))
	sum := data[len(data)-sha1.Size:]
	name := filepath.Join(p.quarantine, "pack", "pack-"+hex.EncodeToString(sum)+".idx")
	if err := os.Symlink("/dev/full", name); err != nil {
		t.Fatal(err)
	}
	if err := p.follow(t.Context(), bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(name); err != nil || !info.Mode().IsRegular() {
		t.Fatal("it is as it was: ", err)
	}
	if index := here(t, p.quarantine, "idx"); !bytes.HasSuffix(index[:len(index)-sha1.Size], sum) {
		t.Errorf("the index ends in %x", index)
	}
}

// What is remembered of names is bounded: those that are not are looked at each time.
func TestNamesThatAreRememberedAreBounded(t *testing.T) {
	t.Parallel()
	a := newPass(testScanner(t))
	blob := string(make([]byte, sha1.Size))
	for i := range 2 * maxNames / aside {
		name := strings.Repeat("d", aside/2)
		a.object(object{kind: "tree", id: strings.Repeat("0", 40)}, fmt.Appendf(nil, "40000 %08d%s\x00%s", i, name, blob))
	}
	size := 0
	for name := range a.names {
		size += len(name)
	}
	if size == 0 || size > maxNames {
		t.Errorf("%d bytes of names", size)
	}
	for range 2 {
		a.object(object{kind: "tree", id: strings.Repeat("0", 40)}, []byte("100644 .gitmodules\x00"+blob+"100644 "+formatSecret+"\x00"+blob))
	}
	if len(a.hits) == 0 || len(a.modules) != 1 {
		t.Errorf("%d findings, %d .gitmodules", len(a.hits), len(a.modules))
	}
}

// More findings, or more .gitmodules, than anybody can judge refuse a push.
func TestWhatIsFoundIsBounded(t *testing.T) {
	t.Parallel()
	for what, more := range map[string]func(*pass, int){
		"findings": func(a *pass, i int) { a.add(object{}, []hit{{line: i}}) },
		".gitmodules": func(a *pass, i int) {
			a.object(object{kind: "tree", id: strings.Repeat("0", 40)}, fmt.Appendf(nil, "100644 .gitmodules\x00%020d", i))
		},
	} {
		a := newPass(testScanner(t))
		for i := range maxKept + 10 {
			more(a, i)
		}
		err := a.run(t.Context(), &pack{}, git{})
		if err == nil || !strings.Contains(err.Error(), what) || len(a.hits) > maxKept || len(a.modules) > maxKept {
			t.Errorf("%s: %v, %d, %d", what, err, len(a.hits), len(a.modules))
		}
	}
}

// A pack that is larger than pushes may be is refused before git sees it.
func TestAPackThatIsTooLargeIsNotTakenIn(t *testing.T) {
	t.Parallel()
	p := intake(t, formatSHA1)
	random := make([]byte, 5000)
	rand.NewChaCha8([32]byte{}).Read(random)
	p.conf.Push.MaxSize = 1000
	if err := p.follow(t.Context(), bytes.NewReader(rawPack(raw(3, "", random)))); err == nil {
		t.Error("it is taken in")
	}
}
