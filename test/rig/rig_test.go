package rig

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestMain(m *testing.M) { os.Exit(Main(m)) }

// dies is set for a child that makes a rig and is killed.
const dies = "BOTTLE_TEST_DIES"

func TestKilledRunIsSweptAndALivingOneIsNot(t *testing.T) {
	if os.Getenv(dies) != "" {
		r := New(t)
		r.Agent("dev", "allowed.test")
		r.Upstream("allowed.test")
		r.Start("dev")
		e := PrivateEngine(t, EngineOptions{})
		lives := upstreamImage(t) // the smallest image that lives
		e.Load(lives)
		e.Rig().Container("lives", lives, "--ca-out", "/ca.pem", "--files", "/", "--log", "/log.jsonl")
		os.Stdout.WriteString(r.dir + "\n")
		os.Stdout.WriteString(filepath.Dir(r.Bin) + "\n")
		os.Stdout.WriteString(filepath.Dir(e.dir) + "\n")
		// As if by SIGKILL: nothing of this process cleans up.
		self, err := os.FindProcess(os.Getpid())
		if err == nil {
			self.Kill()
		}
		select {}
	}
	living := New(t)
	child := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), dies+"=1")
	child.Stderr = os.Stderr
	out, err := child.Output()
	dirs := strings.Fields(string(out))
	if err == nil || len(dirs) < 3 {
		t.Fatalf("the child ended with %v: %s", err, out)
	}
	dir, built, engine := dirs[0], dirs[1], dirs[2]
	home, err := os.ReadFile(filepath.Join(dir, "home", "id"))
	if err != nil {
		t.Fatalf("the killed run left nothing to sweep: %v", err)
	}
	left := func() string {
		var all strings.Builder
		for _, filter := range []string{"bottle.home=" + strings.TrimSpace(string(home)), label + "=" + filepath.Base(dir)} {
			for _, list := range [][]string{{"ps", "-aq"}, {"network", "ls", "-q"}, {"volume", "ls", "-q"}} {
				all.WriteString(living.Docker(append(list, "--filter", "label="+filter)...))
			}
		}
		return all.String()
	}
	groups := func() []string {
		one, _ := filepath.Glob("/sys/fs/cgroup/" + filepath.Base(engine))
		more, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(engine))
		return append(one, more...)
	}
	if left() == "" || len(groups()) == 0 {
		t.Fatal("the killed run left nothing on the engines to sweep")
	}
	sweep(t)
	if got := left(); got != "" {
		t.Errorf("the sweep left %s", got)
	}
	if got := groups(); len(got) > 0 {
		t.Errorf("the sweep left %v", got)
	}
	if got, _ := exec.Command("pgrep", "-f", engine).Output(); len(got) > 0 {
		t.Errorf("the sweep left processes of the private engine: %s", got)
	}
	for _, d := range []string{dir, built, engine} {
		if _, err := os.Stat(d); err == nil {
			t.Errorf("the sweep left %s", d)
		}
	}
	if _, err := os.Stat(living.Home); err != nil {
		t.Errorf("the sweep took a living run's home: %v", err)
	}
}
