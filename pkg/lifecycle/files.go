package lifecycle

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/ca"
	"bottle/pkg/plan"
	"bottle/pkg/policy"
	"bottle/pkg/spool"
	"bottle/pkg/state"
)

// writeFiles fills the state directory with what the containers read.
func (u *bringUp) writeFiles(ctx context.Context) error {
	certificate, key, err := ca.New("bottle "+u.bottle.Slug, time.Now())
	if err != nil {
		return err
	}
	roots, err := u.roots()
	if err != nil {
		return err
	}
	compose, err := u.plan.Compose()
	if err != nil {
		return err
	}
	if err := u.savePlan(u.plan); err != nil {
		return err
	}
	routes, err := Policy(u.spec)
	if err != nil {
		return err
	}
	host, err := hostFacts(wayOf(u.plan, plan.EgressService, u.spec.Way.Proxy))
	if err != nil {
		return err
	}
	t := tree{root: u.bottle.StateDir}
	trusted := roots
	if hasPipelock(u.spec) {
		trusted = trusting(roots, u.pipelockFiles(ctx, &t, routes, roots))
	}
	t.put(state.ComposeFile, compose, 0o600)
	t.put(plan.SeccompFile, plan.Seccomp(), 0o600)
	t.dir("egress/out", 0o700)
	t.put("egress/in/routes.yaml", policy.Render(routes), 0o600)
	t.put("egress/in/"+hostFile, host, 0o600)
	t.put("egress/in/ca.crt", certificate, 0o600)
	t.put("egress/in/ca.key", key, 0o600)
	t.put("egress/in/roots.pem", trusted, 0o600)
	if hasGate(u.spec) {
		t.dir("git-gate/out", 0o700)
		gateHost, err := hostFacts(u.spec.Way.Proxy)
		if err != nil {
			return err
		}
		t.put("git-gate/in/"+hostFile, gateHost, 0o600)
		t.put("git-gate/in/roots.pem", roots, 0o600)
		t.gate(u.spec, routes, u.facts)
	}
	if u.plan.Find(plan.AgentService).Env["GIT_CONFIG_SYSTEM"] != "" {
		t.put(filepath.Join("agent/in", filepath.Base(plan.GitConfig)), gitConfig(u.spec), 0o644)
	}
	t.asking(u.plan, u.spec.Manifest)
	// The agent is another user; its files are readable below a directory that is not.
	t.put("agent/certs/"+filepath.Base(plan.CABundle), certificate, 0o644)
	t.put(plan.ResolvFile, resolvConf(u.plan), 0o644)
	t.dir("agent/in", 0o755)
	t.put("agent/in/prompt.md", []byte(u.spec.Manifest.Prompt), 0o644)
	t.activityFile()
	files := u.spec.Agent.Files(agentStart(u.spec))
	for path, content := range files.In {
		t.put("agent/in/"+path, content, 0o644)
	}
	for path, content := range files.Home {
		t.put("agent/in/home/"+path, content, 0o644)
	}
	t.walls(u.spec, u.images)
	for _, s := range u.spec.Manifest.Skills {
		t.copy(s.Dir, filepath.Join("agent/in/home", u.spec.Agent.SkillsDir(), s.Name))
	}
	return t.err
}

// resolvConf makes egress the name server of agents on gVisor.
func resolvConf(p *plan.Plan) []byte {
	return fmt.Appendf(nil, "nameserver %s\noptions timeout:1 attempts:1\n", p.IP(plan.EgressService))
}

// hostRoots are where systems keep their root certificates.
var hostRoots = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem",
	"/etc/ssl/ca-bundle.pem", "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem"}

// roots are what upstreams are verified against: the host's bundle and the
// company's CAs in $BOTTLE_HOME/ca.
func (u *bringUp) roots() ([]byte, error) {
	var all bytes.Buffer
	for _, path := range hostRoots {
		data, err := os.ReadFile(path)
		if err == nil {
			all.Write(data)
			break
		}
	}
	company, err := filepath.Glob(filepath.Join(u.Home.Dir, "ca", "*.pem"))
	if err != nil {
		return nil, err
	}
	for _, path := range company {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("cannot read a company CA: %w", err)
		}
		if !x509.NewCertPool().AppendCertsFromPEM(data) {
			return nil, fmt.Errorf("cannot use %s: there is no PEM certificate in it", path)
		}
		all.WriteByte('\n')
		all.Write(data)
	}
	if all.Len() == 0 {
		return nil, fmt.Errorf("cannot find any root certificates on this host: install ca-certificates")
	}
	return all.Bytes(), nil
}

// hostFacts is what a sidecar that dials must know of this machine: allowed names must not
// lead to its addresses. Where the engine is elsewhere, its own are not known.
func hostFacts(way *bottle.Proxy) ([]byte, error) {
	own, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("cannot list this machine's addresses: %w", err)
	}
	doc := bottle.Host{Addresses: []netip.Addr{}, Proxy: way}
	for _, a := range own {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			return nil, fmt.Errorf("cannot read this machine's address %s: %w", a, err)
		}
		doc.Addresses = append(doc.Addresses, p.Addr().Unmap().WithZone(""))
	}
	data, err := json.Marshal(doc)
	return append(data, '\n'), err
}

// tree writes files below a root; the first error ends it.
type tree struct {
	root string
	err  error
}

func (t *tree) dir(name string, perm fs.FileMode) {
	if t.err != nil {
		return
	}
	// The umask must not take the agent's right to read.
	if t.err = os.MkdirAll(filepath.Join(t.root, name), perm); t.err == nil {
		t.err = os.Chmod(filepath.Join(t.root, name), perm)
	}
}

func (t *tree) put(name string, data []byte, perm fs.FileMode) {
	dirs := fs.FileMode(0o700)
	if perm&0o004 != 0 {
		dirs = 0o755
	}
	for dir := filepath.Dir(name); dir != "." && t.err == nil; dir = filepath.Dir(dir) {
		t.dir(dir, dirs)
	}
	if t.err != nil {
		return
	}
	// Nobody reads these yet, and a bring-up cut short is made anew: no fsync.
	if t.err = os.WriteFile(filepath.Join(t.root, name), data, perm); t.err == nil {
		t.err = os.Chmod(filepath.Join(t.root, name), perm)
	}
}

// replace is put for a file that somebody may read: it changes at once.
func (t *tree) replace(name string, data []byte, perm fs.FileMode) {
	if t.err == nil {
		t.err = spool.WriteFile(filepath.Join(t.root, name), data, perm)
	}
}

// Bounds of a skill: it is read whole at every start.
const (
	maxSkillFile  = 8 << 20
	maxSkillFiles = 2000
)

// copy copies a directory of the operator's: regular files, no links.
func (t *tree) copy(from, to string) {
	if t.err != nil {
		return
	}
	root, err := os.OpenRoot(from)
	if err != nil {
		t.err = fmt.Errorf("cannot read skill: %w", err)
		return
	}
	defer root.Close()
	files := 0
	t.err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if files++; files > maxSkillFiles {
			return fmt.Errorf("skill %s has more than %d files", from, maxSkillFiles)
		}
		f, err := root.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		data, err := io.ReadAll(&io.LimitedReader{R: f, N: maxSkillFile + 1})
		if err == nil && len(data) > maxSkillFile {
			err = fmt.Errorf("%s is larger than %d bytes", filepath.Join(from, path), maxSkillFile)
		}
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		t.put(filepath.Join(to, path), data, 0o644|info.Mode()&0o111)
		return t.err
	})
}
