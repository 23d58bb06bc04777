package npm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fake puts an npm on PATH that knows one package and counts its calls.
func fake(t *testing.T, body string) (calls func() string) {
	t.Helper()
	dir := t.TempDir()
	var archive bytes.Buffer
	z := gzip.NewWriter(&archive)
	w := tar.NewWriter(z)
	for name, content := range map[string]string{"package/package.json": "{}", "package/tool": "a program"} {
		w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, Size: int64(len(content))})
		io.WriteString(w, content)
	}
	w.Close()
	z.Close()
	if err := os.WriteFile(filepath.Join(dir, "archive"), archive.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/bash\nhere=" + dir + "\necho \"$1\" >>$here/calls\n[ -e .npmrc ] && exit 9\n" + body
	if err := os.WriteFile(filepath.Join(dir, "npm"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	return func() string {
		b, _ := os.ReadFile(filepath.Join(dir, "calls"))
		return strings.ReplaceAll(string(b), "\n", " ")
	}
}

const good = `case $1 in
view) echo '"1.2.3"' ;;
pack) cp $here/archive scope-tool-1.2.3.tgz; echo '[{"filename":"scope-tool-1.2.3.tgz","version":"1.2.3"}]' ;;
esac`

// fetch asks for the tool.
func fetch(ctx context.Context, version, cache string) (string, string, error) {
	return Fetch(ctx, Wanted{Package: "@scope/tool", Version: version, File: "package/tool"}, cache, nil, io.Discard)
}

func TestFileIsFetchedOnceAndKept(t *testing.T) {
	calls := fake(t, good)
	cache := filepath.Join(t.TempDir(), "cache")
	for range 2 {
		path, version, err := fetch(context.Background(), "", cache)
		if err != nil || version != "1.2.3" {
			t.Fatalf("version %q, %v", version, err)
		}
		content, err := os.ReadFile(path)
		fi, _ := os.Stat(path)
		if err != nil || string(content) != "a program" || fi.Mode().Perm() != 0o755 {
			t.Fatalf("%s holds %q, %v, %v", path, content, fi.Mode(), err)
		}
	}
	if _, _, err := fetch(context.Background(), "1.2.3", cache); err != nil {
		t.Fatal(err)
	}
	if got := calls(); got != "view pack view " {
		t.Errorf("npm was asked: %s", got)
	}
	if left, _ := os.ReadDir(cache); len(left) != 1 {
		t.Errorf("the cache holds %v", left)
	}
}

// A package may have a version for each kind of machine, and be wanted whole.
func TestArchiveOfAMachinesOwnVersionIsKeptWhole(t *testing.T) {
	calls := fake(t, `case $1 in
view) echo '"1.2.3"' ;;
pack) [ "${*: -4:1}" = @scope/tool@1.2.3-linux-x64 ] || echo "$@" >>$here/calls; cp $here/archive scope-tool-1.2.3-linux-x64.tgz; echo '[{}]' ;;
esac`)
	cache := t.TempDir()
	for range 2 {
		path, version, err := Fetch(context.Background(), Wanted{Package: "@scope/tool", Suffix: "-linux-x64"}, cache, nil, io.Discard)
		if err != nil || version != "1.2.3" || filepath.Base(path) != "scope+tool@1.2.3-linux-x64.tgz" {
			t.Fatalf("%s, version %q, %v", path, version, err)
		}
		content, err := os.ReadFile(path)
		if z, zipped := gzip.NewReader(bytes.NewReader(content)); err != nil || zipped != nil || z.Close() != nil {
			t.Fatalf("%s holds %d bytes, %v, %v", path, len(content), err, zipped)
		}
	}
	if got := calls(); got != "view pack view " {
		t.Errorf("npm was asked: %s", got)
	}
}

func TestWhatKilledFetchesLeftIsSwept(t *testing.T) {
	fake(t, good)
	cache := t.TempDir()
	for _, name := range []string{"fetch-old", "fetch-new"} {
		if err := os.MkdirAll(filepath.Join(cache, name, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * abandoned)
	if err := os.Chtimes(filepath.Join(cache, "fetch-old"), old, old); err != nil {
		t.Fatal(err)
	}
	if _, _, err := fetch(context.Background(), "", cache); err != nil {
		t.Fatal(err)
	}
	left, _ := filepath.Glob(filepath.Join(cache, "fetch-*"))
	if len(left) != 1 || filepath.Base(left[0]) != "fetch-new" {
		t.Errorf("left: %v", left)
	}
}

func TestReasonIsTold(t *testing.T) {
	for _, c := range []struct {
		name, body string
		is         error
		text       string
	}{
		{"no network", `echo '{"error":{"code":"ENOTFOUND","summary":"request failed\nmore"}}'; exit 1`, ErrUnavailable, "ENOTFOUND: request failed"},
		{"garbage", `echo boom; exit 1`, ErrUnavailable, "exit status 1"},
		{"no such version", `echo '{"error":{"code":"E404","summary":"x"}}'; exit 1`, ErrNoVersion, "E404"},
		{"empty answer", `exit 0`, ErrNoVersion, "@scope/tool@latest"},
		{"strange version", `echo '"../../x"'`, ErrNoVersion, ""},
		{"no archive", `[ $1 = view ] && echo '"1.2.3"' || echo '[{}]'`, nil, "no archive"},
		{"no such file", `[ $1 = view ] && echo '"1.2.3"' || { tar czf x.tgz -C / etc/hostname; echo '[{}]'; }`, nil, "there is no package/tool"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fake(t, c.body)
			_, _, err := fetch(context.Background(), "", t.TempDir())
			if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestWithoutNpmItIsUnavailable(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if _, _, err := fetch(context.Background(), "", t.TempDir()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("%v", err)
	}
}

func TestOnlyNamesAndExactVersionsReachNpm(t *testing.T) {
	calls := fake(t, good)
	for _, w := range []Wanted{
		{Package: "../x"}, {Package: "git+https://host/x"}, {Package: "--global"}, {Package: "a/b"}, {Package: "a b"},
		{Package: "a", Version: "latest"}, {Package: "a", Version: "npm:b@1.0.0"}, {Package: "a", Version: "^1.2.3"}, {Package: "a", Version: "1.2.3/../.."},
	} {
		w.File = "package/tool"
		if _, _, err := Fetch(context.Background(), w, t.TempDir(), nil, io.Discard); err == nil {
			t.Errorf("%v is fetched", w)
		}
	}
	if got := calls(); got != "" {
		t.Errorf("npm was asked: %s", got)
	}
}

func TestInterruptedFetchSaysSo(t *testing.T) {
	fake(t, good)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := fetch(ctx, "", t.TempDir()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
