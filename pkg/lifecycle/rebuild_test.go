package lifecycle

import (
	"errors"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/engine"
	"bottle/pkg/engine/enginetest"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// bench is a bottle on a fake engine whose image can be built anew.
type bench struct {
	*Manager
	fake *enginetest.Fake
	plan *plan.Plan
	log  *journal
	ran  []plan.Container // the steps that were carried out
	said []string         // what each was given on its standard input
}

func newBench(t *testing.T, answers func(c plan.Container, out io.Writer) int) *bench {
	t.Helper()
	dir := t.TempDir()
	home, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{fake: enginetest.NewFake("bottle-agent:1")}
	b.Manager = &Manager{Home: home, Engine: b.fake}
	b.fake.OnAttach = func(c plan.Container, x engine.Exec) (int, bool) {
		in, _ := io.ReadAll(x.Stdin)
		b.ran, b.said = append(b.ran, c), append(b.said, string(in))
		return answers(c, x.Stdout), false
	}
	inner := plan.Network{Name: "bottle-dev-aaaa_inner", Subnet: netip.MustParsePrefix("10.213.0.0/28")}
	b.plan = &plan.Plan{Slug: "dev-aaaa", Home: home.ID, StateDir: dir, Networks: []plan.Network{inner}, Containers: []plan.Container{{
		Service: plan.AgentService, Image: "bottle-agent:1", Env: map[string]string{"HTTPS_PROXY": "http://egress:3128", "HOME": "/home/agent"},
		Endpoints: []plan.Endpoint{{Network: inner.Name, IP: plan.Address(inner.Subnet, 3), Aliases: []string{"agent"}}},
		Mounts: []plan.Mount{{Type: "bind", Source: "/certs", Target: plan.CertsDir, ReadOnly: true}, {Type: "bind", Source: "/inside", Target: plan.InsideDir, ReadOnly: true},
			{Type: "volume", Source: "work", Target: plan.WorkDir}},
		DNS: []string{"10.213.0.2"}, CapDrop: []string{"ALL"}, Pids: 512}}}
	if err := b.fake.CreateNetwork(t.Context(), inner); err != nil {
		t.Fatal(err)
	}
	if b.log, err = openJournal(filepath.Join(dir, state.BringupLog), nil); err != nil {
		t.Fatal(err)
	}
	return b
}

func fine(plan.Container, io.Writer) int { return 0 }

const wanted = `FROM bottle
ARG V=2
ENV TOOL=/opt/tool PATH=/opt/bin:$PATH
RUN make
USER nobody
WORKDIR src
COPY <<'E' $TOOL
$text
E
RUN ["list", "x y"]
`

func TestADockerfileIsCarriedOutBehindTheWalls(t *testing.T) {
	b := newBench(t, fine)
	tag, env, err := b.buildImage(t.Context(), b.plan, wanted, "", b.log)
	if err != nil {
		t.Fatal(err)
	}
	if env["TOOL"] != "/opt/tool" || env["PATH"] != "/opt/bin:"+defaultPath || len(env) != 2 {
		t.Errorf("the agent gets %v", env)
	}
	if has, _ := b.fake.HasImage(t.Context(), tag); !has || !strings.HasPrefix(tag, "bottle-rebuilt:dev-aaaa-") {
		t.Errorf("the image %q: %v", tag, has)
	}
	if left := b.fake.Left(); len(left) > 1 { // the bottle's network
		t.Errorf("left: %v", left)
	}
	want := [][]string{
		{"/usr/bin/env", "--", "V=2", "/bin/sh", "-c", "make"},
		{"/bin/sh", "-c", place, "sh", "/opt/tool", "0644"},
		{"/usr/bin/env", "--", "V=2", "list", "x y"},
	}
	for i, c := range b.ran {
		if i >= len(want) || !slices.Equal(c.Entrypoint, want[i]) {
			t.Errorf("step %d runs %q", i, c.Entrypoint)
		}
		walls := c.Env["HTTPS_PROXY"] == "http://egress:3128" && slices.Equal(c.CapDrop, []string{"ALL"}) && len(c.CapAdd) == 5 &&
			slices.Contains(c.SecurityOpt, "no-new-privileges:true") && c.Pids == 512 && slices.Equal(c.DNS, []string{"10.213.0.2"}) &&
			len(c.Mounts) == 1 && c.Mounts[0].Target == plan.CertsDir && c.Endpoints[0].IP.String() == "10.213.0.6"
		if !walls {
			t.Errorf("step %d stands outside: %+v", i, c)
		}
	}
	if len(b.ran) != 3 || b.said[1] != "$text\n" || b.ran[0].User != "0:0" || b.ran[2].User != "nobody" || b.ran[2].WorkingDir != "/src" ||
		b.ran[0].Image != "bottle-agent:1" || b.ran[2].Image != tag || b.ran[2].Env["TOOL"] != "/opt/tool" {
		t.Errorf("carried out: %+v", b.ran)
	}
}

func TestOnlyWhatIsNewIsCarriedOut(t *testing.T) {
	b := newBench(t, fine)
	tag, env, err := b.buildImage(t.Context(), b.plan, wanted, "", b.log)
	if err != nil {
		t.Fatal(err)
	}
	p := b.plan.Replace(tag, env)
	if a := p.Find(plan.AgentService); a.Image != tag || a.Env["TOOL"] != "/opt/tool" || b.plan.Find(plan.AgentService).Image != "bottle-agent:1" {
		t.Errorf("the new plan has %+v", a)
	}
	b.ran = nil
	next, env, err := b.buildImage(t.Context(), p, wanted+"RUN more $TOOL\n", wanted, b.log)
	if err != nil || next == tag || env["TOOL"] != "/opt/tool" {
		t.Fatalf("%s %v %v", next, env, err)
	}
	if len(b.ran) != 1 || b.ran[0].Image != tag || b.ran[0].User != "nobody" {
		t.Errorf("carried out %+v", b.ran)
	}
	b.ran = nil
	if _, _, err := b.buildImage(t.Context(), p, "FROM bottle\nRUN other\n", wanted, b.log); err != nil || len(b.ran) != 1 || b.ran[0].Image != "bottle-agent:1" {
		t.Errorf("another text: %v, %+v", err, b.ran)
	}
}

// S14: the engine follows links when it puts bottle-inside and the home in place.
func TestAnImageWithALinkInAPlaceOfOursIsRefused(t *testing.T) {
	for _, link := range []string{"/opt", plan.CaptureHome, "/etc/ssl"} {
		b := newBench(t, fine)
		b.fake.Links = []string{link}
		_, _, err := b.buildImage(t.Context(), b.plan, "FROM bottle\nRUN one\n", "", b.log)
		if err == nil || !strings.Contains(err.Error(), "a link at "+link+",") {
			t.Errorf("%s: %v", link, err)
		}
		if !slices.ContainsFunc(b.fake.Calls, func(c string) bool { return strings.HasPrefix(c, "RemoveImage bottle-rebuilt:dev-aaaa-") }) {
			t.Errorf("its image stays: %v", b.fake.Calls)
		}
	}
	b := newBench(t, fine)
	b.fake.Links = []string{"/usr/bin", "/opt/other"}
	if _, _, err := b.buildImage(t.Context(), b.plan, "FROM bottle\nRUN one\n", "", b.log); err != nil {
		t.Errorf("links elsewhere: %v", err)
	}
}

func TestAFailedStepLeavesNothing(t *testing.T) {
	b := newBench(t, func(c plan.Container, out io.Writer) int {
		io.WriteString(out, "no such \x1b[31mpackage\n")
		return map[bool]int{true: 0, false: 100}[slices.Contains(c.Entrypoint, "one")]
	})
	_, _, err := b.buildImage(t.Context(), b.plan, "FROM bottle\nRUN one\n\nRUN two\n", "", b.log)
	var failed *BuildError
	if !errors.As(err, &failed) || failed.Line != 4 || !strings.Contains(strings.Join(failed.Tail, "\n"), "no such") ||
		strings.Contains(strings.Join(failed.Tail, "\n"), "\x1b") {
		t.Fatalf("%v: %+v", err, failed)
	}
	if left := b.fake.Left(); len(left) > 1 { // the bottle's network
		t.Errorf("left: %v", left)
	}
	if !slices.ContainsFunc(b.fake.Calls, func(c string) bool { return strings.HasPrefix(c, "RemoveImage bottle-rebuilt:dev-aaaa-") }) {
		t.Errorf("its half image stays: %v", b.fake.Calls)
	}
	if _, _, err := b.buildImage(t.Context(), b.plan, "FROM bottle\nENV A=$NONE\nRUN one", "", b.log); !errors.As(err, &failed) || failed.Line != 2 {
		t.Errorf("an unknown variable: %v", err)
	}
}
