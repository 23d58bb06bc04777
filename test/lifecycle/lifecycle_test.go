// Package lifecycle tests the programs as their user meets them, on a real
// engine: start, list, attach, stop.
package lifecycle

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

func TestMain(m *testing.M) { os.Exit(rig.Main(m)) }

// engineHolds lists what the engine has of the rig's home.
func engineHolds(t *testing.T, r *rig.Rig) string {
	t.Helper()
	id, err := os.ReadFile(filepath.Join(r.Home, "id"))
	if err != nil {
		return "" // not even the home was opened
	}
	filter := "label=bottle.home=" + strings.TrimSpace(string(id))
	return r.Docker("ps", "-aq", "--filter", filter) + r.Docker("network", "ls", "-q", "--filter", filter) +
		r.Docker("volume", "ls", "-q", "--filter", filter)
}

// wantNothing fails unless engine and state directory are empty.
func wantNothing(t *testing.T, r *rig.Rig) {
	t.Helper()
	if left := engineHolds(t, r); left != "" {
		t.Errorf("the engine still holds:\n%s", left)
	}
	if state, _ := os.ReadDir(filepath.Join(r.Home, "state")); len(state) > 0 {
		t.Errorf("state is left: %v", state)
	}
}

func TestABottleIsListedAndLeavesNothing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev", "allowed.test")
	slug := r.Start("dev")
	all := r.Bottles()
	if len(all) != 1 || all[0].Slug != slug || all[0].Status != bottle.Running || strings.Join(all[0].Services, " ") != "agent egress supervise" ||
		all[0].StateDir != filepath.Join(r.Home, "state", slug) || all[0].Project != "bottle-"+slug {
		t.Errorf("listed as %+v", all)
	}
	for _, format := range []string{"table", "tsv"} {
		if out, _, _ := r.Run("bottle-ls", "-o", format); !strings.Contains(out, slug) {
			t.Errorf("-o %s: %s", format, out)
		}
	}
	if out, _, _ := r.Run("bottle-ls", "agents"); !strings.Contains(out, `"running":1`) {
		t.Errorf("bottle-ls agents: %s", out)
	}
	t.Run("a watcher ends with its reader", func(t *testing.T) { watcherEndsWithItsReader(t, r) })
	t.Run("the disk is listed while the engine is away", func(t *testing.T) { diskIsListedWhileTheEngineIsAway(t, r, slug) })
	t.Run("an engine that stalls is listed as one that is away", func(t *testing.T) { stalledIsListedAsAway(t, r, slug) })
	out, said, code := r.Run("bottle-stop", slug)
	if code != 0 || !strings.Contains(out, `"slug":"`+slug+`"`) {
		t.Errorf("bottle-stop ended with %d: %s%s", code, out, said)
	}
	wantNothing(t, r)
	if _, said, code := r.Run("bottle-stop", slug); code != 3 || !strings.Contains(said, `no bottle named "`+slug+`"`) {
		t.Errorf("a second stop ended with %d: %s", code, said)
	}
	for _, name := range []string{"metadata.json", "bringup.log", "teardown.log", "egress-events.jsonl"} {
		if _, err := os.Stat(filepath.Join(r.Home, "history", slug, name)); err != nil {
			t.Error(err)
		}
	}
	log, err := os.ReadFile(filepath.Join(r.Home, "history", slug, "compose.log"))
	if err != nil || !regexp.MustCompile(`(?m)^bottle-`+slug+`-egress-1 \| \d{4}-\d\d-\d\dT\S+Z egress: ready$`).Match(log) {
		t.Errorf("compose.log: %s, %v", log, err)
	}
}

func watcherEndsWithItsReader(t *testing.T, r *rig.Rig) {
	watch := r.Command(t.Context(), "bottle-ls", "--watch")
	lines, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	if _, err := lines.Read(buf); err != nil {
		t.Fatal(err)
	}
	lines.Close()
	if err := watch.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func diskIsListedWhileTheEngineIsAway(t *testing.T, r *rig.Rig, slug string) {
	r.Env = []string{"DOCKER_HOST=unix:///nonexistent/docker.sock"}
	out, said, code := r.Run("bottle-ls")
	if code != 5 || !strings.Contains(out, slug) || !strings.Contains(said, "engine cannot be reached") {
		t.Errorf("ended with %d: %s%s", code, out, said)
	}
	for _, program := range [][]string{{"bottle-stop", slug}, {"bottle-start", "--yes", "dev"}, {"bottle-attach", slug, "--", "true"}} {
		if _, said, code := r.Run(program[0], program[1:]...); code != 5 || strings.Count(said, "\n") > 2 {
			t.Errorf("%s ended with %d: %s", program[0], code, said)
		}
	}
	r.Env = nil
}

func TestLookingMakesNothing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Write("bottles/dev.md", "---\nenv:\n  EDITOR: vi\n  STAGE_KEY: ${STAGE_KEY}\negress:\n  routes:\n    - host: one.test\n    - host: two.test\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: shell\n---\nBe brief.\n")
	r.Env = []string{"STAGE_KEY=value-of-the-key"}
	out, said, code := r.Run("bottle-start", "dev", "--dry-run")
	want := "  agent      dev (shell)\n  env        EDITOR\n             STAGE_KEY\n  skills     -\n  bottle     dev\n  workspace  a copy of " + r.Dir +
		"\n  git gate   -\n  egress     one.test  ENTIRE HOST\n             two.test  ENTIRE HOST\n"
	if code != 0 || out != want || said != "" {
		t.Errorf("ended with %d: %s\n%s", code, said, out)
	}
	out, _, code = r.Run("bottle-start", "--dry-run", "-o", "json", "dev")
	if code != 0 || !strings.Contains(out, `"containers"`) || strings.Contains(out, "value-of-the-key") {
		t.Errorf("ended with %d: %s", code, out)
	}
	wantNothing(t, r)
	r.Env = []string{"STAGE_KEY="}
	if _, said, code := r.Run("bottle-start", "--dry-run", "none"); code != 3 {
		t.Errorf("an agent that does not exist: %d: %s", code, said)
	}
	if _, said, code := r.Run("bottle-start", "dev"); code != 2 || !strings.Contains(said, "--yes") {
		t.Errorf("without a terminal and --yes: %d: %s", code, said)
	}
	wantNothing(t, r)
}

func git(t *testing.T, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada",
		"GIT_COMMITTER_EMAIL=ada@example.com", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestTheWorkGoesInAndComesBack(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	git(t, r.Dir, "init", "-q", "-b", "main", ".")
	git(t, r.Dir, "config", "user.name", "Ada")
	git(t, r.Dir, "config", "user.email", "ada@example.com")
	git(t, r.Dir, "remote", "add", "origin", "https://ada:token-in-the-url@git.example.com/engine.git")
	write(t, filepath.Join(r.Dir, "README"), "one\n")
	write(t, filepath.Join(r.Dir, "sub", "code.go"), "package sub\n")
	write(t, filepath.Join(r.Dir, ".gitignore"), "*.log\n")
	git(t, r.Dir, "add", ".")
	git(t, r.Dir, "commit", "-qm", "first")
	write(t, filepath.Join(r.Dir, "README"), "two\n")
	write(t, filepath.Join(r.Dir, "build.log"), "ignored\n")
	write(t, filepath.Join(r.Dir, "staged"), "staged\n")
	git(t, r.Dir, "add", "staged")
	status := git(t, r.Dir, "status", "--porcelain=v2", "--branch")
	top := r.Dir
	r.Dir = filepath.Join(top, "sub")

	out, said, code := r.Run("bottle-start", "--yes", "--detach", "dev")
	if code != 0 {
		t.Fatalf("bottle-start ended with %d: %s", code, said)
	}
	slug := strings.TrimSpace(out)
	if inside, said, _ := r.Inside(slug, "git", "-C", "/work", "status", "--porcelain=v2", "--branch"); inside != status {
		t.Errorf("git status says inside\n%s%soutside\n%s", inside, said, status)
	}
	if inside, _, _ := r.Inside(slug, "sh", "-c", "cat /work/.git/config; ls /work/.git/hooks /work/build.log"); strings.Contains(inside, "token-in-the-url") || strings.Contains(inside, "build.log") {
		t.Errorf("inside there is\n%s", inside)
	}
	if _, said, code := r.Inside(slug, "sh", "-ec", "cd /work; git commit -qam 'by the agent'; echo three > README; echo new > left.txt"); code != 0 {
		t.Fatalf("the agent's work: %s", said)
	}
	out, said, code = r.Run("bottle-stop", slug)
	if code != 0 {
		t.Fatalf("bottle-stop ended with %d: %s%s", code, out, said)
	}
	// The line that bottle-stop prints is run as it stands.
	var fetch string
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "  git ") {
			fetch = strings.TrimSpace(line)
		}
	}
	cmd := exec.Command("sh", "-c", fetch)
	cmd.Dir = top
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", fetch, err, out)
	}
	ref := "bottle/" + slug + "/"
	if got := git(t, top, "log", "-1", "--format=%s", ref+"work"); got != "by the agent\n" {
		t.Errorf("the work is %q", got)
	}
	if got := git(t, top, "show", ref+"wip:README") + git(t, top, "show", ref+"wip:left.txt"); got != "three\nnew\n" {
		t.Errorf("the uncommitted rest is %q", got)
	}
	wantNothing(t, r)
}

func TestComposeSeesTheBottleAndTakesItDown(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev", "allowed.test")
	slug := r.Start("dev")
	file := filepath.Join(r.Home, "state", slug, "docker-compose.yml")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the Compose file: %v, %v", info, err)
	}
	if text, err := os.ReadFile(file); err != nil || strings.Contains(string(text), "endpoint.sysctls") {
		t.Skipf("docker-compose 1.29 knows no options of endpoints, which engines from 28 on need; test/engines has the plugin do the same (%v)", err)
	}
	compose := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("docker-compose", append([]string{"-p", "bottle-" + slug, "-f", file}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("docker-compose %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	compose("config", "-q")
	if out := compose("ps"); !strings.Contains(out, "bottle-"+slug+"-agent-1") || !strings.Contains(out, "bottle-"+slug+"-egress-1") || strings.Count(out, "Up") != 3 {
		t.Errorf("ps: %s", out)
	}
	compose("down")
	all := r.Bottles()
	if len(all) != 1 || all[0].Status != bottle.Lost {
		t.Errorf("after down it is %+v", all)
	}
	// The volumes are still there, and the work in them.
	if _, said, code := r.Run("bottle-stop", slug); code != 0 {
		t.Errorf("bottle-stop ended with %d: %s", code, said)
	}
	wantNothing(t, r)
}

func TestRmReturnsTheAgentsExitCode(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Write("bottles/dev.md", "---\n---\n")
	r.Write("agents/dev.md", "---\nbottle: dev\nprogram: {command: [sh, -c, 'exit 7']}\n---\n")
	_, said, code := r.Run("bottle-start", "--yes", "--rm", "--workspace", "none", "dev")
	if code != 7 {
		t.Errorf("ended with %d: %s", code, said)
	}
	wantNothing(t, r)
}

func TestAnInterruptedStartLeavesNothing(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	cmd := r.Command(context.Background(), "bottle-start", "--yes", "--detach", "--workspace", "none", "dev")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// A watcher tells when it is being made.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	watch := r.Command(ctx, "bottle-ls", "--watch", "-o", "tsv")
	lines, err := watch.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Start(); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1)
	if _, err := lines.Read(buf); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	cancel()
	watch.Wait()
	if code := cmd.ProcessState.ExitCode(); code != 130 && code != 0 {
		t.Errorf("ended with %d", code)
	}
	if cmd.ProcessState.ExitCode() == 130 {
		wantNothing(t, r)
	}
}

func TestKeepKeepsWhateverTheClockSays(t *testing.T) {
	t.Parallel()
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	clockSetBack(t, r, slug)
	out, said, code := r.Run("bottle-stop", "--keep", slug)
	if code != 0 || !strings.Contains(out, `"kept":true`) {
		t.Errorf("ended with %d: %s%s", code, out, said)
	}
	if all := r.Bottles(); len(all) != 1 || all[0].Status != bottle.Stopped {
		t.Errorf("listed as %+v", all)
	}
	if _, err := os.Stat(filepath.Join(r.Home, "state", slug, ".preserve")); err != nil {
		t.Error(err)
	}
	if _, said, code := r.Run("bottle-attach", slug, "--", "true"); code == 0 {
		t.Errorf("a stopped bottle was attached: %s", said)
	}
	if _, said, code := r.Run("bottle-stop", slug); code != 0 {
		t.Errorf("the stop of a kept bottle ended with %d: %s", code, said)
	}
	wantNothing(t, r)
}

// A bottle that was made by a clock ahead of today's is a bottle all the same.
func clockSetBack(t *testing.T, r *rig.Rig, slug string) {
	t.Helper()
	path := filepath.Join(r.Home, "state", slug, "metadata.json")
	data := readFile(t, path)
	i := strings.Index(data, `"started_at": "`) + len(`"started_at": "`)
	if err := os.WriteFile(path, []byte(data[:i]+"2099"+data[i+4:]), 0o600); err != nil {
		t.Fatal(err)
	}
	if all := r.Bottles(); len(all) != 1 || all[0].Status != bottle.Running || all[0].StartedAt.Year() != 2099 {
		t.Errorf("listed as %+v", all)
	}
	if out, said, code := r.Run("bottle-stop", "--orphans", "--dry-run"); out != "" || code != 0 {
		t.Errorf("the reaper would take %s%s", out, said)
	}
}
