package dash

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Who shows an agent's screen, or a log, may be told more than anybody reads.
func TestWhatAProgramSaysIsKeptToABound(t *testing.T) {
	d := finish(t.Context(), Run{Argv: []string{"head", "-c", fmt.Sprint(maxOutput + 1<<20), "/dev/zero"}})
	if len(d.Out) != maxOutput || d.Err != "" {
		t.Errorf("%d bytes, %q", len(d.Out), d.Err)
	}
}

// S2–S4, S18: what agents wrote is drawn as text, and reaches no command line.
func TestHostileTextIsInert(t *testing.T) {
	evil := "\x1b]52;c;eA==\a\r\x9b2J\u202e\u200b#(touch /tmp/x)#{pid}"
	p := map[string]any{"id": "egress-block-a", "slug": "dev-aaaa", "summary": evil, "kind": evil, "justification": evil, "diff": evil,
		"agent": evil, "proposed": map[string]any{"host": "xn--pypal-4ve.com", "x": evil}, "created_at": noon}
	line, _ := json.Marshal(p)
	q, err := DecodeProposal(line)
	if err != nil {
		t.Fatal(err)
	}
	b := busy(t, "%0").after(0, q).keys("tab", "g")
	b.lists[proposals].move(b.proposalKeys(), slices.Index(b.proposalKeys(), q.key()))
	for _, size := range []Resize{{80, 24}, {200, 50}, {40, 10}, {1, 1}} {
		b.after(0, size)
		for _, show := range []string{"", "enter"} {
			if show != "" {
				b.keys(show)
			}
			for _, c := range b.View().Cells {
				if c.Ch != 0 && (c.Ch < ' ' || c.Ch >= 0x7f && c.Ch < 0xa0 || c.Ch == 0x202e || c.Ch == 0x200b) {
					t.Fatalf("%v: %U is drawn", size, c.Ch)
				}
			}
		}
		b.keys("esc")
	}
	b.after(0, Resize{160, 24}).shows("LOOKALIKE?")
	for _, e := range b.done {
		if r, ok := e.(Run); ok && strings.Contains(strings.Join(r.Argv, " "), "touch") {
			t.Errorf("it reaches %q", r.Argv)
		}
	}
	for _, bad := range []string{`{"id":"../x","slug":"a"}`, `{"id":"--reject","slug":"a"}`, `{"id":"a","slug":"#(id)"}`, `{"id":"a\u0000","slug":"a"}`, `{`} {
		if _, err := DecodeProposal([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// A push is read line by line; no line of it passes for another.
func TestCommitsAndDiffstatOfAPushAreShownAsLines(t *testing.T) {
	p, err := DecodeProposal([]byte(`{"id":"git-push-a","slug":"dev-aaaa","kind":"git-push","summary":"push to origin: refs/heads/work","proposed":{
		"remote":"origin","updates":[{"ref":"refs/heads/work","old":"00","new":"11"}],
		"commits":["1111111 ada: one\nwhat approval changes","2222222 ada: \u001b]52;c;x\u0007two"],
		"diffstat":" a.go | 2 +-\n b\u001b[2J.go | 1 +\n","more":"<kept>"},"diff":"+refs/heads/work 00..11\n"}`))
	if err != nil {
		t.Fatal(err)
	}
	b := start(t, "").after(0, anAgent(0, "dev-aaaa", ""), Known{[]Proposal{p}}, Resize{120, 50}).keys("tab", "enter")
	for _, line := range []string{"commits", `  1111111 ada: one\x0awhat approval changes`, `  2222222 ada: \x1b]52;c;x\x07two`, "diffstat", "   a.go | 2 +-", `   b\x1b[2J.go | 1 +`,
		"asked for", `    "more": "<kept>",`, `        "ref": "refs/heads/work"`} {
		b.shows("│" + line)
	}
	b.hides(`\n`)
	b.hides(`"diffstat"`)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"egress-block-a","slug":"dev-aaaa","proposed":{"host":"x"}}`), []byte(`{"slug":"dev-aaaa","services":["agent"]}`))
	f.Add([]byte(`{"id":"git-push-a","slug":"dev-aaaa","proposed":{"commits":["a\nb"],"diffstat":"a\n\u001b"}}`), []byte(`{"slug":"dev-aaaa"}`))
	f.Fuzz(func(t *testing.T, proposal, agent []byte) {
		s := New("%0")
		if a, err := DecodeAgent(agent); err == nil {
			s.Update(noon, a)
		}
		if p, err := DecodeProposal(proposal); err == nil {
			s.Update(noon, Known{[]Proposal{p}})
			s.Update(noon, Key("tab"))
			s.Update(noon, Key("enter"))
		}
		for _, c := range s.View().Cells {
			if c.Ch != 0 && c.Ch < ' ' || c.Ch == 0x1b || c.Ch == 0x9b {
				t.Fatalf("%U is drawn", c.Ch)
			}
		}
	})
}

func BenchmarkFrame(b *testing.B) {
	s := New("")
	for n := range 50 {
		s.Update(noon, anAgent(n, fmt.Sprintf("dev-%04d", n), "working"))
	}
	var k Known
	for n := range 1000 {
		k.Proposals = append(k.Proposals, aProposal(b, n, fmt.Sprintf("dev-%04d", n%50), "one.example.com"))
	}
	s.Update(noon, k)
	s.Update(noon, Resize{120, 40})
	for b.Loop() {
		s.Update(noon, Key("j"))
		s.View()
	}
}
