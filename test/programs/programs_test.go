// Package programs tests the programs at their command line, without an engine:
// a script a behaviour, in testdata.
package programs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"bottle/pkg/decision"
	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

func TestPrograms(t *testing.T) {
	r := rig.New(t)
	testscript.Run(t, testscript.Params{Dir: "testdata", Setup: func(env *testscript.Env) error {
		env.Setenv("PATH", r.Bin+string(os.PathListSeparator)+env.Getenv("PATH"))
		env.Setenv("BOTTLE_LIBEXEC", r.Libexec)
		env.Setenv("BOTTLE_HOME", filepath.Join(env.WorkDir, "home"))
		env.Setenv("OVERLONG", strings.Repeat("x", decision.MaxReason+1)) // a reason
		env.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
		return os.Chmod(filepath.Join(env.WorkDir), 0o755)
	}, Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits}})
}

// exits runs a program and wants an exit code: exits CODE PROGRAM ARG…
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = err.Error()
	}
	if got != args[0] && got != "exit status "+args[0] {
		ts.Fatalf("%s ended with %s, not %s", args[1], got, args[0])
	}
}
