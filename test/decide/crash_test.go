package decide

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"gopkg.in/yaml.v3"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

var (
	kills = flag.Int("kills", 40, "how many programs and sidecars are killed; 10000 for the long run")
	seed  = flag.Uint64("seed", 0, "of the random moments; 0: a new one")
)

// arena is a bottle whose deciders are killed, and what is known of it.
type arena struct {
	*rig.Rig
	t     *testing.T
	dice  *rand.Rand
	slug  string
	filed []string
	// Another bottle's agent asks itself, and its supervise is killed.
	asking string
	asked  []string
	acked  map[string]bool // decided, as a program told that was not killed
	most   time.Duration   // how long a program takes here, about: the moments are drawn from it
	n      int
	hit    int // programs that were killed while they ran
}

func TestKilledDecidersLoseNothingAndDecideNothingTwice(t *testing.T) {
	t.Parallel()
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", s)
	r := rig.New(t)
	r.Agent("dev")
	a := &arena{Rig: r, t: t, dice: rand.New(rand.NewPCG(s, 0)), slug: r.Start("dev"), asking: r.Start("dev"), acked: map[string]bool{}}
	r.Equip(a.asking)
	a.Env = append(a.Env, `EDITOR=sed -i "1a\  - host: edited$RANDOM.example"`)
	began := time.Now()
	a.settle()
	a.most = time.Since(began) * 5 / 4
	for n := range *kills {
		a.round()
		if n%20 == 19 {
			a.sound()
		}
	}
	a.sound()
	t.Logf("%d rounds: %d were killed while they ran", *kills, a.hit)
	if a.hit == 0 {
		t.Error("nothing was killed while it ran: the test shows nothing")
	}
}

func (a *arena) round() {
	for range 1 + a.dice.IntN(2) {
		a.n++
		a.filed = append(a.filed, file(a.Rig, a.slug, host(fmt.Sprintf("h%d.example", a.n))))
	}
	some := a.filed[a.dice.IntN(len(a.filed))]
	last := a.filed[len(a.filed)-1]
	switch a.dice.IntN(13) {
	case 0:
		a.kill("bottle-ls", "proposals")
	case 1:
		a.kill("bottle-ls", "grants")
	case 2:
		a.kill("bottle-edit", "--yes", a.slug)
	case 3:
		a.kill("bottle-approve", "--reject", last)
	case 4:
		a.kill("bottle-approve", "--revoke", some)
	case 5:
		egress := "bottle-" + a.slug + "-egress-1"
		a.Docker("kill", egress)
		a.hit++
		a.kill("bottle-approve", last)
		a.Docker("start", egress)
		a.settle() // it is asked to reload while it starts
	case 6:
		a.question()
	default:
		a.kill("bottle-approve", some, last)
	}
}

// question is one of an agent's: supervise is killed while the call waits, or as it
// begins to. It comes back with the question that it acknowledged, and the
// agent, which asks again, gets the answer that is recorded.
func (a *arena) question() {
	a.t.Helper()
	a.n++
	arguments := fmt.Sprintf(`{"host":"q%d.example","justification":"x"}`, a.n)
	first := a.Ask(a.asking, "egress-block", arguments)
	acknowledged := ""
	if a.dice.IntN(2) == 0 {
		acknowledged = first.Waits()
	} else {
		<-time.After(time.Duration(a.dice.Int64N(int64(a.most)))) // in the middle of it, by chance
	}
	supervise := "bottle-" + a.asking + "-supervise-1"
	a.Docker("kill", supervise)
	a.hit++
	a.Docker("start", supervise)
	again, id := a.askAgain(arguments)
	if acknowledged != "" && id != acknowledged {
		a.t.Errorf("what was asked as %s came back as %s", acknowledged, id)
	}
	a.asked = append(a.asked, id)
	a.kill("bottle-approve", id)
	if _, said, code := a.Run("bottle-approve", "--reject", id); code != 0 && code != 6 {
		a.t.Errorf("bottle-approve ended with %d: %s", code, said)
	}
	d := a.decision(a.asking, id)
	if d == nil {
		a.t.Fatalf("%s is not decided", id)
	}
	answer := again.Until("answer ")
	if yes := d.Verdict == bottle.Approved; yes != strings.Contains(answer, "approved it") {
		a.t.Errorf("the agent was told %q of %s, which is %s", answer, id, d.Verdict)
	}
}

// askAgain asks until supervise is up, and returns the call and what it waits under.
func (a *arena) askAgain(arguments string) (rig.Call, string) {
	a.t.Helper()
	last := ""
	for range 100 {
		c := a.Ask(a.asking, "egress-block", arguments)
		for line, more := c.Next(); more; line, more = c.Next() {
			if id := rig.Waiting(line); id != "" {
				return c, id
			}
			last = line
		}
	}
	a.t.Fatalf("supervise does not come back: %s", last)
	return rig.Call{}, ""
}

// decision is what was decided; nil: nothing yet.
func (a *arena) decision(slug, id string) *bottle.Decision {
	a.t.Helper()
	data, err := os.ReadFile(filepath.Join(a.Home, "state", slug, "supervise/in/decisions", id+".json"))
	if err != nil {
		return nil
	}
	d := rig.Decode[bottle.Decision](a.t, string(data))
	return &d
}

// kill runs a program and kills it at a random moment; whether it had ended by
// then is chance.
func (a *arena) kill(program string, args ...string) {
	a.t.Helper()
	cmd := a.Command(a.t.Context(), program, args...)
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	began := time.Now()
	timer := time.AfterFunc(time.Duration(a.dice.Int64N(int64(a.most))), func() { cmd.Process.Kill() })
	cmd.Wait() // how it ended is told by its state
	timer.Stop()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		a.hit++
		a.most += a.most / 20 // the machine may be busier than it was
	} else {
		a.most = max(time.Since(began)*5/4, 20*time.Millisecond)
	}
	for line := range strings.Lines(out.String()) {
		if d := (struct{ ID, Verdict string }{}); strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &d) == nil && program == "bottle-approve" {
			a.acked[d.ID] = true
		}
	}
}

// sound lets one more program look, and then holds the disk to what is promised.
func (a *arena) sound() {
	a.t.Helper()
	a.settle()
	listed, said, code := a.Run("bottle-ls", "proposals")
	if code != 0 || said != "" {
		a.t.Errorf("bottle-ls ended with %d: %s", code, said)
	}
	l := a.records()
	a.hold(a.slug, a.filed, listed, l)
	a.hold(a.asking, a.asked, listed, l)
	if strings.Contains(listed, `"slug":"`+a.asking+`"`) {
		a.t.Errorf("a question waits that was asked twice: %s", listed)
	}
	if _, said, code := a.Run("bottle-log", "--verify"); code != 0 {
		a.t.Errorf("the chain: %d %s", code, said)
	}
}

// hold holds one bottle to what is promised of these proposals.
func (a *arena) hold(slug string, ids []string, listed string, l ledger) {
	a.t.Helper()
	state := filepath.Join(a.Home, "state", slug)
	if _, err := os.Lstat(filepath.Join(state, "change.json")); err == nil {
		a.t.Errorf("%s: a change is left half done", slug)
	}
	granted, sum := a.policy(state)
	for _, id := range ids {
		waits := strings.Contains(listed, `"id":"`+id+`"`)
		d := a.decision(slug, id)
		decided := d != nil
		switch {
		case waits == decided:
			a.t.Errorf("%s waits: %v, is decided: %v", id, waits, decided)
		case a.acked[id] && !decided:
			a.t.Errorf("%s was acknowledged and is not decided", id)
		case l.decided[id] > 1 || decided && l.decided[id] != 1 || !decided && l.decided[id] != 0:
			a.t.Errorf("%s is decided: %v, and has %d records", id, decided, l.decided[id])
		case !decided && granted[id]:
			a.t.Errorf("%s waits and is in force", id)
		}
		if !decided {
			continue
		}
		if in := d.Grant != nil && !l.revoked[id]; in != granted[id] {
			a.t.Errorf("%s: it was granted: %v, it is in force: %v", id, in, granted[id])
		}
	}
	applied, err := os.ReadFile(filepath.Join(state, "egress/out/applied.json"))
	if err != nil {
		a.t.Fatal(err)
	}
	if got := rig.Decode[bottle.Applied](a.t, string(applied)); got.SHA256 != sum {
		a.t.Errorf("%s: in force is %s, and on the disk %s", slug, got.SHA256, sum)
	}
}

// settle ends with an approval that egress acknowledged: then it is up, and has
// what is on the disk.
func (a *arena) settle() {
	a.t.Helper()
	for range 100 {
		a.n++
		id := file(a.Rig, a.slug, host(fmt.Sprintf("h%d.example", a.n)))
		a.filed = append(a.filed, id)
		if _, _, code := a.Run("bottle-approve", id); code == 0 {
			a.acked[id] = true
			return
		}
	}
	a.t.Fatal("nothing can be approved any more")
}

// policy returns the grants of the policy on the disk, and its hash.
func (a *arena) policy(state string) (granted map[string]bool, sum string) {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(state, "egress/in/routes.yaml"))
	if err != nil {
		a.t.Fatal(err)
	}
	var p struct{ Grants []struct{ ID string } }
	if err := yaml.Unmarshal(text, &p); err != nil {
		a.t.Fatal(err)
	}
	granted = map[string]bool{}
	for _, g := range p.Grants {
		if granted[g.ID] {
			a.t.Errorf("%s is granted twice", g.ID)
		}
		granted[g.ID] = true
	}
	h := sha256.Sum256(text)
	return granted, hex.EncodeToString(h[:])
}

// ledger is what the log says: decisions by proposal, and grants that were revoked.
type ledger struct {
	decided map[string]int
	revoked map[string]bool
}

func (a *arena) records() ledger {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.Home, "audit.jsonl"))
	if err != nil {
		a.t.Fatal(err)
	}
	l := ledger{map[string]int{}, map[string]bool{}}
	for line := range strings.Lines(string(text)) {
		r := rig.Decode[struct{ Kind, Proposal, Grant string }](a.t, line)
		switch r.Kind {
		case "decision":
			l.decided[r.Proposal]++
		case "revoke":
			l.revoked[r.Grant] = true
		}
	}
	return l
}

func TestNoUseIsGivenTwiceWhileEgressIsKilled(t *testing.T) {
	t.Parallel()
	r, u, slug := docs(t)
	const uses = 12
	if _, said, code := r.Run("bottle-approve", "--uses", fmt.Sprint(uses), file(r, slug, host("docs.example", "/counted"))); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	if got := status(t, r, slug, "https://docs.example/counted"); got != "200" {
		t.Fatalf("granted: %s", got)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.Inside(slug, "sh", "-c", "for i in $(seq 20); do curl -s -o /dev/null --max-time 5 https://docs.example/counted; done")
	}()
	egress := "bottle-" + slug + "-egress-1"
	for range 3 {
		r.Docker("kill", egress)
		r.Docker("start", egress)
	}
	<-done
	arrived := len(u.Heard("/counted"))
	log, err := os.ReadFile(filepath.Join(r.Home, "state", slug, "egress/out/uses.log"))
	if err != nil || arrived == 0 || arrived > uses || strings.Count(string(log), "\n") > uses {
		t.Errorf("%d of %d uses arrived; %v; reserved:\n%s", arrived, uses, err, log)
	}
}
