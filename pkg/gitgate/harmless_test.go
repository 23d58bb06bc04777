package gitgate

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// harmless are trees that everybody may read, imported as commits; what is found
// in them, where anything is.
var harmless = []struct {
	name   string
	module string   // of the module cache
	source string   // below Go's own src; neither: this project's own history
	found  []string // what is, with reason
	within []string // or folders that it is in
}{
	// It has examples of secrets to test its own scan with, and nothing besides.
	{name: "this project's history", within: []string{"pkg/dlp/", "pkg/gitgate/", "test/"}},
	{name: "go-containerregistry", module: "github.com/google/go-containerregistry"},
	// Its tests have private keys: whether they open anything, nobody can tell by looking.
	{name: "docker", module: "github.com/docker/docker", found: []string{
		"client/testdata/key.pem", "integration-cli/fixtures/https/client-rogue-key.pem", "integration-cli/fixtures/https/server-rogue-key.pem",
		"integration/testdata/https/client-key.pem", "integration/testdata/https/server-key.pem"}},
	{name: "golang.org/x/text", module: "golang.org/x/text"},
	// The same, and keys of Ethereum's curve.
	{name: "Go's crypto", source: "crypto", found: []string{"ecdh/ecdh_test.go", "tls/example_test.go", "tls/testdata/example-key.pem", "x509/platform_root_key.pem"}},
}

func TestWhatIsHarmlessPasses(t *testing.T) {
	t.Parallel()
	for _, h := range harmless {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			g := startGate(t, defaultGate())
			c := newClient(t, g.url+"/origin.git")
			if h.module == "" && h.source == "" {
				c.git("fetch", "-q", said(t, "git", "rev-parse", "--show-toplevel"), "HEAD")
				c.git("reset", "-q", "--hard", "FETCH_HEAD")
			} else {
				dir := filepath.Join(said(t, "go", "env", "GOROOT"), "src", h.source)
				if h.module != "" {
					dir = said(t, "go", "list", "-m", "-f", "{{.Dir}}", h.module)
				}
				if err := os.CopyFS(filepath.Join(c.dir, "tree"), os.DirFS(dir)); err != nil {
					t.Fatal(err)
				}
				c.git("add", "-A", "-f")
				c.git("commit", "-q", "-m", "as it is")
			}
			out, err := c.try("push", "origin", "main")
			if h.within != nil {
				for line := range strings.Lines(out) {
					where, told := strings.CutPrefix(line, "remote: git-gate: ")
					inside := func(dir string) bool { return strings.HasPrefix(where, dir) }
					if told && strings.Contains(where, " in ") && strings.Contains(where, ": ") && !strings.Contains(where, "take it out") && !slices.ContainsFunc(h.within, inside) {
						t.Errorf("found %s", line)
					}
				}
				return
			}
			if (err == nil) != (len(h.found) == 0) {
				t.Errorf("%v: %s", err, out)
			}
			var found []string
			for line := range strings.Lines(out) {
				if where, ok := strings.CutPrefix(line, "remote: git-gate: tree/"); ok {
					file, _, _ := strings.Cut(where, ":")
					found = append(found, file)
				}
			}
			slices.Sort(found)
			if found = slices.Compact(found); !slices.Equal(found, h.found) {
				t.Errorf("found %q: %s", found, out)
			}
		})
	}
}

// said is what a program prints, which is something.
func said(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).Output()
	text := strings.TrimSpace(string(out))
	if err != nil || text == "" {
		t.Fatalf("%s %q says %q: %v", name, args, text, err)
	}
	return text
}
