// Package engines runs the suites that meet an engine on another one than this
// machine's: the Debian system whose folder $BOTTLE_TEST_ENGINE names. "make
// test-engines" does. It has tests only.
package engines

import (
	"flag"
	"fmt"
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
	return e, r
}

var only = flag.String("only", "", "run only those tests of the suites that match")

// suites are the packages that meet an engine.
var suites = []string{"./pkg/engine/docker", "./test/lifecycle", "./test/session", "./test/escape"}

func TestSuitesOnAnotherEngine(t *testing.T) {
	e, r := other(t)
	r.Write("agents/claude.md", "---\nbottle: dev\nprogram: claude\n---\n")
	r.Agent("clients")
	r.Write("agents/clients.Dockerfile", rig.ClientsImage)
	r.ProvideGate("dev", "claude", "clients")
	e.Load("bottle-base:bookworm", rig.GitServerImage(t))
	t.Logf("engine %s", r.Docker("version", "-f", "{{.Server.Version}}, API {{.Server.APIVersion}}"))
	gomod, err := exec.Command("go", "env", "GOMOD").Output()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(strings.TrimSpace(string(gomod)))
	for _, suite := range suites {
		t.Run(filepath.Base(suite), func(t *testing.T) {
			t.Parallel() // as packages are when all are tested
			// It is compiled where there is a network: modules may have to be fetched.
			program := filepath.Join(t.TempDir(), "suite")
			compile := exec.Command("go", "test", "-c", "-o", program, suite)
			compile.Dir = root
			if out, err := compile.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			run := e.Command(t.Context(), program, "-test.v", "-test.timeout", "40m", "-test.run", *only)
			// It takes its time: how far it is, and what it skips, is seen at once.
			run.Dir, run.Stdout, run.Stderr = filepath.Join(root, suite), t.Output(), t.Output()
			if err := run.Run(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A bottle is a project to the compose plugin that comes with that engine.
func TestComposePluginShowsTheBottleAsAProject(t *testing.T) {
	e, r := other(t)
	r.Provide("dev")
	slug := r.Start("dev")
	project := "bottle-" + slug
	file := filepath.Join(r.Home, "state", slug, "docker-compose.yml")
	t.Log(e.Tool("docker", "compose", "version"))
	running := fmt.Sprintf("running(%d)", len(strings.Fields(r.Docker("ps", "-q"))))
	if out := e.Tool("docker", "compose", "ls"); !strings.Contains(out, project) || !strings.Contains(out, running) || !strings.Contains(out, file) {
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
