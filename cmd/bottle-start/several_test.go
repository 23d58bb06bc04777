package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/cli"
)

// The proxy's login is a reference like others: for several agents it is looked up
// once.
func TestSeveralAgentsAskForTheProxysLoginOnce(t *testing.T) {
	dir := t.TempDir()
	asked := filepath.Join(dir, "asked")
	t.Setenv("BOTTLE_HOME", dir)
	t.Setenv("DOCKER_HOST", "unix://"+filepath.Join(dir, "none.sock"))
	for name, text := range map[string]string{
		"config.yaml":    "upstream_proxy: http://proxy.corp:3128\nproxy_token_ref: \"cmd:sh -c 'echo asked >> " + asked + "; echo ada:geheim'\"\n",
		"bottles/dev.md": "---\n---\n",
		"agents/dev.md":  "---\nbottle: dev\nprogram: shell\n---\n",
		"agents/web.md":  "---\nbottle: dev\nprogram: shell\n---\n",
	} {
		path := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, []byte(text), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var out, errOut strings.Builder
	code := run([]string{"bottle-start", "--yes", "--detach", "--workspace", "none", "dev", "web"}, strings.NewReader(""), &out, &errOut)
	if times, err := os.ReadFile(asked); err != nil || string(times) != "asked\n" {
		t.Errorf("%q, %v", times, err)
	}
	if code != cli.NoEngine || out.Len() > 0 || strings.Contains(errOut.String(), "geheim") {
		t.Errorf("%d: %s%s", code, out.String(), errOut.String())
	}
}
