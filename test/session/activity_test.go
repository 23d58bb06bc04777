package session

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/test/rig"
)

// until waits until there holds.
func until(t *testing.T, what string, there func() bool) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := rig.Patient(t)
	defer cancel()
	for !there() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("in %v, not: %s", rig.Patience, what)
		}
	}
}

func screen(r *rig.Rig, slug string) string {
	out, _, _ := r.Run("bottle-attach", "--peek", slug)
	return out
}

func TestATaskAndWhatIsSentLandInTheLivingSession(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	cmd := r.Command(t.Context(), "bottle-start", "--yes", "--detach", "--workspace", "none", "dev", "--task", "-")
	cmd.Stdin = strings.NewReader("echo first-$((40+2)) \\\n 'a b' \"c\"\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	slug := strings.TrimSpace(string(out))
	until(t, "the task is done", func() bool { return strings.Contains(screen(r, slug), "first-42 a b c") })
	record, err := os.ReadFile(filepath.Join(r.Home, "state", slug, "session.json"))
	if err != nil || strings.Contains(string(record), "first-") {
		t.Errorf("a later session would do it again: %s %v", record, err)
	}
	if _, said, code := r.Run("bottle-attach", slug, "echo sent-$((1+1))\x1b[2J", "--send"); code != 0 {
		t.Fatalf("--send ended with %d: %s", code, said)
	}
	until(t, "what was sent is done", func() bool { return strings.Contains(screen(r, slug), "sent-2[2J") })
	if _, said, code := r.Run("bottle-attach", "--send", slug, ""); code != 2 || !strings.Contains(said, "there is no text to send\nhint: ") {
		t.Errorf("--send of nothing ended with %d: %s", code, said)
	}
	piped := r.Command(t.Context(), "bottle-attach", "--send", slug, "-")
	piped.Stdin = strings.NewReader("exit 3\n")
	if out, err := piped.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	until(t, "it exited", func() bool { return r.Bottles()[0].Activity == "exited" })
	if _, said, code := r.Run("bottle-attach", "--send", slug, "x"); code != 6 || !strings.Contains(said, "does not live") {
		t.Errorf("sent to nobody: %d %s", code, said)
	}
}

func TestActivityIsInListingsAndReachesWatchers(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	if table, _, _ := r.Run("bottle-ls", "-o", "table"); !strings.Contains(table, "ACTIVITY") || !strings.Contains(table, "idle ") {
		t.Errorf("the table: %s", table)
	}
	lines, end := r.Watch(t.Context())
	defer end()
	told := func(want string) time.Time {
		t.Helper()
		for {
			var b struct {
				Activity string    `json:"activity"`
				Since    time.Time `json:"activity_since"`
			}
			if err := lines.Decode(&b); err != nil {
				t.Fatalf("nobody told of %s: %v", want, err)
			}
			if b.Activity == want {
				return b.Since
			}
		}
	}
	told("idle")
	// A shell has no hooks: its title and its bell tell.
	for _, c := range []struct{ command, want string }{
		{`printf '\033]2;busy\007'`, "working"}, {`printf '\a'`, "waiting"}, {`printf '\033]2;busy again\007'`, "working"}, {"exit", "exited"},
	} {
		if _, said, code := r.Run("bottle-attach", "--send", slug, c.command); code != 0 {
			t.Fatalf("--send ended with %d: %s", code, said)
		}
		since := told(c.want)
		t.Logf("%s was told %d ms after it was so", c.want, time.Since(since).Milliseconds())
	}
	if b := r.Bottles()[0]; b.Status != "running" || b.Activity != "exited" || b.ActivitySince.IsZero() {
		t.Errorf("at last: %+v", b)
	}
}

// What the agent may write on the host is one file, of which no more is read
// than a word.
func nothingIsPlantedBesideTheActivity(t *testing.T, r *rig.Rig, slug string) {
	const tries = `cd /var/lib/bottle || exit 9
for try in 'touch x' 'mkdir x' 'mkfifo x' 'ln -s /etc/passwd x' 'ln activity x' 'mv activity x' 'rm activity' 'chmod 600 activity' 'touch -d 2001-01-01 activity' 'chmod 777 .'; do
  $try 2>/dev/null && echo "$try"
done; echo tried; printf 'working                        \n' >activity`
	if out, said, code := r.Inside(slug, "sh", "-c", tries); code != 0 || out != "tried\n" {
		t.Errorf("%d %s%s", code, out, said)
	}
	if b := r.Bottles()[0]; b.Activity != "working" {
		t.Errorf("its own word is %q: the test proves nothing", b.Activity)
	}
	r.Inside(slug, "sh", "-c", `head -c 100000 /dev/zero >/var/lib/bottle/activity`)
	if b := r.Bottles()[0]; b.Activity != "" || b.Status != "running" {
		t.Errorf("%+v", b)
	}
}

// What was recorded of a bottle is no condition for looking at it.
func bottleWithoutRecords(t *testing.T, r *rig.Rig, slug string) {
	for _, name := range []string{"state/" + slug + "/metadata.json", "agents/dev.md"} {
		r.Write(name, "{")
	}
	v := attach(t, r, slug)
	v.sees("$ ")
	v.types("exit\r")
	v.sees("ended with exit code 0")
	v.ends()
	again := attach(t, r, slug)
	again.sees("$ ")
	again.types("\x11\x11")
	if code := again.ends(); code != 0 {
		t.Errorf("a session in the place of one that ended: %d", code)
	}
}

func TestAnImageIsMadeAnewWhereThatIsAsked(t *testing.T) {
	r := rig.New(t)
	r.Agent("dev")
	r.Write("agents/dev.Dockerfile", "FROM bottle\nRUN date +%s.%N >/made\n")
	made := func(flags ...string) string {
		t.Helper()
		slug := r.Start("dev", flags...)
		out, said, code := r.Inside(slug, "cat", "/made")
		if code != 0 {
			t.Fatal(said)
		}
		return out
	}
	first := made()
	if second := made(); second != first {
		t.Error("without --rebuild it was made anew")
	}
	if third := made("--rebuild"); third == first {
		t.Error("with --rebuild the image is the old one")
	}
}
