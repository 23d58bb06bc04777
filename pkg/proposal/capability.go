package proposal

import (
	"errors"
	"fmt"
	"strings"

	"bottle/pkg/bottle"
	"bottle/pkg/dockerfile"
)

// capabilityBlock is an agent's request for another image.
type capabilityBlock struct{}

func (capabilityBlock) source(*bottle.Proposal) string { return Supervise }

func (capabilityBlock) check(p *bottle.Proposal) error {
	if p.Capability == nil {
		return errors.New("it holds no Dockerfile")
	}
	if _, err := dockerfile.Parse(p.Capability.Dockerfile); err != nil {
		return err
	}
	if p.Justification == "" {
		return errors.New("a justification is needed: what is needed, and for what?")
	}
	return nil
}

func (capabilityBlock) summary(p *bottle.Proposal) string {
	var steps []string
	parsed, _ := dockerfile.Parse(p.Capability.Dockerfile) // checked before
	for _, s := range parsed {
		steps = append(steps, string(s.Op))
	}
	return fmt.Sprintf("another image: FROM, %s", strings.Join(steps, ", "))
}

func (capabilityBlock) approve(c *Change, p *bottle.Proposal, in Context) error {
	if in.Terms.Uses > 0 || in.Terms.For != nil {
		return errors.New("an image is for the bottle's life: it has neither uses nor an end")
	}
	c.Dockerfile, c.Diff = p.Capability.Dockerfile, plus(p.Capability.Dockerfile)
	return nil
}

// plus puts a "+" before each line.
func plus(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		b.WriteString("+" + strings.TrimSuffix(line, "\n") + "\n")
	}
	return b.String()
}

func (capabilityBlock) reject(*Change, *bottle.Proposal) {}
