package lifecycle

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/agent"
	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/engine/enginetest"
	"bottle/pkg/frame"
	"bottle/pkg/image"
	"bottle/pkg/manifest"
	"bottle/pkg/plan"
	"bottle/pkg/policy"
	"bottle/pkg/probe"
	"bottle/pkg/state"
	"bottle/pkg/workspace"
)

// lab is a home and a fake engine whose bottles come up at once.
type lab struct {
	*Manager
	fake *enginetest.Fake
	spec Spec
	play func(x engine.Exec) (int, error) // plays bottle-inside as a main process
}

func newLab(t *testing.T) *lab {
	t.Helper()
	home, err := state.Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	libexec := t.TempDir()
	if err := os.MkdirAll(filepath.Join(libexec, "sidecars"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(libexec, "sidecars", "bottle-egress"), []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	route, err := policy.NewRoute("api.example.com")
	if err != nil {
		t.Fatal(err)
	}
	shell, err := agent.Lookup(agent.Program{Name: "shell"})
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{fake: enginetest.NewFake(image.Base), spec: Spec{Agent: shell, Workspace: WorkspaceNone,
		Manifest: manifest.Manifest{Agent: "dev", BottleName: "dev", Program: agent.Program{Name: "shell"}, Prompt: "be brief",
			Routes: []manifest.Route{{Route: route}}},
		Secrets: map[string]string{"KEY": "topsecret-value"}}}
	l.Manager = &Manager{Home: home, Engine: l.fake, Libexec: libexec}
	l.fake.OnStart = func(c plan.Container) {
		for _, m := range c.Mounts {
			if m.Target == plan.SidecarOut {
				os.WriteFile(filepath.Join(m.Source, readyFile), nil, 0o600)
			}
		}
	}
	l.play = func(x engine.Exec) (int, error) { return answer(x, "") }
	l.fake.OnAttach = func(c plan.Container, x engine.Exec) (int, bool) {
		if c.Service == plan.CaptureService { // it begins when it is told to
			io.ReadFull(x.Stdin, make([]byte, len("now\n")))
		}
		code, err := l.play(x)
		if err != nil {
			code = 1
		}
		return code, c.Service == plan.AgentService && code == 0
	}
	l.fake.OnExec = func(_ string, x engine.Exec) (int, error) {
		if x.Stdin != nil {
			io.Copy(io.Discard, x.Stdin)
		}
		return 0, nil
	}
	return l
}

// bottle is one that is up.
func (l *lab) bottle(t *testing.T) bottle.Bottle {
	t.Helper()
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// answer plays bottle-inside; failing names a row of the self-test that fails.
func answer(x engine.Exec, failing string) (int, error) {
	if x.Cmd[1] == "capture" {
		return captureNothing, nil
	}
	asked, answers := json.NewDecoder(x.Stdin), json.NewEncoder(x.Stdout)
	for {
		var ask frame.Ask
		if err := asked.Decode(&ask); err != nil {
			return 0, nil
		}
		for _, row := range probe.SelfTestRows() {
			if slices.Contains(ask.Rows, row.ID) {
				answers.Encode(probe.Result{ID: row.ID, Title: row.Title, By: row.By, OK: row.ID != failing, Detail: "tcp to the host got through"})
			}
		}
		if err := answers.Encode(frame.Answer{Done: true}); err != nil || ask.Start != nil {
			return 0, nil
		}
	}
}

func TestABottleComesUpAndLeavesOnlyItsHistory(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	if b.Status != bottle.Running || !strings.HasPrefix(b.Slug, "dev-") || !slices.Equal(b.Sidecars, []string{"egress"}) {
		t.Errorf("came up as %+v", b)
	}
	list, err := List(t.Context(), l.Home, l.fake)
	if err != nil || len(list) != 1 || list[0].Status != bottle.Running || !slices.Equal(list[0].Services, []string{"agent", "egress"}) {
		t.Errorf("listed as %+v, %v", list, err)
	}
	took, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("the engine still holds %q", left)
	}
	for _, name := range []string{state.MetadataFile, state.BringupLog, state.TeardownLog, state.ComposeLog} {
		if _, err := os.Stat(filepath.Join(took.History, name)); err != nil {
			t.Error(err)
		}
	}
	if slugs, _ := l.Home.Slugs(); len(slugs) > 0 {
		t.Errorf("state is left: %q", slugs)
	}
}

func TestNoSecretIsInStateOrPlan(t *testing.T) {
	l := newLab(t)
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(b.StateDir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "topsecret-value") {
			t.Errorf("the secret is in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// Whatever call fails, nothing is left but the log.
func TestAFailureAtAnyCallTakesEverythingDown(t *testing.T) {
	dry := newLab(t)
	if _, err := dry.Up(t.Context(), dry.spec, nil); err != nil {
		t.Fatal(err)
	}
	calls := len(dry.fake.Calls)
	if calls < 8 {
		t.Fatalf("only %d calls: %q", calls, dry.fake.Calls)
	}
	for n := range calls {
		l := newLab(t)
		boom := errors.New("the engine said no")
		count := 0
		l.fake.Fail = failNth(&count, n, boom)
		_, err := l.Up(t.Context(), l.spec, nil)
		var failure *Failure
		if !errors.Is(err, boom) || !errors.As(err, &failure) {
			t.Fatalf("call %d: %v", n, err)
		}
		if left := l.fake.Left(); len(left) > 0 {
			t.Errorf("after a failure at call %d of %q the engine still holds %q", n, dry.fake.Calls, left)
		}
		if slugs, _ := l.Home.Slugs(); len(slugs) > 0 {
			t.Errorf("after a failure at call %d state is left: %q", n, slugs)
		}
		if _, err := os.Stat(failure.Log); err != nil || len(failure.Tail) == 0 {
			t.Errorf("the log is gone: %v, tail %q", err, failure.Tail)
		}
	}
}

// failNth fails the n-th changing call; those that clean up work again.
func failNth(count *int, n int, err error) func(string, string) error {
	failed := false
	var mu = make(chan struct{}, 1)
	return func(call, _ string) error {
		mu <- struct{}{}
		defer func() { <-mu }()
		if strings.HasPrefix(call, "Remove") || strings.HasPrefix(call, "Stop") || failed {
			return nil
		}
		if *count++; *count == n+1 {
			failed = true
			return err
		}
		return nil
	}
}

// What was made for a subnet that somebody else took first is made anew, and
// nothing of it has run.
func TestASubnetTakenMeanwhileIsPlannedAgain(t *testing.T) {
	l := newLab(t)
	refused, started := false, 0
	l.fake.OnStart = func(c plan.Container) {
		if c.Service == plan.EgressService {
			started++
		}
		for _, m := range c.Mounts {
			if m.Target == plan.SidecarOut {
				os.WriteFile(filepath.Join(m.Source, readyFile), nil, 0o600)
			}
		}
	}
	l.fake.Fail = func(call, name string) error {
		if call == "CreateNetwork" && strings.HasSuffix(name, "_inner") && !refused {
			refused = true
			return fmt.Errorf("create network: %w", engine.ErrSubnetTaken)
		}
		return nil
	}
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil || !refused || started != 1 {
		t.Fatalf("refused %v, egress started %d times, %v", refused, started, err)
	}
	p, err := l.loadPlan(b.Slug)
	if err != nil {
		t.Fatal(err)
	}
	list, _ := l.fake.List(t.Context(), l.Home.ID)
	if len(list) != 2 {
		t.Errorf("containers: %+v", list)
	}
	for _, c := range list {
		if c.Service == plan.EgressService && !slices.Contains(c.IPs, p.IP(plan.EgressService)) {
			t.Errorf("egress has %v, the plan says %s", c.IPs, p.IP(plan.EgressService))
		}
	}
}

func TestAnInterruptTakesEverythingDown(t *testing.T) {
	l := newLab(t)
	ctx, cancel := context.WithCancel(t.Context())
	l.play = func(x engine.Exec) (int, error) {
		cancel()
		return 0, ctx.Err()
	}
	_, err := l.Up(ctx, l.spec, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("the engine still holds %q", left)
	}
}

func TestAWallThatDoesNotHoldIsNamedAndTheBottleTakenDown(t *testing.T) {
	l := newLab(t)
	l.play = func(x engine.Exec) (int, error) { return answer(x, "A4") }
	_, err := l.Up(t.Context(), l.spec, nil)
	if !errors.Is(err, ErrSelfTest) || !strings.Contains(err.Error(), "A4") {
		t.Errorf("ended with %v", err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("the engine still holds %q", left)
	}
}

func TestASelfTestThatSaysNothingIsAFailure(t *testing.T) {
	l := newLab(t)
	l.fake.OnAttach = func(plan.Container, engine.Exec) (int, bool) { return 0, false }
	if _, err := l.Up(t.Context(), l.spec, nil); !errors.Is(err, ErrSelfTest) {
		t.Errorf("ended with %v", err)
	}
}

func TestASidecarThatDiesIsNotWaitedFor(t *testing.T) {
	l := newLab(t)
	l.fake.OnStart = func(c plan.Container) {
		if c.Service == plan.EgressService {
			go l.fake.Stop(context.Background(), c.Name)
		}
	}
	_, err := l.Up(t.Context(), l.spec, nil)
	if err == nil || !strings.Contains(err.Error(), "egress did not get ready: its container ended") {
		t.Errorf("ended with %v", err)
	}
}

func TestAFailedCaptureKeepsTheBottle(t *testing.T) {
	l := newLab(t)
	l.spec.Workspace, l.spec.Folder = WorkspaceCopy, t.TempDir()
	b := l.bottle(t)
	l.play = func(x engine.Exec) (int, error) {
		io.WriteString(x.Stderr, "bottle-inside: cannot capture the work: no space\n")
		return 1, nil
	}
	work := t.TempDir()
	if err := os.WriteFile(filepath.Join(work, "left"), []byte("work"), 0o600); err != nil {
		t.Fatal(err)
	}
	took, err := l.Down(t.Context(), b.Slug, DownOptions{}, nil)
	if !errors.Is(err, ErrCapture) || !strings.Contains(err.Error(), "no space") || !took.Kept {
		t.Errorf("ended with %v, %+v", err, took)
	}
	left := l.fake.Left()
	if !slices.Contains(left, "volume bottle-"+b.Slug+"_work") || slices.Contains(left, "volume bottle-"+b.Slug+"_scratch") {
		t.Errorf("the engine holds %q", left)
	}
	list, _ := List(t.Context(), l.Home, l.fake)
	if len(list) != 1 || list[0].Status != bottle.Stopped {
		t.Errorf("listed as %+v", list)
	}
	l.play = func(x engine.Exec) (int, error) {
		_, err := io.WriteString(x.Stdout, "no bundle of ours")
		return 0, err
	}
	if _, err = l.Down(t.Context(), b.Slug, DownOptions{}, nil); !errors.Is(err, ErrCapture) {
		t.Errorf("a bundle that is none: %v", err)
	}
	l.play = func(x engine.Exec) (int, error) {
		return 0, workspace.Capture(t.Context(), work, x.Stdout, workspace.Limits{})
	}
	took, err = l.Down(t.Context(), b.Slug, DownOptions{}, nil)
	if err != nil || took.Bundle == "" {
		t.Errorf("the third stop: %v, %+v", err, took)
	}
	if _, err := os.Stat(took.Bundle); err != nil {
		t.Error(err)
	}
	if left := l.fake.Left(); len(left) > 0 {
		t.Errorf("the engine still holds %q", left)
	}
}

func TestTheUplinkGoesWithTheLastBottle(t *testing.T) {
	l := newLab(t)
	one, err1 := l.Up(t.Context(), l.spec, nil)
	two, err2 := l.Up(t.Context(), l.spec, nil)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	uplink := "network " + plan.UplinkName(l.Home.ID)
	if _, err := l.Down(t.Context(), one.Slug, DownOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(l.fake.Left(), uplink) {
		t.Error("the uplink went before the last bottle")
	}
	if _, err := l.Down(t.Context(), two.Slug, DownOptions{}, nil); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(l.fake.Left(), uplink) {
		t.Error("the uplink stayed")
	}
}

func TestConcurrentStartsShareOneUplinkAndNoSubnet(t *testing.T) {
	l := newLab(t)
	const n = 12
	errs := make(chan error, n)
	for range n {
		go func() { _, err := l.Up(t.Context(), l.spec, nil); errs <- err }()
	}
	for range n {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	networks, _ := l.fake.Networks(t.Context())
	if len(networks) != n+1 {
		t.Errorf("%d networks for %d bottles", len(networks), n)
	}
}

// An image is made anew on a base that may have gone since.
func TestARebuildMakesTheBaseThatIsGone(t *testing.T) {
	l := newLab(t)
	if _, err := l.Up(t.Context(), l.spec, nil); err != nil {
		t.Fatal(err)
	}
	made := filepath.Join(t.TempDir(), "made")
	if err := os.WriteFile(filepath.Join(l.Libexec, "base-image"), []byte("#!/bin/sh\necho $1 >"+made+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := l.fake.RemoveImage(t.Context(), image.Base); err != nil {
		t.Fatal(err)
	}
	l.spec.Rebuild = true
	_, err := l.Up(t.Context(), l.spec, nil)
	if data, _ := os.ReadFile(made); string(data) != image.Base+"\n" {
		t.Errorf("the base was made as %q: %v", data, err)
	}
}

// Its children hold its output, and would be waited for.
func TestAnInterruptEndsTheBaseImagesScriptWhole(t *testing.T) {
	l := newLab(t)
	l.Engine = enginetest.NewFake()
	cleared := filepath.Join(t.TempDir(), "cleared")
	script := "#!/bin/bash\ntrap 'echo >" + cleared + "' EXIT\nsleep 600 &\necho begun\nwait\n"
	if err := os.WriteFile(filepath.Join(l.Libexec, "base-image"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { _, err := l.Up(ctx, l.spec, nil); ended <- err }()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for begun := false; !begun; <-tick.C { // its first word is in the log
		logs, _ := filepath.Glob(filepath.Join(l.Home.Dir, "state", "*", state.BringupLog))
		for _, log := range logs {
			data, _ := os.ReadFile(log)
			begun = begun || strings.Contains(string(data), "begun")
		}
	}
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ended with %v", err)
		}
	case <-time.After(baseImageGrace - time.Second):
		t.Fatal("the script's child is waited for")
	}
	if _, err := os.Stat(cleared); err != nil {
		t.Error("the script did not clear up")
	}
}
