package dash

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDecisionsAreHandedOverAndTheCursorGoesOn(t *testing.T) {
	b := busy(t, "")
	b.types("aotr").mustRun() // not while agents are focused
	b.shows("Tab into the proposals pane")
	b.keys("tab")
	one, two, three := "dev-aaaa/egress-block-0000000000000001", "web-bbbb/egress-block-0000000000000002", "web-bbbb/egress-block-0000000000000003"
	b.keys("o").answer(Decide, Done{}).shows("approved one.example.com for dev-aaaa, one request")
	b.mustRun("bottle-approve --yes --once " + one)
	b.keys("t")
	b.answer(Decide, Done{Err: "bottle-approve: stale", Code: 6})
	b.mustRun("bottle-approve --yes --for 10m " + two)
	b.shows("bottle-approve: stale")
	b.shows("two.example.com") // it is back
	b.keys("r").types("-no; $(id)").keys("enter").mustRun("bottle-approve --reject --reason=-no; $(id) " + three)
	b.keys("m")
	if r := b.done[len(b.done)-1].(Run); !r.Foreground || strings.Join(r.Argv, " ") != "bottle-approve --edit "+two {
		t.Errorf("%+v", r)
	}
}

func TestAProposalThatArrivesRingsOnceAndTakesTheFocusFromQuietHandsOnly(t *testing.T) {
	for _, c := range []struct {
		name  string
		since time.Duration // the last key, anywhere in the session
		jumps bool
	}{{"quiet", 3 * time.Second, true}, {"typing", 2 * time.Second, false}} {
		b := busy(t, "%0")
		if b.bells() != 0 {
			t.Error("what waited at the start rings")
		}
		b.after(time.Minute, aProposal(t, 9, "api-cccc", "nine.example.com"), aProposal(t, 8, "api-cccc", "eight.example.com"))
		if b.bells() != 1 { // of a burst

			t.Errorf("%d bells", b.bells())
		}
		b.answer(Hands, Done{Out: fmt.Sprintf("%d\n7\n", b.at.Add(-c.since).Unix())})
		b.shows("(new!)")
		selected := b.lists[proposals].selected
		if jumped := b.focus == proposals; jumped != c.jumps || jumped && !strings.HasSuffix(selected, "8") {
			t.Errorf("%s: focus %v on %s", c.name, b.focus, selected)
		}
		b.after(0, aProposal(t, 9, "api-cccc", "nine.example.com"))
		b.after(newFor, Tick{}).hides("(new!)")
	}
	still := busy(t, "%0")
	still.NoJump = true
	still.after(time.Minute, aProposal(t, 9, "api-cccc", "nine.example.com"))
	for _, e := range still.done {
		if r, ok := e.(Run); ok && r.Job == Hands {
			t.Error("the jump is off, and still it asks")
		}
	}
	open := busy(t, "").keys("?").after(time.Minute, aProposal(t, 9, "api-cccc", "nine.example.com"))
	if open.focus == proposals || open.bells() != 1 {
		t.Error("the focus moves under a modal, or the bell is silent")
	}
}

// S15: prose that is typed when a proposal takes the focus decides nothing.
func TestTypedProseDecidesNothing(t *testing.T) {
	b := busy(t, "").after(time.Minute, aProposal(t, 4, "api-cccc", "four.example.com"))
	if b.focus != proposals || !strings.HasSuffix(b.lists[proposals].selected, "4") {
		t.Fatal("there is no jump to be protected from")
	}
	for range 20 { // no pause is a second long
		for _, k := range "a too great rest at last, quite near / Yes tomatoes a o t m r Y" {
			b.after(900*time.Millisecond, Key(string(k)))
		}
	}
	if slices.Contains(b.done, any(Quit{})) || b.modal != nil {
		t.Errorf("typed prose ends it, or opens a box:\n%s", b.View())
	}
	b.mustRun()
}

func TestTheFirstDecisionAfterAJumpWantsACapitalY(t *testing.T) {
	for _, c := range []struct {
		answer string
		want   []string
	}{
		{"y", nil}, {"a", nil}, {"enter", nil}, {"esc", nil},
		{"Y", []string{"bottle-approve --yes --for 10m api-cccc/egress-block-0000000000000004"}},
	} {
		b := busy(t, "").after(time.Minute, aProposal(t, 4, "api-cccc", "four.example.com"))
		b.keys("t")
		b.mustRun()
		b.after(quietKeys-time.Millisecond, Key("t"))
		b.mustRun() // that key, too, was a sign of hands
		b.after(quietKeys, Key("t"))
		b.shows("four.example.com for api-cccc, 10 minutes? [capital Y]")
		b.mustRun()
		b.keys(c.answer)
		b.mustRun(c.want...)
		b.hides("capital Y]")
		if c.want != nil {
			b.keys("a").mustRun("bottle-approve --yes web-bbbb/egress-block-0000000000000003")
		}
	}
}

func TestAKeyOlderThanTheChangeThatItSeemsToAnswerIsDead(t *testing.T) {
	b := busy(t, "").keys("tab")
	gone := aProposal(t, 1, "dev-aaaa", "one.example.com")
	gone.Status = "approved" // by somebody else: another stands under the cursor
	b.after(time.Second, gone)
	b.after(-time.Millisecond, Key("a"))
	b.after(time.Millisecond, Key("o"))
	b.mustRun()
	if !b.dead() {
		t.Error("keys count at once")
	}
}
