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

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"id":"egress-block-a","slug":"dev-aaaa","proposed":{"host":"x"}}`), []byte(`{"slug":"dev-aaaa","services":["agent"]}`))
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
