package escape

import (
	"bytes"
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

// clients show, each in its own way, why they were refused.
func clients(t *testing.T, s *stage) {
	s.r.Agent("clients", allowed)
	s.r.Write("agents/clients.Dockerfile", rig.ClientsImage)
	slug := s.r.Start("clients")
	s.u.Join(slug)
	withNPM := putNPM(t, s, slug)
	for _, c := range []struct {
		name string
		argv []string
		way  string // how it asks for a URL that is allowed
	}{
		{"curl", []string{"curl", "-sS"}, ""},
		{"git", []string{"git", "ls-remote"}, ""},
		{"Python", []string{"python3", "-c", "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1]).read())"}, ""},
		{"npm", []string{"node", "/home/agent/package/bin/npm-cli.js", "view", "left-pad", "--fetch-retries=0", "--registry"}, ""},
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
}

// putNPM takes npm's own package into the bottle's home: it needs node alone.
func putNPM(t *testing.T, s *stage, slug string) bool {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		return false
	}
	dir := t.TempDir()
	pack := exec.Command("npm", "pack", "--silent", "--prefer-offline", "npm@10")
	pack.Dir = dir
	if out, err := pack.CombinedOutput(); err != nil {
		t.Logf("npm cannot be fetched: %v: %s", err, out)
		return false
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(files) != 1 {
		t.Fatalf("npm pack left %v, %v", files, err)
	}
	archive, err := exec.Command("cat", files[0]).Output()
	if err != nil {
		t.Fatal(err)
	}
	put := s.r.Command(context.Background(), "bottle-attach", slug, "--", "tar", "-xz", "-C", "/home/agent")
	put.Stdin = bytes.NewReader(archive)
	if out, err := put.CombinedOutput(); err != nil {
		t.Fatalf("npm cannot be put into the bottle: %v: %s", err, out)
	}
	return true
}
