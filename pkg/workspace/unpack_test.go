package workspace

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

type entry struct {
	name string
	data string
	kind byte
	link string
}

// stream writes entries after a proper beginning.
func stream(r *repo, entries ...entry) []byte {
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	writeJSON(tw, "workspace.json", head{Version: version})
	if r != nil {
		writeJSON(tw, "repo.json", r)
	}
	for _, e := range entries {
		if e.kind == 0 {
			e.kind = tar.TypeReg
		}
		tw.WriteHeader(&tar.Header{Name: e.name, Typeflag: e.kind, Linkname: e.link, Size: int64(len(e.data)), Mode: 0o644})
		tw.Write([]byte(e.data))
	}
	tw.Close()
	return b.Bytes()
}

func TestHostileStreamsStayInside(t *testing.T) {
	t.Parallel()
	fresh := func() *repo { return &repo{Format: "sha1", Branch: "refs/heads/main"} }
	zero := strings.Repeat("0", 40)
	bad := func(f func(r *repo)) []byte {
		r := fresh()
		f(r)
		return stream(r, entry{name: "end"})
	}
	outside := t.TempDir()
	section := func(path string) entry {
		data, _ := json.Marshal(&repo{Path: path, Format: "sha1", Branch: "refs/heads/main"})
		return entry{name: "repo.json", data: string(data)}
	}
	for name, s := range map[string][]byte{
		"absolute":             stream(fresh(), entry{name: "tree//etc/x"}, entry{name: "end"}),
		"dot dot":              stream(fresh(), entry{name: "tree/../x"}, entry{name: "end"}),
		"dot git":              stream(fresh(), entry{name: "tree/.git/hooks/post-commit"}, entry{name: "end"}),
		"dot git of a mac":     stream(fresh(), entry{name: "tree/.g\u200cit/config"}, entry{name: "end"}),
		"dot git inside":       stream(fresh(), entry{name: "tree/a/.GIT/config"}, entry{name: "end"}),
		"through a symlink":    stream(fresh(), entry{name: "tree/a", kind: tar.TypeSymlink, link: outside}, entry{name: "tree/a/x"}, entry{name: "end"}),
		"through an inner one": stream(fresh(), entry{name: "tree/d/", kind: tar.TypeDir}, entry{name: "tree/a", kind: tar.TypeSymlink, link: "d"}, entry{name: "tree/a/x"}, entry{name: "end"}),
		"over a symlink":       stream(fresh(), entry{name: "tree/a", kind: tar.TypeSymlink, link: outside + "/x"}, entry{name: "tree/a"}, entry{name: "end"}),
		"section in a symlink": stream(fresh(), entry{name: "tree/a", kind: tar.TypeSymlink, link: outside}, section("a"), entry{name: "end"}),
		"section outside":      stream(fresh(), section("../a"), entry{name: "end"}),
		"section in .git":      stream(fresh(), section(".git/a"), entry{name: "end"}),
		"section twice":        stream(fresh(), section("a"), section("a"), entry{name: "end"}),
		"hard link":            stream(fresh(), entry{name: "tree/a", kind: tar.TypeLink, link: "/etc/passwd"}, entry{name: "end"}),
		"device":               stream(fresh(), entry{name: "tree/a", kind: tar.TypeChar}, entry{name: "end"}),
		"FIFO":                 stream(fresh(), entry{name: "tree/a", kind: tar.TypeFifo}, entry{name: "end"}),
		"twice":                stream(fresh(), entry{name: "tree/a"}, entry{name: "tree/a"}, entry{name: "end"}),
		"no section":           stream(nil, entry{name: "tree/a"}, entry{name: "end"}),
		"out of order":         stream(fresh(), entry{name: "index", data: ""}, entry{name: "tree/a"}, entry{name: "end"}),
		"unknown kind":         stream(fresh(), entry{name: "hooks/x"}, entry{name: "end"}),
		"no pack":              stream(fresh(), entry{name: "pack", data: "PACKnonsense"}, entry{name: "end"}),
		"no index":             stream(fresh(), entry{name: "index", data: "nonsense\x00"}, entry{name: "end"}),
		"large chunk":          stream(fresh(), entry{name: "pack", data: strings.Repeat("x", chunkSize+1)}, entry{name: "end"}),
		"program in a setting": bad(func(r *repo) { r.Config = []setting{{"core.fsmonitor", "touch x"}} }),
		"section in a setting": bad(func(r *repo) { r.Config = []setting{{"user.name", "x\n[core]\nfsmonitor=x"}} }),
		"bad remote":           bad(func(r *repo) { r.Config = []setting{{"remote.a.url", "ext::sh"}} }),
		"bad ref":              bad(func(r *repo) { r.Refs = []ref{{"refs/heads/../../config", zero}} }),
		"ref with a line":      bad(func(r *repo) { r.Refs = []ref{{"refs/heads/x\n" + zero + " HEAD", zero}} }),
		"bad branch":           bad(func(r *repo) { r.Branch = "refs/heads/--template=x y" }),
		"bad object":           bad(func(r *repo) { r.Head = "ref: x"; r.Branch = "" }),
		"bad state":            bad(func(r *repo) { r.State = map[string][]byte{"config": []byte("x")} }),
		"bad reflog":           bad(func(r *repo) { r.Switched = &ref{switching + "\n", zero} }),
		"another version":      bytes.Replace(stream(nil, entry{name: "end"}), []byte(`"version":1`), []byte(`"version":2`), 1),
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := Unpack(testContext(t), bytes.NewReader(s), dir); err == nil {
				t.Error("it was taken")
			}
			if left, _ := os.ReadDir(outside); len(left) > 0 {
				t.Errorf("%s was written", left[0].Name())
			}
		})
	}
	if err := Unpack(testContext(t), bytes.NewReader(stream(fresh(), entry{name: "tree/a"}, entry{name: "end"})), t.TempDir()); err != nil {
		t.Errorf("a good one was not taken: %v", err)
	}
}

func TestCutStreamIsAnError(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	if _, err := Pack(testContext(t), newRepo(t), &b, Options{}); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 100, 512, 3000, b.Len() / 2, b.Len() - 2048} {
		err := Unpack(testContext(t), bytes.NewReader(b.Bytes()[:n]), t.TempDir())
		if !errors.Is(err, ErrTruncated) {
			t.Errorf("after %d of %d bytes: %v", n, b.Len(), err)
		}
	}
}

func TestFullDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "x", "x")
	if err := Unpack(testContext(t), bytes.NewReader(stream(nil)), dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Error(err)
	}
}

func TestCancelledContextEndsAll(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	dir := newRepo(t)
	if _, err := Pack(ctx, dir, io.Discard, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Pack: %v", err)
	}
	if err := Unpack(ctx, bytes.NewReader(stream(nil)), t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("Unpack: %v", err)
	}
	if err := Capture(ctx, dir, io.Discard, Limits{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Capture: %v", err)
	}
	broken := errors.New("the other side is gone")
	if _, err := Pack(testContext(t), dir, failing{broken}, Options{}); !errors.Is(err, broken) {
		t.Errorf("Pack to a closed stream: %v", err)
	}
	if err := Capture(testContext(t), dir, failing{broken}, Limits{}); !errors.Is(err, broken) {
		t.Errorf("Capture to a closed stream: %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// TestManyFilesNeedNoMoreProcesses: what a folder costs grows with its bytes;
// a process a file would be felt long before.
func TestManyFilesNeedNoMoreProcesses(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(t.TempDir(), "log")
	counting := t.TempDir()
	write(t, counting, "git", fmt.Sprintf("#!/bin/sh\necho x >>%s\nexec %s \"$@\"\n", log, git))
	os.Chmod(counting+"/git", 0o755)
	spent := func(files int, do func(dir string)) int {
		dir := newRepo(t)
		for i := range files {
			write(t, dir, fmt.Sprintf("d%d/e%d/f%d", i%50, i%7, i), fmt.Sprint(i))
		}
		run(t, dir, "add", ".")
		for i := range files {
			write(t, dir, fmt.Sprintf("u%d/f%d", i%50, i), fmt.Sprint(-i))
		}
		os.Remove(log)
		t.Setenv("PATH", counting+":"+os.Getenv("PATH"))
		do(dir)
		os.Setenv("PATH", strings.TrimPrefix(os.Getenv("PATH"), counting+":"))
		return strings.Count(read(t, filepath.Dir(log), "log"), "x")
	}
	for name, do := range map[string]func(dir string){
		"carry": func(dir string) {
			var stream bytes.Buffer
			if _, err := Pack(testContext(t), dir, &stream, Options{}); err != nil {
				t.Fatal(err)
			}
			if err := Unpack(testContext(t), &stream, t.TempDir()); err != nil {
				t.Fatal(err)
			}
		},
		"capture": func(dir string) {
			if err := Capture(testContext(t), dir, io.Discard, Limits{Temp: t.TempDir()}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		few, many := spent(2, do), spent(500, do)
		t.Logf("%s: %d processes", name, many)
		if few == 0 || few != many {
			t.Errorf("%s: %d processes for few files, %d for many", name, few, many)
		}
	}
}

// FuzzUnpack: whatever the stream says, nothing is written outside, and git
// finds no hook and no setting that names a program.
func FuzzUnpack(f *testing.F) {
	r := &repo{Format: "sha1", Branch: "refs/heads/main", Config: []setting{{"user.name", "Ada"}}, Exclude: []byte("x\n")}
	f.Add(stream(r, entry{name: "tree/a", data: "x"}, entry{name: "tree/d/", kind: tar.TypeDir}, entry{name: "tree/l", kind: tar.TypeSymlink, link: "/etc"}, entry{name: "end"}))
	f.Add(stream(r, entry{name: "index", data: "100644 " + strings.Repeat("1", 40) + "\ta\x00"}, entry{name: "end"}))
	f.Add(stream(&repo{Plain: true, Format: "sha1", Branch: "refs/heads/main"}, entry{name: "tree/a", data: "x"}, entry{name: "end"}))
	f.Fuzz(func(t *testing.T, s []byte) {
		around := t.TempDir()
		dir := filepath.Join(around, "in")
		os.Mkdir(dir, 0o755)
		Unpack(testContext(t), bytes.NewReader(s), dir)
		if list, _ := os.ReadDir(around); len(list) != 1 {
			t.Fatalf("%d entries beside the workspace", len(list))
		}
		filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() && d.Name() == "hooks" && filepath.Base(filepath.Dir(p)) == ".git" {
				t.Fatal("there are hooks")
			}
			return nil
		})
	})
}

func FuzzCleanURL(f *testing.F) {
	for _, s := range []string{"https://u:p@example.com/x?y#z", "git@example.com:a/b", "ext::sh", "ssh://git:p@h/x", "../x", "file:///x", "https://[::1]/x", "a::b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		clean, ok := cleanURL(s)
		if !ok {
			return
		}
		if again, ok := cleanURL(clean); !ok || again != clean {
			t.Errorf("%q becomes %q, and that %q", s, clean, again)
		}
		if rest, web := strings.CutPrefix(strings.ToLower(clean), "https://"); web {
			host, _, _ := strings.Cut(rest, "/")
			if strings.ContainsAny(host, "@") || strings.Contains(clean, "?") {
				t.Errorf("%q keeps a credential: %q", s, clean)
			}
		}
	})
}

// FuzzNames: names that an agent may choose become refs that git accepts, each
// its own.
func FuzzNames(f *testing.F) {
	for _, s := range []string{"main", "a/b", "$(x)", "\u202e", "..", "a.lock", "@", "a@{b", "/", "a//b", "\xff", "work", "sub/x/.y/z."} {
		f.Add(s, "x"+s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []string{a, b} {
			// Branches that git bears, and folders.
			if !validRef("refs/heads/"+s) && checkPath(s) != nil {
				return
			}
			if name := "refs/heads/" + inertName(s); !validRef(name) {
				t.Errorf("%q becomes %q", s, name)
			}
		}
		if a != b && inertName(a) == inertName(b) {
			t.Errorf("%q and %q become one", a, b)
		}
		n := &names{taken: map[string]string{}}
		x, y := n.take("refs/heads/"+inertName(a), "1"), n.take("refs/heads/"+inertName(b), "2")
		if strings.EqualFold(x, y) || strings.HasPrefix(x, y+"/") || strings.HasPrefix(y, x+"/") {
			t.Errorf("%q and %q are in each other's way", x, y)
		}
	})
}

func FuzzPointer(f *testing.F) {
	f.Add([]byte("version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("a", 64) + "\nsize 3\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if oid, _, ok := parsePointer(b); ok && len(oid) != 64 {
			t.Error(oid)
		}
	})
}
