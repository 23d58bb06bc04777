package rig

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/proposal"
	"bottle/pkg/spool"
)

// AskerBin is where Equip puts the tests' MCP client (test/asker).
const AskerBin = plan.AgentHome + "/asker"

// SuperviseURL is where an agent finds supervise.
var SuperviseURL = plan.SuperviseURL()

// put puts one of the tests' own programs into a bottle.
func (r *Rig) put(slug, name, to string) error {
	f, err := os.Open(ownProgram(r.t, name))
	if err != nil {
		return err
	}
	defer f.Close()
	cmd := r.Command(r.t.Context(), "bottle-attach", slug, "--", "sh", "-c", `cat >"$0" && chmod 755 "$0"`, to)
	cmd.Stdin = f
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot put %s into %s: %w: %s", name, slug, err, out)
	}
	return nil
}

// Equip puts the tests' MCP client into a bottle.
func (r *Rig) Equip(slug string) {
	r.t.Helper()
	if err := r.put(slug, "asker", AskerBin); err != nil {
		r.t.Fatal(err)
	}
}

// Call is a tool call of an agent's under way.
type Call struct {
	t     testing.TB
	lines chan string
}

// Ask calls a tool of supervise's, by the client that Equip put there. The call
// ends with the test, if not before: what is waited for in its middle may be a build.
func (r *Rig) Ask(slug, tool, arguments string) Call {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 2*Patience)
	r.t.Cleanup(cancel)
	cmd := r.Command(ctx, "bottle-attach", slug, "--", AskerBin, SuperviseURL, tool, arguments)
	read, write := io.Pipe()
	cmd.Stdout, cmd.Stderr = write, write
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	c := Call{r.t, make(chan string, 1000)}
	go func() { cmd.Wait(); write.Close() }()
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(read); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	return c
}

// Next returns the next line; more: there was one.
func (c Call) Next() (line string, more bool) {
	line, more = <-c.lines
	return line, more
}

// Until returns the first line that begins so.
func (c Call) Until(prefix string) string {
	c.t.Helper()
	var all []string
	for line := range c.lines {
		if strings.HasPrefix(line, prefix) {
			return line
		}
		all = append(all, line)
	}
	c.t.Fatalf("no %q came: %q", prefix, all)
	return ""
}

// Waits returns the ID under which the call waits for the operator.
func (c Call) Waits() string {
	c.t.Helper()
	return Waiting(c.Until("progress "))
}

// Waiting is the ID that a line of a call tells that it waits under; empty: it
// tells something else.
func Waiting(line string) string {
	if !strings.HasPrefix(line, "progress ") {
		return ""
	}
	return line[strings.LastIndex(line, " ")+1:]
}

// File writes a proposal as a bottle's sidecar does, and returns its ID and its
// file. The rules are what that sidecar takes the manifest to say.
func (r *Rig) File(slug string, p bottle.Proposal, at time.Time, rules ...proposal.Credential) (id, path string) {
	r.t.Helper()
	p, err := proposal.Make(p, proposal.Rules{Credentials: rules}, at)
	if err != nil {
		r.t.Fatal(err)
	}
	base := filepath.Join(r.Home, "state", slug, p.Source)
	for _, dir := range []string{"in", "out/proposals"} {
		if err := os.MkdirAll(filepath.Join(base, dir), 0o700); err != nil {
			r.t.Fatal(err)
		}
	}
	path = filepath.Join(base, "out/proposals", p.ID+".json")
	if err := spool.WriteFile(path, proposal.Encode(p), 0o600); err != nil {
		r.t.Fatal(err)
	}
	return p.ID, path
}
