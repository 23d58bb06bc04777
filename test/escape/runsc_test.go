package escape

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"bottle/pkg/plan"
	"bottle/pkg/probe"
	"bottle/test/rig"
)

// gVisor is a runsc that runs on this machine's kernel.
type gVisor struct{ program, arguments string }

// newGVisor skips the test where there is none. Its program adds the arguments
// that are in a file, as an engine's configuration would.
func newGVisor(t *testing.T) gVisor {
	t.Helper()
	path, err := exec.LookPath("runsc")
	if err != nil {
		t.Skip("no runsc on PATH: Debian has it as a package")
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// Up to 2024 runsc knew the host's own network namespace by a file that Linux
	// shows in all of them since 6.11, and runs in none there. Later ones look
	// for another; so does this copy.
	const everywhere, hostOnly = "/proc/sys/net/core/rmem_default", "/proc/sys/net/core/message_cost"
	var kernel unix.Utsname
	if err := unix.Uname(&kernel); err != nil {
		t.Fatal(err)
	}
	t.Logf("Linux %s", unix.ByteSliceToString(kernel.Release[:]))
	program = bytes.ReplaceAll(program, []byte(everywhere), []byte(hostOnly))
	dir := t.TempDir()
	g := gVisor{filepath.Join(dir, "runsc"), filepath.Join(dir, "arguments")}
	real := filepath.Join(dir, "real")
	wrapper := fmt.Sprintf("#!/bin/sh\nexec %s $(cat %s) \"$@\"\n", real, g.arguments)
	for path, content := range map[string]string{real: string(program), g.program: wrapper, g.arguments: ""} {
		// Another test's child could have a file of ours open, and nobody run it then.
		write := exec.Command("install", "-m", "0755", "/dev/stdin", path)
		write.Stdin = strings.NewReader(content)
		if out, err := write.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	version, err := exec.Command(real, "--version").Output()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", version)
	return g
}

// attacker is an agent that runs the probes it is asked for, in the session: what
// is exec'd beside it has no seccomp filter on gVisor.
const attacker = `uname -v; mkfifo /tmp/ask /tmp/answer; while read -r rows </tmp/ask; do ` + plan.InsideBin + ` probe $rows </work/targets >/tmp/answer 2>&1; done`

// rig makes a rig on an engine that has this runsc.
func (g gVisor) rig(t *testing.T) *rig.Rig {
	t.Helper()
	e := rig.PrivateEngine(t, rig.EngineOptions{Config: map[string]any{"runtimes": map[string]any{"runsc": map[string]any{"path": g.program}}}})
	r := e.Rig()
	r.Write("bottles/dev.md", "---\nruntime: runsc\negress:\n  routes:\n    - host: "+allowed+"\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: {command: [sh, -c, '"+attacker+"']}\n---\n")
	r.ProvideGate("dev") // the workspace of one test is a repository
	return r
}

// runscWalls has a bottle on gVisor tried, and used.
func runscWalls(t *testing.T) {
	g := newGVisor(t)
	r := g.rig(t)
	t.Run("without its filter", func(t *testing.T) {
		_, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "dev")
		if code == 0 || !strings.Contains(said, "A2 FAILED") || !strings.Contains(said, "--oci-seccomp") {
			t.Errorf("with ping sockets bottle-start ended with %d: %s", code, said)
		}
	})
	if err := os.WriteFile(g.arguments, []byte("--oci-seccomp"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "first"}} {
		git := exec.Command("git", args...)
		git.Dir = r.Dir
		if out, err := git.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	out, said, code := r.Run("bottle-start", "--yes", "--detach", "dev")
	if code != 0 {
		t.Fatalf("bottle-start ended with %d: %s", code, said)
	}
	slug := strings.TrimSpace(out)
	state := filepath.Join(r.Home, "state", slug)
	if kernel, _, _ := r.Inside(slug, "dmesg"); !strings.Contains(kernel, "gVisor") {
		t.Errorf("it is no gVisor that says %q", kernel)
	}
	t.Run("all walls", func(t *testing.T) {
		made := rig.ReadPlan(t, state)
		inner, egress := made.Own().Subnet, made.IP(plan.EgressService)
		targets := probe.Targets{Runtime: made.Find(plan.AgentService).Runtime, Egress: egress, Inner: inner, Gateway: plan.Address(inner, 1),
			Refused: []string{refused}, Internet: []netip.AddrPort{netip.AddrPortFrom(nobody, 443)}, Uplink: []netip.Addr{server}}
		doc, err := json.Marshal(targets)
		if err != nil {
			t.Fatal(err)
		}
		rows := []string{"A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A12", "E1", "E2"}
		ask := r.Command(t.Context(), "bottle-attach", slug, "--", "sh", "-c", `cat >/work/targets; echo "$0" >/tmp/ask; cat /tmp/answer`, strings.Join(rows, " "))
		ask.Stdin = bytes.NewReader(doc)
		out, err := ask.Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(out)) {
			result := rig.Decode[probe.Result](t, line)
			rows = slices.DeleteFunc(rows, func(id string) bool { return id == result.ID })
			if !result.OK {
				t.Error(result)
			}
		}
		if len(rows) > 0 {
			t.Errorf("%v did not run: %s", rows, out)
		}
	})
	t.Run("egress", func(t *testing.T) {
		if got, said, _ := r.Inside(slug, "curl", "-sS", "https://"+allowed+"/mark"); !strings.Contains(got, "/mark") {
			t.Errorf("an allowed request does not arrive: %s%s", got, said)
		}
		if got, said, _ := r.Inside(slug, "curl", http11, "-sSi", "--noproxy", "*", "https://"+refused+"/"); !strings.Contains(got, "403 "+reason) {
			t.Errorf("a refused one says %s%s", got, said)
		}
	})
	t.Run("session", func(t *testing.T) {
		if screen, said, code := r.Run("bottle-attach", "--peek", slug); code != 0 || !strings.Contains(screen, "SMP") {
			t.Errorf("the screen shows %q: %s", screen, said)
		}
	})
	t.Run("view", func(t *testing.T) {
		view := r.Command(t.Context(), "bottle-attach", slug)
		view.Env = append(view.Env, "TERM=xterm-256color")
		if shown := terminal(t, view, "", "SMP"); !bytes.Contains(shown, []byte("SMP")) {
			t.Errorf("an attached terminal shows %q", shown)
		}
	})
	t.Run("activity", func(t *testing.T) {
		for _, told := range []string{"working", "waiting"} {
			if _, said, code := r.Inside(slug, plan.InsideBin, "activity", told); code != 0 {
				t.Fatal(said)
			}
			if all := r.Bottles(); len(all) != 1 || string(all[0].Activity) != told {
				t.Errorf("told %s, it is listed as %+v", told, all)
			}
		}
		// The one file that it may write of the host's has no neighbours.
		if _, _, code := r.Inside(slug, "sh", "-c", "touch /var/lib/bottle/planted || mv /var/lib/bottle/activity /var/lib/bottle/moved"); code == 0 {
			t.Error("it planted a file beside its activity")
		}
	})
	t.Run("work", func(t *testing.T) {
		if _, said, code := r.Inside(slug, "sh", "-c", "echo done >/work/file"); code != 0 {
			t.Fatal(said)
		}
		if _, said, code := r.Run("bottle-stop", slug); code != 0 {
			t.Fatalf("bottle-stop ended with %d: %s", code, said)
		}
		fetch := exec.Command("git", "fetch", "-q", filepath.Join(r.Home, "history", slug, "work.bundle"), "refs/heads/wip")
		fetch.Dir = r.Dir
		if out, err := fetch.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		show := exec.Command("git", "show", "FETCH_HEAD:file")
		show.Dir = r.Dir
		if out, err := show.CombinedOutput(); err != nil || string(out) != "done\n" {
			t.Errorf("the work came back as %q, %v", out, err)
		}
	})
}
