// Package engines runs the suites that meet an engine on another one than this
// machine's: the Debian system whose folder $BOTTLE_TEST_ENGINE names. "make
// test-engines" does. It has tests only.
package engines

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// other is the engine, with a home on it; without one the test is skipped.
func other(t *testing.T) (*rig.Engine, *rig.Rig) {
	t.Helper()
	if os.Getenv("BOTTLE_TEST_ENGINE") == "" {
		t.Skip("no other engine: make test-engines has one")
	}
	e := rig.PrivateEngine(t, rig.EngineOptions{})
	r := e.Rig()
	r.Agent("dev", "allowed.test")
	r.Provide("dev")
	return e, r
}

// suites are the packages that meet an engine.
var suites = []string{"./pkg/engine/docker", "./test/lifecycle", "./test/session", "./test/escape"}

func TestSuitesOnAnotherEngine(t *testing.T) {
	e, r := other(t)
	r.Write("agents/claude.md", "---\nbottle: dev\nprogram: claude\n---\n")
	r.Provide("claude")
	r.Agent("clients")
	r.Write("agents/clients.Dockerfile", rig.ClientsImage)
	r.Provide("clients")
	e.Load("bottle-base:bookworm")
	t.Logf("engine %s", r.Docker("version", "-f", "{{.Server.Version}}, API {{.Server.APIVersion}}"))
	root, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, suite := range suites {
		t.Run(filepath.Base(suite), func(t *testing.T) {
			cmd := e.Command(t.Context(), "go", "test", "-count=1", "-timeout", "20m", suite)
			cmd.Dir = filepath.Dir(strings.TrimSpace(string(root)))
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
		})
	}
}

// A bottle is a project to the compose plugin that comes with that engine.
func TestComposePluginShowsTheBottleAsAProject(t *testing.T) {
	e, r := other(t)
	slug := r.Start("dev")
	project := "bottle-" + slug
	file := filepath.Join(r.Home, "state", slug, "docker-compose.yml")
	t.Log(e.Tool("docker", "compose", "version"))
	if out := e.Tool("docker", "compose", "ls"); !strings.Contains(out, project) || !strings.Contains(out, "running(2)") || !strings.Contains(out, file) {
		t.Errorf("ls: %s", out)
	}
	for _, named := range [][]string{{"-p", project}, {"-p", project, "-f", file}} {
		compose := func(args ...string) string {
			return e.Tool(append(append([]string{"docker", "compose"}, named...), args...)...)
		}
		if out := compose("ps"); !strings.Contains(out, project+"-agent-1") || !strings.Contains(out, project+"-egress-1") {
			t.Errorf("ps: %s", out)
		}
		if out := compose("logs", "--no-log-prefix", "egress"); !strings.Contains(out, "egress: ready\n") {
			t.Errorf("logs: %q", out)
		}
	}
	e.Tool("docker", "compose", "-p", project, "-f", file, "config", "-q")
	e.Tool("docker", "compose", "-p", project, "-f", file, "down")
	if out := r.Docker("ps", "-aq"); out != "" {
		t.Errorf("down left %s", out)
	}
}
