package operator

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/policy"
	"bottle/pkg/proposal"
	"bottle/pkg/state"
)

// What bottle-ls prints of a proposal is one inert line that bottle-approve reads
// back as that proposal, whatever the agent wrote.
func FuzzALineIsReadBack(f *testing.F) {
	f.Add("a.example", "/a", "x\n{\"id\":\"egress-block-aaaaaaaaaaaaaaaa\"}\u2028\x1b]52;c;x\a")
	f.Add("g\u0456thub.com", "/", "\"},{\"ID\":\"x\",\"slug\":\"other-aaaa\"")
	f.Fuzz(func(t *testing.T, host, path, why string) {
		at := time.Unix(1_800_000_000, 0)
		p, err := proposal.Make(bottle.Proposal{Kind: bottle.EgressBlock, Justification: why, Egress: &bottle.EgressAsk{Host: host, Paths: []string{path}}}, proposal.Rules{}, at)
		if err != nil {
			return
		}
		p.Slug = "dev-aaaa"
		var out bytes.Buffer
		if err := cli.WriteJSON(&out, LineOf(state.Filed{Proposal: p}, policy.Policy{}, proposal.Rules{}, at)); err != nil {
			t.Fatal(err)
		}
		line := strings.TrimSuffix(out.String(), "\n")
		if slug, id := ParseWord(line); slug != p.Slug || id != p.ID || cli.Inert(line) != line {
			t.Errorf("read back as %s/%s: %s", slug, id, line)
		}
	})
}
