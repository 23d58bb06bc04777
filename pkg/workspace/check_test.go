package workspace

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// evil stores an object that git would not make, and returns its ID.
func evil(t *testing.T, dir, kind, content string) string {
	t.Helper()
	cmd := exec.Command("git", "hash-object", "-t", kind, "-w", "--literally", "--stdin")
	cmd.Dir = dir
	cmd.Stdin = strings.NewReader(content)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// bytesOf is an ID as a tree has it.
func bytesOf(t *testing.T, oid string) string {
	b, err := hex.DecodeString(oid)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestOldFlawsAreCaptured: histories such as those of well-known projects.
func TestOldFlawsAreCaptured(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	tree := evil(t, dir, "tree", "040000 d\x00"+bytesOf(t, run(t, dir, "rev-parse", "HEAD:d")))
	for _, people := range []string{
		"author A <a@b> 1 +051800\ncommitter A <a@b> 1 +0000\n",
		"author A <a@b> 01 +0000\ncommitter A <a@b> 1 +0000\n",
		"author <a@b> 1 +0000\ncommitter A<a@b> 1 +0000\n",
		"author A <a@b>1 +0000\ncommitter A >a<a@b> 1 +0000\n",
	} {
		old := evil(t, dir, "commit", "tree "+tree+"\nparent "+run(t, dir, "rev-parse", "HEAD")+"\n"+people+"\nx\n")
		run(t, dir, "update-ref", "HEAD", run(t, dir, "commit-tree", "-p", old, "-m", "new", "HEAD^{tree}"))
	}
	file, _ := grab(t, dir)
	fetch(t, newRepo(t), file)
}

// TestEvilObjectsAreNotCaptured: git 2.39 fetches these from a bundle, even
// with transfer.fsckObjects. Both sides of ours refuse them.
func TestEvilObjectsAreNotCaptured(t *testing.T) {
	t.Parallel()
	for name, tree := range map[string]func(t *testing.T, dir, blob string) string{
		"dot git":     func(t *testing.T, dir, blob string) string { return "40000 .git\x00" + blob },
		"dot git mac": func(t *testing.T, dir, blob string) string { return "40000 .g\u200cit\x00" + blob },
		"dot dot":     func(t *testing.T, dir, blob string) string { return "100644 ..\x00" + blob },
		"slash":       func(t *testing.T, dir, blob string) string { return "100644 a/b\x00" + blob },
		"gitmodules that runs": func(t *testing.T, dir, _ string) string {
			m := evil(t, dir, "blob", "[submodule \"x\"]\n\tpath = x\n\turl = -u./payload\n")
			return "100644 .gitmodules\x00" + bytesOf(t, m)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := newRepo(t)
			blob := evil(t, dir, "blob", "x")
			if name == "dot git" || name == "dot git mac" {
				blob = evil(t, dir, "tree", "")
			}
			root := evil(t, dir, "tree", tree(t, dir, bytesOf(t, blob)))
			commit := run(t, dir, "commit-tree", "-m", "x", root)
			run(t, dir, "update-ref", "refs/heads/evil", commit)
			if err := Capture(testContext(t), dir, &bytes.Buffer{}, Limits{}); err == nil {
				t.Error("it was captured")
			} else {
				t.Log(err)
			}
			file := filepath.Join(t.TempDir(), "evil.bundle")
			run(t, dir, "bundle", "create", "-q", file, "evil")
			if err := checked(t, file); err == nil {
				t.Error("it passed the check")
			}
		})
	}
}

func TestForgedBundlesFailTheCheck(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	run(t, dir, "tag", "v1")
	good, _ := grab(t, dir)
	data := read(t, filepath.Dir(good), filepath.Base(good))
	head := run(t, dir, "rev-parse", "HEAD")
	edit := func(old, new string) string {
		if !strings.Contains(data, old) {
			t.Fatalf("no %q", old)
		}
		return strings.Replace(data, old, new, 1)
	}
	line := head + " refs/heads/main\n"
	for name, forged := range map[string]string{
		"nothing":          "",
		"text":             "hello\n",
		"no pack":          data[:strings.Index(data, "PACK")],
		"cut":              data[:len(data)-30],
		"flipped bit":      data[:len(data)-100] + string(data[len(data)-100]^1) + data[len(data)-99:],
		"missing commit":   edit(line, strings.Repeat("1", 40)+" refs/heads/main\n"),
		"a tree":           edit(line, run(t, dir, "rev-parse", "HEAD^{tree}")+" refs/heads/main\n"),
		"HEAD elsewhere":   edit(" HEAD\n", " HEAD\n"+run(t, dir, "rev-parse", "HEAD^{tree}")+" HEAD\n"),
		"HEAD is a tree":   edit(head+" HEAD\n", run(t, dir, "rev-parse", "HEAD^{tree}")+" HEAD\n"),
		"dot dot":          edit(line, head+" refs/heads/../x\n"),
		"tag":              edit(line, head+" refs/tags/main\n"),
		"escape sequence":  edit(line, head+" refs/heads/\x1b[31m\n"),
		"C1":               edit(line, head+" refs/heads/a\u009b31m\n"),
		"shell":            edit(line, head+" refs/heads/$(id)\n"),
		"twice":            edit(line, line+line[:40]+" refs/heads/MAIN\n"),
		"in the way":       edit(line, line+line[:40]+" refs/heads/main/x\n"),
		"endless line":     edit(line, head+" refs/heads/"+strings.Repeat("a", 100_000)+"\n"),
		"filter":           "# v3 git bundle\n@filter=blob:none\n" + data[len("# v2 git bundle\n"):],
		"boundary made up": edit("\n\nPACK", "\n"+strings.Repeat("1", 40)+" refs/shallow/"+head+"\n\nPACK"),
	} {
		file := filepath.Join(t.TempDir(), "forged.bundle")
		if err := os.WriteFile(file, []byte(forged), 0o600); err != nil {
			t.Fatal(err)
		}
		if name == "twice" {
			// The same name for the same commit is one ref; make it another's.
			forged = strings.Replace(forged, head+" refs/heads/MAIN", run(t, dir, "rev-parse", "HEAD~1")+" refs/heads/MAIN", 1)
			os.WriteFile(file, []byte(forged), 0o600)
		}
		if err := checked(t, file); err == nil {
			t.Errorf("%s: it passed", name)
		}
	}
}

// TestBombIsNotUnfolded: a delta of a few bytes that copies its base 200 times.
func TestBombIsNotUnfolded(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	file, _ := grab(t, dir)
	data := read(t, filepath.Dir(file), filepath.Base(file))
	at := strings.Index(data, "\n\nPACK") + 2
	body := data[at+12 : len(data)-20]
	objects := binary.BigEndian.Uint32([]byte(data[at+8:]))

	base := make([]byte, 0xffffff)
	id := sha1.Sum(append([]byte(fmt.Sprintf("blob %d\x00", len(base))), base...))
	const times = 200
	delta := append(sevens(nil, len(base)), sevens(nil, times*len(base))...)
	delta = append(delta, bytes.Repeat([]byte{0xf0, 0xff, 0xff, 0xff}, times)...) // all of the base
	var pack bytes.Buffer
	pack.WriteString("PACK\x00\x00\x00\x02")
	binary.Write(&pack, binary.BigEndian, objects+2)
	pack.WriteString(body)
	packed(&pack, 3, nil, base)
	packed(&pack, 7, id[:], delta)
	sum := sha1.Sum(pack.Bytes())
	pack.Write(sum[:])
	bomb := filepath.Join(t.TempDir(), "bomb.bundle")
	if err := os.WriteFile(bomb, append([]byte(data[:at]), pack.Bytes()...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := checked(t, bomb); err == nil || !strings.Contains(err.Error(), "over limit") {
		t.Errorf("%d bytes that unfold to %d: %v", pack.Len(), times*len(base), err)
	}
}

// sevens appends n as a delta has its sizes.
func sevens(b []byte, n int) []byte {
	for ; n > 0x7f; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// packed writes one object as a pack has it.
func packed(w *bytes.Buffer, kind int, base, content []byte) {
	first := byte(kind<<4 | len(content)&0xf)
	if rest := len(content) >> 4; rest > 0 {
		w.Write(sevens([]byte{first | 0x80}, rest))
	} else {
		w.WriteByte(first)
	}
	w.Write(base)
	z := zlib.NewWriter(w)
	z.Write(content)
	z.Close()
}

func FuzzCheck(f *testing.F) {
	oid := strings.Repeat("1", 40)
	f.Add("# v2 git bundle\n" + oid + " HEAD\n" + oid + " refs/heads/work\n\nPACK")
	f.Add("# v3 git bundle\n@object-format=sha256\n-" + oid + "\n\n")
	f.Add("# v2 git bundle\n" + oid + " refs/heads/a\n" + oid + " refs/shallow/" + oid + "\n\n")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := parseHeader(bufio.NewReaderSize(strings.NewReader(s), 64<<10))
		if err != nil {
			return
		}
		for _, r := range b.refs {
			if !validRef(r.Name) || !isOID(r.OID) || strings.ContainsAny(r.Name, "$`'\";|&<>()\x1b") {
				t.Errorf("%q was taken", r.Name)
			}
		}
	})
}
