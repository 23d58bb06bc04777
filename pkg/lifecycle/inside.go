package lifecycle

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/probe"
	"bottle/pkg/workspace"
)

// inside runs bottle-inside in the agent's container and returns what it said
// on its error stream, and its exit code.
func (u *bringUp) inside(ctx context.Context, in io.Reader, args ...string) (string, int, error) {
	var said bytes.Buffer
	code, err := u.Engine.Exec(ctx, plan.ContainerName(u.bottle.Slug, plan.AgentService), engine.Exec{
		Cmd: append([]string{plan.InsideBin}, args...), Stdin: in, Stdout: &said, Stderr: &said})
	return said.String(), code, err
}

// fillWorkspace streams the operator's folder into the bottle.
func (u *bringUp) fillWorkspace(ctx context.Context) error {
	if u.spec.Workspace != WorkspaceCopy {
		return nil
	}
	u.log.step("copying %s", u.spec.Folder)
	packed, stream := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		info, err := workspace.Pack(ctx, u.spec.Folder, stream, func(text string) { u.log.step("note: %s", text) })
		u.subdir = info.Subdir
		stream.CloseWithError(err)
		result <- err
	}()
	said, code, err := u.inside(ctx, packed, "unpack", plan.WorkDir)
	if err == nil && code == 0 {
		// It ends at the stream's last entry; the padding behind that is nobody's.
		io.Copy(io.Discard, packed)
	}
	packed.CloseWithError(io.ErrClosedPipe)
	cancel()
	if perr := <-result; perr != nil && code == 0 {
		return fmt.Errorf("cannot copy %s: %w", u.spec.Folder, perr)
	}
	if err != nil {
		return fmt.Errorf("cannot copy %s: %w", u.spec.Folder, err)
	}
	if code != 0 {
		return fmt.Errorf("cannot copy %s: %s", u.spec.Folder, lastLine(said))
	}
	return nil
}

// selfTestTime bounds the self-test: standing walls take a third of a second.
const selfTestTime = 30 * time.Second

// selfTest tries the first attacks of the threat model from inside. A wall that
// does not hold is an ErrSelfTest that names the row.
func (u *bringUp) selfTest(ctx context.Context) error {
	targets, err := u.targets(ctx)
	if err != nil {
		return err
	}
	doc, err := json.Marshal(targets)
	if err != nil {
		return fmt.Errorf("cannot encode the self-test: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, selfTestTime)
	defer cancel()
	var out, said bytes.Buffer
	code, err := u.Engine.Exec(ctx, plan.ContainerName(u.bottle.Slug, plan.AgentService), engine.Exec{
		Cmd: []string{plan.InsideBin, "probe"}, Stdin: bytes.NewReader(doc), Stdout: &out, Stderr: &said})
	if err != nil {
		return err
	}
	return u.verdict(out.String(), said.String(), code)
}

// verdict reads the self-test's results. No result is a failure too.
func (u *bringUp) verdict(out, said string, code int) error {
	var failed []string
	rows := 0
	for line := range strings.Lines(out) {
		var r probe.Result
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			return fmt.Errorf("%w: its results cannot be read: %w", ErrSelfTest, err)
		}
		rows++
		fmt.Fprintln(u.log, r.String())
		if !r.OK {
			failed = append(failed, r.String())
		}
	}
	switch {
	case len(failed) > 0:
		return fmt.Errorf("%w: %s", ErrSelfTest, strings.Join(failed, "; "))
	case code != 0 || rows != len(probe.SelfTestRows()):
		return fmt.Errorf("%w: %d of %d rows ran, exit code %d: %s", ErrSelfTest, rows, len(probe.SelfTestRows()), code, lastLine(said))
	}
	return nil
}

// targets are what the agent must not reach.
func (u *bringUp) targets(ctx context.Context) (probe.Targets, error) {
	inner := u.plan.Networks[0].Subnet
	t := probe.Targets{Egress: u.plan.Find(plan.EgressService).Endpoints[0].IP, Inner: inner, Gateway: plan.Address(inner, 1)}
	for _, p := range hostInterfaces() {
		if p.Addr().Is4() && !p.Addr().IsLoopback() {
			t.Host = append(t.Host, p.Addr())
		}
	}
	t.HostDNS = hostResolvers()
	others, err := u.Engine.List(ctx, u.Home.ID)
	if err != nil {
		return t, err
	}
	for _, c := range others {
		for _, ip := range c.IPs {
			if ip != t.Egress && ip != u.plan.Find(plan.AgentService).Endpoints[0].IP {
				t.Neighbours = append(t.Neighbours, ip)
			}
		}
	}
	return t, nil
}

// hostResolvers are the name servers of the host that are not its own loopback.
func hostResolvers() []netip.Addr {
	data, err := os.ReadFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	var list []netip.Addr
	for line := range strings.Lines(string(data)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if ip := net.ParseIP(fields[1]); ip != nil && !ip.IsLoopback() && ip.To4() != nil {
			a, _ := netip.AddrFromSlice(ip.To4())
			list = append(list, a)
		}
	}
	return list
}
