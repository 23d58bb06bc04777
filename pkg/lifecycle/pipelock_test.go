package lifecycle

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/manifest"
	"bottle/pkg/pipelock"
	"bottle/pkg/plan"
	"bottle/pkg/policy"
)

// second is a bottle's pipelock on the fake engine: what it goes by is what it read
// when it was started, or told to reload.
type second struct {
	*lab
	slug    string
	goes    []byte   // the file that it goes by
	refused string   // a text that its check refuses in a file
	ends    string   // a text in a file with which it ends
	deaf    bool     // to a reload
	blind   string   // a host that it does not let through
	fond    string   // a host that it lets through in any case
	did     []string // checks, signals, starts and stops, and whether a previous file was there
}

const pipelockTestImage = "registry.example/pipelock:1"

// behind is a lab whose bottle has a pipelock, and that is up.
func behind(t *testing.T) *second {
	t.Helper()
	s := unstarted(t)
	b, err := s.Up(t.Context(), s.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b.Slug != s.slug || !slices.Equal(s.did, []string{"check", "start"}) {
		t.Errorf("pipelock of %s: %q", s.slug, s.did)
	}
	s.did = nil
	return s
}

func unstarted(t *testing.T) *second {
	t.Helper()
	s := &second{lab: newLab(t)}
	s.spec.Manifest.Pipelock.Image = pipelockTestImage
	if err := s.fake.Build(t.Context(), pipelockTestImage, strings.NewReader(""), engine.BuildWay{}, io.Discard); err != nil {
		t.Fatal(err)
	}
	s.started(t)
	starts, exec, attached := s.fake.OnStart, s.fake.OnExec, s.fake.OnAttach
	s.fake.OnStart = func(c plan.Container) {
		if c.Service == plan.PipelockService {
			s.read("start")
		}
		starts(c)
	}
	s.fake.OnSignal = func(name, signal string) error {
		switch {
		case name != plan.ContainerName(s.slug, plan.PipelockService):
			t.Errorf("%s gets %s", name, signal)
		case signal == "HUP" && s.deaf:
			s.note("reload")
		case signal == "HUP":
			s.read("reload")
		}
		return nil
	}
	s.fake.OnAttach = func(c plan.Container, x engine.Exec) (int, bool) {
		if c.Service != plan.CheckService {
			return attached(c, x)
		}
		s.slug = c.Labels[plan.LabelSlug]
		if len(c.Endpoints) > 0 {
			t.Errorf("the check is in %v", c.Endpoints)
		}
		s.note("check")
		if text := s.file(pipelock.Candidate); s.refused != "" && bytes.Contains(text, []byte(s.refused)) {
			fmt.Fprintf(x.Stderr, "looking\nit says %s\n", s.refused)
			return 1, false
		}
		return 0, false
	}
	s.fake.OnExec = func(name string, x engine.Exec) (int, error) {
		if len(x.Cmd) != 3 || x.Cmd[1] != "pipelock" {
			return exec(name, x)
		}
		return s.answer(name, x)
	}
	return s
}

// answer plays bottle-egress, which asks pipelock what it lists.
func (s *second) answer(name string, x engine.Exec) (int, error) {
	if s.ends != "" && bytes.Contains(s.goes, []byte(s.ends)) {
		s.fake.Stop(context.Background(), plan.ContainerName(s.slug, plan.PipelockService))
	}
	up, err := s.running(context.Background(), s.slug)
	if err != nil || name != plan.ContainerName(s.slug, plan.EgressService) {
		return 0, fmt.Errorf("%s is asked: %v", name, err)
	}
	if !up[plan.EgressService] {
		return 0, engine.ErrConflict
	}
	if !up[plan.PipelockService] {
		io.WriteString(x.Stderr, "it does not answer\n")
		return 1, nil
	}
	listed, err := pipelock.Listed(s.goes)
	for _, host := range strings.Split(x.Cmd[2], ",") {
		if !pipelock.Holds(host) && host != "" {
			return 1, nil
		}
		if slices.Contains(listed, host) && host != s.blind || host == s.fond {
			fmt.Fprintf(x.Stdout, "listed %s\n", host)
		}
	}
	return 0, err
}

func (s *second) dir() string { return filepath.Join(s.Home.StateDir(s.slug), plan.PipelockService) }

// file is one of those that pipelock reads.
func (s *second) file(name string) []byte {
	text, _ := os.ReadFile(filepath.Join(s.dir(), "in", name))
	return text
}

func (s *second) note(what string) {
	if exists(filepath.Join(s.dir(), pipelock.Previous)) {
		what += " unsettled"
	}
	s.did = append(s.did, what)
}

func (s *second) read(why string) {
	s.note(why)
	s.goes = s.file(pipelock.File)
}

// is fails where pipelock does not go by a file that says so, or it is not settled.
func (s *second) is(t *testing.T, said string, want ...string) {
	t.Helper()
	text := s.file(pipelock.File)
	listed, err := pipelock.Listed(text)
	if err != nil || !slices.Equal(listed, want) {
		t.Errorf("%s: its file lists %q, %v, not %q", said, listed, err, want)
	}
	if !bytes.Equal(s.goes, text) {
		t.Errorf("%s: pipelock goes by another file:\n%s", said, s.goes)
	}
	if exists(filepath.Join(s.dir(), pipelock.Previous)) {
		t.Errorf("%s: it is not settled", said)
	}
	if left := s.fake.Left(); slices.Contains(left, "container "+plan.ContainerName(s.slug, plan.CheckService)) {
		t.Errorf("%s: a check is left", said)
	}
}

// Egress goes out by pipelock alone, and trusts the CA with which it opens TLS, at
// the start and at a resume; the key of that CA is pipelock's alone.
func TestEgressGoesByPipelockAndTrustsIt(t *testing.T) {
	s := behind(t)
	p, err := s.loadPlan(s.slug)
	if err != nil {
		t.Fatal(err)
	}
	told := func(when string) {
		t.Helper()
		doc, err := s.hostOf(s.slug, plan.EgressService)
		if err != nil || doc.Proxy == nil || !doc.Proxy.Pipelock || doc.Proxy.Address != fmt.Sprintf("%s:%d", p.Pipelock(), pipelock.Port) {
			t.Errorf("%s egress is told of %+v, %v", when, doc.Proxy, err)
		}
		roots, err := os.ReadFile(filepath.Join(s.Home.StateDir(s.slug), plan.EgressService, "in/roots.pem"))
		if err != nil || !bytes.Contains(roots, s.file(pipelock.CertFile)) || !bytes.Contains(roots, s.file(pipelock.RootsFile)) {
			t.Errorf("%s egress does not trust pipelock, %v", when, err)
		}
		if bytes.Contains(s.file(pipelock.RootsFile), s.file(pipelock.CertFile)) {
			t.Errorf("%s pipelock trusts itself", when)
		}
	}
	told("at the start")
	for _, c := range p.Containers {
		s.fake.Stop(t.Context(), c.Name)
	}
	if _, err := s.again(s.slug); err != nil {
		t.Fatal(err)
	}
	told("at a resume")
	if at := wayOf(p, plan.GateService, nil); at != nil {
		t.Errorf("the git gate goes by %v", at)
	}
	by := Again{Slug: s.slug, Way: Way{Proxy: &bottle.Proxy{Address: "proxy.corp:3128"}}}
	if _, err := s.Resume(t.Context(), by, nil); !errors.Is(err, ErrPipelockProxy) {
		t.Errorf("by a proxy: %v", err)
	}
	if info, err := os.Stat(filepath.Join(s.dir(), "in", pipelock.KeyFile)); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its key: %v, %v", info, err)
	}
}

// A bottle whose pipelock cannot be does not come up, and nothing of it is left.
func TestABottleWithoutItsPipelockDoesNotComeUp(t *testing.T) {
	for name, c := range map[string]struct {
		harm func(s *second)
		want error
		says string
	}{
		"a proxy": {func(s *second) { s.spec.Way.Proxy = &bottle.Proxy{Address: "proxy.corp:3128"} }, ErrPipelockProxy, ""},
		"no image": {func(s *second) { s.spec.Manifest.Pipelock.Image = "registry.example/other:1" }, ErrPipelockImage,
			"run docker pull registry.example/other:1"},
		"a file that it refuses": {func(s *second) { s.refused = "api.example.com" }, ErrPipelockFile, "it says api.example.com"},
		"it ends":                {func(s *second) { s.ends = "api.example.com" }, nil, "pipelock did not get ready"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := unstarted(t)
			c.harm(s)
			b, err := s.Up(t.Context(), s.spec, nil)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if left := s.fake.Left(); len(left) > 0 || exists(s.Home.StateDir(b.Slug)) && b.Slug != "" {
				t.Errorf("of %s the engine holds %q", b.Slug, left)
			}
		})
	}
}

// What pipelock does not look into is what the manifest says, or else the agent's own
// model; it does not scan what egress injects, or may be asked to.
func TestWhatPipelockIsToldOfItsBottle(t *testing.T) {
	s := claudeSpec(t)
	p, err := Policy(s)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := policy.NewRoute("statsig.anthropic.com")
	if err != nil {
		t.Fatal(err)
	}
	p.Routes = append(p.Routes, plain)
	s.Manifest.Credentials = []manifest.Credential{{Auth: policy.Auth{Header: "x-asked", Credential: "env:K"}}}
	o := pipelockOptions(s, p, nil)
	if !slices.Equal(o.Passthrough, []string{"api.anthropic.com"}) || o.MaxBody != policy.DefaultMaxBody || !slices.Contains(o.Headers, "x-asked") {
		t.Errorf("%+v", o)
	}
	s.Manifest.Pipelock.Set = true
	p.MaxBody = 1 << 20
	if o := pipelockOptions(s, p, nil); len(o.Passthrough) > 0 || o.MaxBody != 1<<20 {
		t.Errorf("of a manifest that names none: %+v", o)
	}
	for i := range p.Routes {
		p.Routes[i].Model = ""
	}
	s.Manifest.Pipelock.Set = false
	if o := pipelockOptions(s, p, nil); len(o.Passthrough) > 0 {
		t.Errorf("without a model: %q", o.Passthrough)
	}
}
