package escape

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/test/rig"
)

// secretBottle has values behind references of all kinds: one for the agent
// itself, three for egress.
const secretBottle = `---
env:
  STAGE_KEY: ${STAGE_KEY}
  EDITOR: vi
egress:
  routes:
    - {host: env.test, auth: {scheme: Bearer, token_ref: OPERATORS_TOKEN}}
    - {host: file.test, auth: {header: x-api-key, token_ref: "file:FOLDER/token"}}
  credentials:
    docs: {scheme: Basic, token_ref: "cmd:cat FOLDER/token", hosts: [docs.test]}
---
`

// secrets is S19: what the agent is given may be in its session's environment
// and nowhere else, what is behind a token_ref nowhere at all.
func secrets(t *testing.T, _ *stage) {
	r := rig.New(t)
	secret := rand.Text() // in all of the values
	began := time.Now()
	r.Agent("dev")
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "token"), []byte("ada:token-"+secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Write("bottles/dev.md", strings.ReplaceAll(secretBottle, "FOLDER", folder))
	r.Env = []string{"STAGE_KEY=stage-" + secret, "OPERATORS_TOKEN=token-" + secret}
	plan, said, code := r.Run("bottle-start", "--dry-run", "-o", "json", "dev")
	if code != 0 {
		t.Fatalf("no plan: %s", said)
	}
	watched := watchCommandLines(t, secret)
	slug := r.Start("dev")
	if seen := watched(); seen != "" {
		t.Errorf("while it started, a command line held the secret: %.300s", seen)
	}
	r.Env = nil
	if out, said, _ := r.Inside(slug, "printenv", "STAGE_KEY"); strings.TrimSpace(out) != "stage-"+secret {
		t.Fatalf("the session does not have the secret either: %q %s", out, said)
	}
	if out, _, _ := r.Inside(slug, "env"); strings.Contains(out, "token-") {
		t.Errorf("the session's environment has what is behind a token_ref: %s", out)
	}
	places := map[string]string{
		"the plan":                    plan,
		"the container's environment": r.Docker("exec", agentOf(slug), "env"),
		"docker inspect":              r.Docker("inspect", agentOf(slug), egressOf(slug)),
		"the logs":                    r.Docker("logs", agentOf(slug)) + r.Docker("logs", egressOf(slug)),
		"the engine's events":         r.Docker("events", "--since", began.Format(time.RFC3339), "--until", time.Now().Format(time.RFC3339)),
		"the command lines":           processFiles(t, "cmdline", nil),
		"egress' files":               searchRoot(t, r, egressOf(slug), secret),
		"egress' environment":         processFiles(t, "environ", func(comm string) bool { return comm == "bottle-egress" }),
		"the agent's files":           searched(t, "docker", "exec", agentOf(slug), "sh", "-c", `grep -rlF -e "$1" / --exclude-dir=proc --exclude-dir=sys --exclude-dir=dev 2>/dev/null`, "sh", secret[:20]),
		"$BOTTLE_HOME":                searched(t, "grep", "-rlF", "-e", secret, r.Home),
		"the engine's disk":           searchEngine(t, r, slug, secret),
	}
	for place, text := range places {
		if strings.Contains(text, secret) || strings.HasPrefix(text, found) {
			t.Errorf("the secret is in %s: %.300s", place, text)
		}
	}
	// The searches can find: a file that holds it.
	r.Docker("exec", agentOf(slug), "sh", "-c", "printf %s '"+secret+"' >/home/agent/leak")
	if got := searchEngine(t, r, slug, secret); os.Getuid() == 0 && !strings.Contains(got, "leak") {
		t.Errorf("the engine's disk is searched in vain: %q", got)
	}
}

// watchCommandLines looks at all command lines, over and over, until the
// function that it returns is called, which tells the one that held the secret.
func watchCommandLines(t *testing.T, secret string) func() string {
	t.Helper()
	stop, result := make(chan struct{}), make(chan string, 1)
	go func() {
		for {
			lines := processFiles(t, "cmdline", nil)
			if i := strings.Index(lines, secret); i >= 0 {
				result <- lines[max(0, i-100):i]
				return
			}
			select {
			case <-stop:
				result <- ""
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	}()
	return func() string {
		close(stop)
		return <-result
	}
}

// found begins the answer of a search that found something.
const found = "found in "

// searched runs a search and returns what it named.
func searched(t *testing.T, argv ...string) string {
	t.Helper()
	out, err := exec.Command(argv[0], argv[1:]...).Output()
	if names := strings.TrimSpace(string(out)); names != "" {
		return found + names
	}
	// grep ends with 1 where it found nothing, and with 2 where it could not read.
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() > 2 {
		t.Errorf("%s did not search: %v", argv[0], err)
	}
	return ""
}

// processFiles reads one file of all processes of the machine.
func processFiles(t *testing.T, name string, which func(comm string) bool) string {
	t.Helper()
	list, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	read := 0
	for _, dir := range list {
		comm, err := os.ReadFile(filepath.Join(dir, "comm"))
		if err != nil || which != nil && !which(strings.TrimSpace(string(comm))) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			read++
			all.Write(data)
		}
	}
	if read == 0 {
		t.Errorf("no process' %s was read", name)
	}
	return all.String()
}

// searchRoot looks through all files that a container without a shell sees.
// Only root may.
func searchRoot(t *testing.T, r *rig.Rig, container, secret string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("a container's files can be searched from outside by root only")
		return ""
	}
	root := "/proc/" + strings.TrimSpace(r.Docker("inspect", "-f", "{{.State.Pid}}", container)) + "/root/"
	return searched(t, "grep", "-rlF", "-e", secret, "--exclude-dir=proc", "--exclude-dir=sys", "--exclude-dir=dev", root)
}

// searchEngine looks through what the engine has on disk of a bottle: its
// records, volumes, and the containers' own layers. Only root may.
func searchEngine(t *testing.T, r *rig.Rig, slug, secret string) string {
	t.Helper()
	if os.Getuid() != 0 {
		t.Log("the engine's disk can be searched by root only")
		return ""
	}
	root := strings.TrimSpace(r.Docker("info", "-f", "{{.DockerRootDir}}"))
	argv := []string{"grep", "-rlF", "-e", secret}
	for _, dir := range []string{"containers", "volumes", "network"} {
		argv = append(argv, filepath.Join(root, dir))
	}
	for _, c := range []string{agentOf(slug), egressOf(slug)} {
		if upper := strings.TrimSpace(r.Docker("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", c)); strings.HasPrefix(upper, "/") {
			argv = append(argv, upper)
		}
	}
	return searched(t, argv...)
}
