package agent

import (
	"strings"
	"testing"
)

// An agent reads of pipelock where there is one, and of its tool where it can ask.
func TestWallsTellOfPipelockWhereThereIsOne(t *testing.T) {
	for _, c := range []struct {
		e             Enclosure
		scanner, tool bool
	}{
		{Enclosure{}, false, false},
		{Enclosure{Ask: true}, false, false},
		{Enclosure{Pipelock: true}, true, false},
		{Enclosure{Pipelock: true, Ask: true}, true, true},
	} {
		text, skill := Walls(c.e)
		if got := strings.Contains(string(text), "The second scanner"); got != c.scanner {
			t.Errorf("%+v: the scanner is told of: %v", c.e, got)
		}
		if got := strings.Contains(string(text), "pipelock-block: one host on pipelock's list. Prefer egress-block"); got != c.tool {
			t.Errorf("%+v: the tool is told of: %v", c.e, got)
		}
		if !strings.HasSuffix(string(skill), string(text)) || strings.Contains(string(text), "%!") {
			t.Errorf("%+v:\n%s", c.e, skill)
		}
	}
}
