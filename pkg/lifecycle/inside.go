package lifecycle

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"sync"

	"bottle/pkg/engine"
	"bottle/pkg/plan"
	"bottle/pkg/probe"
	"bottle/pkg/workspace"
)

// inside runs bottle-inside in the agent's container and returns what it said
// on its output and on its error stream, and its exit code.
func (u *bringUp) inside(ctx context.Context, in io.Reader, args ...string) (out, said string, code int, err error) {
	var outText, errText bytes.Buffer
	code, err = u.Engine.Exec(ctx, plan.ContainerName(u.bottle.Slug, plan.AgentService), engine.Exec{
		Cmd: append([]string{plan.InsideBin}, args...), Stdin: in, Stdout: &outText, Stderr: &errText})
	return outText.String(), errText.String(), code, err
}

// commitID is what names the commit that the work began with.
var commitID = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`) })

// fillWorkspace streams the operator's folder into the bottle.
func (u *bringUp) fillWorkspace(ctx context.Context) error {
	mounted := u.spec.Workspace == WorkspaceMount
	switch {
	case u.spec.Workspace == WorkspaceNone:
		return nil
	case mounted:
		u.subdir = u.spec.Mount.Subdir
		if !u.spec.Mount.Git {
			return nil
		}
		u.log.step("making a repository for %s", u.spec.Folder)
	default:
		u.log.step("copying %s", u.spec.Folder)
	}
	packed, stream := io.Pipe()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	result := make(chan error, 1)
	go func() {
		info, err := workspace.Pack(ctx, u.spec.Folder, stream,
			workspace.Options{Warn: func(text string) { u.log.step("note: %s", text) }, Remotes: remoteURLs(u.spec), InPlace: mounted})
		if !mounted {
			u.subdir = info.Subdir
		}
		stream.CloseWithError(err)
		result <- err
	}()
	out, said, code, err := u.inside(ctx, packed, "unpack", plan.WorkDir)
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
	if start := strings.TrimSpace(out); commitID().MatchString(start) {
		u.bottle.Start = start
	}
	return nil
}

// targets are what the agent must not reach.
func (u *bringUp) targets(ctx context.Context) (probe.Targets, error) {
	inner := u.plan.Own().Subnet
	t := probe.Targets{Runtime: u.plan.Find(plan.AgentService).Runtime, Egress: u.plan.IP(plan.EgressService), Inner: inner, Gateway: plan.Address(inner, 1)}
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
			if !inner.Contains(ip) { // its own sidecars are there to be reached, but not by their other addresses
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
