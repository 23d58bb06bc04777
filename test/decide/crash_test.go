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
	acked map[string]bool // decided, as a program told that was not killed
	most  time.Duration   // how long a program takes here, about: the moments are drawn from it
	n     int
	hit   int // programs that were killed while they ran
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
	a := &arena{Rig: r, t: t, dice: rand.New(rand.NewPCG(s, 0)), slug: r.Start("dev"), acked: map[string]bool{}}
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
	t.Logf("killed while they ran: %d of %d", a.hit, *kills)
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
	switch a.dice.IntN(12) {
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
	default:
		a.kill("bottle-approve", some, last)
	}
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
	} else {
		a.most = min(a.most, max(time.Since(began)*5/4, 20*time.Millisecond)) // the machine is less busy than it was
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
	state := filepath.Join(a.Home, "state", a.slug)
	listed, said, code := a.Run("bottle-ls", "proposals")
	if code != 0 || said != "" {
		a.t.Errorf("bottle-ls ended with %d: %s", code, said)
	}
	if _, err := os.Lstat(filepath.Join(state, "change.json")); err == nil {
		a.t.Error("a change is left half done")
	}
	granted, sum := a.policy(state)
	recorded, ended := a.records()
	for _, id := range a.filed {
		waits := strings.Contains(listed, `"id":"`+id+`"`)
		data, err := os.ReadFile(filepath.Join(state, "supervise/in/decisions", id+".json"))
		decided := err == nil
		switch {
		case waits == decided:
			a.t.Errorf("%s waits: %v, is decided: %v", id, waits, decided)
		case a.acked[id] && !decided:
			a.t.Errorf("%s was acknowledged and is not decided", id)
		case recorded[id] > 1 || decided && recorded[id] != 1 || !decided && recorded[id] != 0:
			a.t.Errorf("%s is decided: %v, and has %d records", id, decided, recorded[id])
		case !decided && granted[id]:
			a.t.Errorf("%s waits and is in force", id)
		}
		if !decided {
			continue
		}
		d := rig.Decode[bottle.Decision](a.t, string(data))
		if in := d.Grant != nil && !ended[id]; in != granted[id] {
			a.t.Errorf("%s: it was granted: %v, it is in force: %v", id, in, granted[id])
		}
	}
	applied, err := os.ReadFile(filepath.Join(state, "egress/out/applied.json"))
	if err != nil {
		a.t.Fatal(err)
	}
	if got := rig.Decode[bottle.Applied](a.t, string(applied)); got.SHA256 != sum {
		a.t.Errorf("in force is %s, and on the disk %s", got.SHA256, sum)
	}
	if _, said, code := a.Run("bottle-log", "--verify"); code != 0 {
		a.t.Errorf("the chain: %d %s", code, said)
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

// records counts the decisions in the log, and which grants were revoked.
func (a *arena) records() (decided map[string]int, revoked map[string]bool) {
	a.t.Helper()
	text, err := os.ReadFile(filepath.Join(a.Home, "audit.jsonl"))
	if err != nil {
		a.t.Fatal(err)
	}
	decided, revoked = map[string]int{}, map[string]bool{}
	for line := range strings.Lines(string(text)) {
		r := rig.Decode[struct{ Kind, Proposal, Grant string }](a.t, line)
		switch r.Kind {
		case "decision":
			decided[r.Proposal]++
		case "revoke":
			revoked[r.Grant] = true
		}
	}
	return decided, revoked
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
