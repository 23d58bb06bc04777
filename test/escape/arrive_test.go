package escape

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha1"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

const arriveBottle = `---
egress:
  routes:
    - {host: files.test, private: true}
    - {host: apt.test, scheme: http, private: true}
---
`

// realClients has the programs that agents use do their ordinary work through
// a bottle: a wall that nobody can work behind is no wall that anybody keeps.
func realClients(t *testing.T) {
	r := rig.New(t)
	s := &stage{r: r, u: r.Upstream("files.test", "apt.test")}
	mirror(t, s.u.Files())
	r.Write("bottles/arrive.md", arriveBottle)
	r.Write("agents/arrive.md", "---\nbottle: arrive\nprogram: shell\n---\n")
	r.Write("agents/arrive.Dockerfile", rig.ClientsImage)
	slug := r.Start("arrive")
	s.u.Join(slug)
	withNPM := putPackage(t, s, slug, "npm@10")
	withGo := putGo(t, s, slug)
	const npm = "node /home/agent/npm/bin/npm-cli.js --registry https://files.test/npm/ --fetch-retries=0 "
	const apt = `mkdir -p /tmp/apt/lists/partial /tmp/apt/cache/archives/partial && echo 'deb [trusted=yes] http://apt.test/apt ./' >/tmp/apt/list &&
apt-get -o Dir::Etc::SourceList=/tmp/apt/list -o Dir::Etc::SourceParts=- -o Dir::State=/tmp/apt -o Dir::State::Lists=/tmp/apt/lists -o Dir::Cache=/tmp/apt/cache -o APT::Sandbox::User= `
	for _, c := range []struct{ name, script, want string }{
		{"curl", "curl -sSf https://files.test/hello", "hello from a file"},
		{"curl, without proxy variables", "env -u HTTPS_PROXY -u https_proxy -u ALL_PROXY -u all_proxy curl -sSf https://files.test/hello", "hello from a file"},
		{"a download of 8 MiB", "curl -sSf https://files.test/large | sha1sum", fmt.Sprintf("%x", sha1.Sum(make([]byte, 8<<20)))},
		{"a range of it", "curl -sSf -r 100-109 https://files.test/large | wc -c", "10"},
		{"git clone", "cd /tmp && git clone -q https://files.test/repo.git && git -C repo log --format=%s", "a first commit"},
		{"npm view", npm + "view left version", "1.0.0"},
		{"npm pack", "cd /tmp && " + npm + "pack left && tar -xOzf left-1.0.0.tgz package/index.js", "module.exports = 'left'"},
		{"apt-get update", apt + "update && " + apt + "-y indextargets | grep -c apt.test", ""},
		{"go mod download", "mkdir -p /tmp/m && cd /tmp/m && printf 'module x\\ngo 1.21\\nrequire example.test/m v1.0.0\\n' >go.mod && " +
			"GOPROXY=https://files.test/goproxy GONOSUMDB=* GOFLAGS=-mod=mod GOSUMDB=off GOTOOLCHAIN=local GOROOT=/home/agent/go GOPATH=/tmp/gopath GOCACHE=/tmp/gocache /home/agent/go/bin/go mod download -json example.test/m@v1.0.0", `"Version": "v1.0.0"`},
		{"node's fetch", "node -e 'fetch(\"https://files.test/hello\").then(async r => console.log(r.status, await r.text()))'", "200 hello from a file"},
		{"Python", `python3 -c 'import urllib.request; print(urllib.request.urlopen("https://files.test/hello").read())'`, "hello from a file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if strings.HasPrefix(c.name, "npm") && !withNPM || strings.HasPrefix(c.name, "go ") && !withGo {
				t.Skip("it is not on this host, to take along")
			}
			out, said, code := r.Inside(slug, "bash", "-c", c.script)
			if code != 0 || !strings.Contains(out, c.want) {
				t.Errorf("it ended with %d and said %s%s", code, out, said)
			}
		})
	}
}

// putGo takes the go command alone into the bottle: to download, it needs no more.
func putGo(t *testing.T, s *stage, slug string) bool {
	t.Helper()
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	archive := exec.Command("tar", "-c", "-C", strings.TrimSpace(string(root)), "--transform", "s,^,go/,", "bin/go", "VERSION", "go.env")
	data, err := archive.Output()
	if err != nil {
		t.Logf("the go command cannot be packed: %v", err)
		return false
	}
	put := s.r.Command(context.Background(), "bottle-attach", slug, "--", "sh", "-c", "tar -x -C /home/agent && mkdir -p /home/agent/go/src /home/agent/go/pkg")
	put.Stdin = bytes.NewReader(data)
	if out, err := put.CombinedOutput(); err != nil {
		t.Fatalf("the go command cannot be put into the bottle: %v: %s", err, out)
	}
	return true
}

// mirror writes what registries serve, as files.
func mirror(t *testing.T, dir string) {
	t.Helper()
	put := func(name string, data []byte) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("hello", []byte("hello from a file\n"))
	put("large", make([]byte, 8<<20))
	put("apt/Packages", []byte("Package: nothing\nVersion: 1\nArchitecture: all\nDescription: nothing\n\n"))
	put("apt/Release", []byte("Origin: test\n"))

	packed := npmPackage(t)
	put("npm-files/left-1.0.0.tgz", packed)
	doc, err := json.Marshal(map[string]any{"name": "left", "dist-tags": map[string]string{"latest": "1.0.0"}, "versions": map[string]any{"1.0.0": map[string]any{
		"name": "left", "version": "1.0.0", "dist": map[string]any{"tarball": "https://files.test/npm-files/left-1.0.0.tgz", "shasum": fmt.Sprintf("%x", sha1.Sum(packed))}}}})
	if err != nil {
		t.Fatal(err)
	}
	put("npm/left", doc)

	const mod = "module example.test/m\n"
	put("goproxy/example.test/m/@v/list", []byte("v1.0.0\n"))
	put("goproxy/example.test/m/@v/v1.0.0.info", []byte(`{"Version":"v1.0.0","Time":"2026-01-01T00:00:00Z"}`))
	put("goproxy/example.test/m/@v/v1.0.0.mod", []byte(mod))
	var zipped bytes.Buffer
	z := zip.NewWriter(&zipped)
	f, err := z.Create("example.test/m@v1.0.0/go.mod")
	if err == nil {
		_, err = f.Write([]byte(mod))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	put("goproxy/example.test/m/@v/v1.0.0.zip", zipped.Bytes())

	const commit = `set -e; git init -q --bare "$0/repo.git"; git init -q work; cd work
git -c user.name=A -c user.email=a@example.test commit -q --allow-empty -m 'a first commit'
git push -q "$0/repo.git" HEAD:refs/heads/main; cd "$0/repo.git"; git symbolic-ref HEAD refs/heads/main; git update-server-info`
	git := exec.Command("sh", "-c", commit, dir)
	git.Dir = t.TempDir()
	if out, err := git.CombinedOutput(); err != nil {
		t.Fatalf("cannot make a repository: %v: %s", err, out)
	}
}

// npmPackage is a package of one file, as npm packs it.
func npmPackage(t *testing.T) []byte {
	t.Helper()
	var packed bytes.Buffer
	g := gzip.NewWriter(&packed)
	w := tar.NewWriter(g)
	for name, text := range map[string]string{"package/package.json": `{"name":"left","version":"1.0.0"}`, "package/index.js": "module.exports = 'left'\n"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}
