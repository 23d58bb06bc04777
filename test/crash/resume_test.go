package crash

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// lived is a bottle whose attach, stop and resume are killed, and what it said was
// done: of that nothing may be lost.
type lived struct {
	*arena
	slug  string
	acked []string // lines of /work/acked that were acknowledged
}

func TestKilledAttachStopAndResumeLoseNothingThatWasAcknowledged(t *testing.T) {
	t.Parallel()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", s)
	l := &lived{arena: &arena{Rig: repository(t, rig.New(t)), t: t, dice: rand.New(rand.NewPCG(s, 1)), work: map[string]string{}, kills: map[string]int{}}}
	l.Agent("dev")
	l.begin()
	defer func() { t.Logf("killed: %v", l.kills) }()
	for n := range *rounds {
		switch n % 3 {
		case 0:
			l.killAttach(n)
		case 1:
			l.killResume(n)
		case 2:
			l.killStop(n)
		}
		if n%10 == 9 {
			l.reap()
		}
		if t.Failed() {
			t.Fatalf("in round %d", n)
		}
	}
	if l.slug != "" {
		l.end()
	}
	l.stopAll()
	for _, program := range []string{"bottle-attach", "bottle-stop", "bottle-start --resume"} {
		if l.kills[program] == 0 {
			t.Errorf("no %s was killed while it ran: the test shows nothing", program)
		}
	}
}

func (l *lived) begin() { l.slug, l.acked = l.Start("dev", "--workspace", "copy"), nil }

// end stops the bottle, and sees that all that was acknowledged is in its bundle.
func (l *lived) end() {
	l.t.Helper()
	if out, said, code := l.Run("bottle-stop", l.slug); code != 0 {
		l.t.Fatalf("bottle-stop ended with %d: %s%s", code, out, said)
	}
	l.wantWork()
}

func (l *lived) wantWork() {
	l.t.Helper()
	bundle := filepath.Join(l.Home, "history", l.slug, "work.bundle")
	git(l.t, l.Dir, "-c", "transfer.fsckObjects=true", "fetch", "-q", "--no-tags", bundle, "+refs/heads/*:refs/heads/bottle/"+l.slug+"/*")
	got := ""
	if len(l.acked) > 0 {
		got = git(l.t, l.Dir, "show", "bottle/"+l.slug+"/wip:acked")
	}
	for _, line := range l.acked {
		if !slices.Contains(strings.Split(got, "\n"), line) {
			l.t.Errorf("%q was acknowledged, and the work of %s is %q", line, l.slug, got)
		}
	}
	l.slug = ""
}

// killAttach kills a command that does something and says so.
func (l *lived) killAttach(n int) {
	l.t.Helper()
	line := fmt.Sprintf("line %d", n)
	cmd := l.Command(l.t.Context(), "bottle-attach", l.slug, "--", "sh", "-c", "echo '"+line+"' >>/work/acked && echo done && sleep 0.1")
	var out bytes.Buffer
	cmd.Stdout = &out
	l.killed(cmd, "bottle-attach", attachTime)
	if strings.Contains(out.String(), "done") {
		l.acked = append(l.acked, line)
	}
}

// killResume stops the bottle in one of the ways there are, and kills its resume;
// the next one does it.
func (l *lived) killResume(n int) {
	l.t.Helper()
	names := []string{"bottle-" + l.slug + "-agent-1", "bottle-" + l.slug + "-egress-1"}
	switch n / 3 % 4 {
	case 0:
		if _, said, code := l.Run("bottle-stop", "--keep", l.slug); code != 0 {
			l.t.Fatalf("bottle-stop --keep ended with %d: %s", code, said)
		}
	case 1:
		l.Docker("kill", names[0], names[1])
	case 2:
		l.DropContainers(l.slug)
		l.Docker("network", "rm", "bottle-"+l.slug+"_inner")
	case 3:
		l.Docker("kill", names[1])
	}
	l.killed(l.Command(l.t.Context(), "bottle-start", "--resume", l.slug), "bottle-start --resume", resumeTime)
	l.wantTruth()
	l.resumed()
}

func (l *lived) resumed() {
	l.t.Helper()
	if out, said, code := l.Run("bottle-start", "--resume", l.slug); code != 0 {
		l.t.Fatalf("the next resume of %s ended with %d: %s%s", l.slug, code, out, said)
	}
	if all := l.Bottles(); len(all) != 1 || all[0].Status != bottle.Running || all[0].Reason != "" {
		l.t.Fatalf("resumed, it is listed as %+v", all)
	}
	l.wantTruth()
}

// wantTruth fails where the bottle is not listed as what it is.
func (l *lived) wantTruth() {
	l.t.Helper()
	all := l.Bottles()
	if len(all) != 1 {
		l.t.Fatalf("listed as %+v", all)
	}
	switch b := all[0]; b.Status {
	case bottle.Running:
		// What a killed stop asked of the engine may be under way: for as long as a
		// container ends, it is listed as running and takes no command.
		for began := time.Now(); ; {
			_, said, code := l.Run("bottle-attach", "--peek", b.Slug)
			if now := l.Bottles(); code == 0 || len(now) == 1 && now[0].Status != bottle.Running {
				break
			}
			if time.Since(began) > rig.Patience {
				l.t.Errorf("it is listed as running, and its session does not live: %s", said)
				break
			}
		}
	case bottle.Degraded, bottle.Stopped, bottle.Lost:
		if b.Reason == "" {
			l.t.Errorf("no reason is given: %+v", b)
		}
	default:
		l.t.Errorf("listed as %+v", b)
	}
}

// killStop kills a stop. What is left of the bottle is resumed where it can be,
// and stopped where it cannot.
func (l *lived) killStop(int) {
	l.t.Helper()
	l.killed(l.Command(l.t.Context(), "bottle-stop", l.slug), "bottle-stop", stopTime)
	if !slices.Contains(entries(l.t, l.Home, "state"), l.slug) {
		l.wantWork()
		l.begin()
		return
	}
	l.wantTruth()
	_, said, code := l.Run("bottle-start", "--resume", l.slug)
	switch {
	case code == 0:
		l.wantTruth()
	case code == 1 && strings.Contains(said, "its volumes are gone"):
		l.end()
		l.begin()
	default:
		l.t.Fatalf("after a killed stop a resume ended with %d: %s", code, said)
	}
}
