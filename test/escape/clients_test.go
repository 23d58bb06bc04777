package escape

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bottle/test/rig"
)

// clients show, each in its own way, why they were refused.
func clients(t *testing.T, s *stage) {
	s.r.Agent("clients", allowed)
	s.r.Write("agents/clients.Dockerfile", rig.ClientsImage)
	slug := s.r.Start("clients")
	s.u.Join(slug)
	withNPM := putPackage(t, s, slug, "npm@10")
	for _, c := range []struct {
		name string
		argv []string
		way  string // how it asks for a URL that is allowed
	}{
		{"curl", []string{"curl", "-sS"}, ""},
		{"git", []string{"git", "ls-remote"}, ""},
		{"Python", []string{"python3", "-c", "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read())"}, ""},
		{"npm", []string{"node", "/home/agent/npm/bin/npm-cli.js", "view", "left-pad", "--fetch-retries=0", "--registry"}, ""},
		{"node", []string{"node", "-e", "fetch(process.argv[1]).then(async r => console.log(r.status, await r.text()))"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "npm" && !withNPM {
				t.Skip("there is no npm on this host to take along")
			}
			mark := "mark-client-" + c.name
			s.r.Inside(slug, append(c.argv, "https://"+allowed+"/"+mark+"/")...)
			if len(s.u.Heard(mark)) == 0 {
				out, said, code := s.r.Inside(slug, append(c.argv, "https://"+allowed+"/"+mark+"/")...)
				t.Fatalf("its allowed request does not arrive: %d %s%s", code, out, said)
			}
			out, said, _ := s.r.Inside(slug, append(c.argv, "https://"+refused+"/"+mark+"-refused/")...)
			if !strings.Contains(out+said, reason) {
				t.Errorf("it shows %q %q, not %q", out, said, reason)
			}
			if heard := s.u.Heard(mark + "-refused"); len(heard) > 0 {
				t.Errorf("the internet heard %+v", heard[0])
			}
		})
	}
	t.Run("ws", func(t *testing.T) {
		if !putPackage(t, s, slug, "ws@8") {
			t.Skip("there is no npm on this host to take it along")
		}
		nodeSocket(t, s, slug)
	})
}

// nodeSocket is a WebSocket of node's library, which knows no proxy: names lead it
// to egress.
func nodeSocket(t *testing.T, s *stage, slug string) {
	const script = `const s = new (require("/home/agent/ws"))(process.argv[1]);
s.on("open", () => s.send(process.argv[2]));
s.on("message", m => { console.log("back: " + m); s.close(1000, "done") });
s.on("close", (code, why) => { console.log("closed: " + code + " " + why); process.exit() });
s.on("error", e => console.log(e.message))`
	for _, c := range []struct{ url, message, want string }{
		{"wss://" + allowed + "/mark-node-socket", calm, "back: " + calm + "\nclosed: 1000 done"},
		{"wss://" + allowed + "/mark-node-socket", aKey, "closed: 1008 egress: a secret (github-pat) was not let out"},
		{"wss://" + refused + "/mark-node-socket", calm, "Unexpected server response: 403\n"},
	} {
		out, said, _ := s.r.Inside(slug, "node", "-e", script, c.url, c.message)
		if !strings.HasPrefix(out, c.want) {
			t.Errorf("%s from %s is answered with %q %q", c.message, c.url, out, said)
		}
	}
}

// packages are what npm packed, by name and version: func() ([]byte, error).
var packages sync.Map

// npmPack fetches a package.
func npmPack(version string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "escape-npm-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	pack := exec.Command("npm", "pack", "--silent", "--prefer-offline", version)
	pack.Dir = dir
	if out, err := pack.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%s cannot be fetched: %w: %s", version, err, out)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(files) != 1 {
		return nil, fmt.Errorf("npm pack left %v, %v", files, err)
	}
	return os.ReadFile(files[0])
}

// putPackage takes a package of npm's that needs node alone into a directory of its
// name in the bottle's home.
func putPackage(t *testing.T, s *stage, slug, version string) bool {
	t.Helper()
	pack, _ := packages.LoadOrStore(version, sync.OnceValues(func() ([]byte, error) { return npmPack(version) }))
	archive, err := pack.(func() ([]byte, error))()
	if err != nil {
		t.Log(err)
		return false
	}
	name, _, _ := strings.Cut(version, "@")
	put := s.r.Command(context.Background(), "bottle-attach", slug, "--", "sh", "-c", "mkdir $HOME/$0 && tar -xz -C $HOME/$0 --strip-components=1", name)
	put.Stdin = bytes.NewReader(archive)
	if out, err := put.CombinedOutput(); err != nil {
		t.Fatalf("a package cannot be put into the bottle: %v: %s", err, out)
	}
	return true
}
