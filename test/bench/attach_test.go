package bench

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/creack/pty"

	"bottle/test/rig"
)

// drawn runs a command on a terminal until text is on it.
func drawn(t *testing.T, cmd *exec.Cmd, text string) {
	t.Helper()
	cmd.Env = append(cmd.Env, "TERM=xterm-256color")
	tty, err := pty.StartWithSize(cmd, &pty.Winsize{Rows: 24, Cols: 90})
	if err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer tty.Close()
	defer cmd.Process.Kill()
	if err := tty.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	var seen []byte
	for buf := make([]byte, 32<<10); !bytes.Contains(seen, []byte(text)); {
		n, err := tty.Read(buf)
		if seen = append(seen, buf[:n]...); err != nil {
			t.Fatalf("no %q in %q: %v", text, seen, err)
		}
	}
}

// From the command line to the session's screen, against the engine's own client
// that opens a terminal there and draws as much.
func TestReattachAgainstDockerExec(t *testing.T) {
	long(t)
	rounds, _ := size()
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev", "--task", "echo marked-$((40+2))")
	ours, theirs := &timing{name: "bottle-attach, until the screen is there"}, &timing{name: "docker exec -it, until a line is there"}
	for range rounds * 2 {
		ours.run(t, func() { drawn(t, r.Command(context.Background(), "bottle-attach", slug), "marked-42") })
		theirs.run(t, func() {
			cmd := exec.Command("docker", "exec", "-it", fmt.Sprintf("bottle-%s-agent-1", slug), "echo", "marked-42")
			cmd.Env = os.Environ()
			drawn(t, cmd, "marked-42")
		})
	}
	report(ours, theirs)
}
