package operator

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/cli"
	"bottle/pkg/engine"
	"bottle/pkg/engine/enginetest"
	"bottle/pkg/lifecycle"
	"bottle/pkg/plan"
	"bottle/pkg/state"
	"bottle/pkg/tokenref"
)

// aged is a home with a bottle that runs, dev-aaaa, one of whose values was to be
// renewed at due.
func aged(t *testing.T, due time.Time) (*lifecycle.Manager, chan bottle.Secrets) {
	t.Helper()
	home, err := state.Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"agents/dev.md": "---\nbottle: dev\nprogram: shell\n---\n",
		"bottles/dev.md": "---\negress:\n  routes:\n  - {host: a.example, auth: {scheme: Bearer, token_ref: AGES, refresh: 45m}}\n" +
			"  - {host: b.example, auth: {scheme: Bearer, token_ref: STAYS}}\n---\n",
	} {
		write(t, filepath.Join(home.Dir, name), text)
	}
	fake := enginetest.NewFake()
	handed := make(chan bottle.Secrets, 10)
	fake.OnExec = func(_ string, x engine.Exec) (int, error) {
		var doc bottle.Secrets
		err := json.NewDecoder(x.Stdin).Decode(&doc)
		handed <- doc
		return 0, err
	}
	m := &lifecycle.Manager{Home: home, Engine: fake}
	age(t, m, "dev-aaaa", "env:AGES", due)
	return m, handed
}

func write(t *testing.T, path, text string) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	if err == nil {
		err = os.WriteFile(path, []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// age adds a bottle that runs, whose value by this name was to be renewed at due.
func age(t *testing.T, m *lifecycle.Manager, slug, name string, due time.Time) {
	t.Helper()
	agent, _, _ := strings.Cut(slug, "-")
	dir := m.Home.StateDir(slug)
	lock, err := m.Home.Create(bottle.Bottle{Slug: slug, Agent: agent, Bottle: agent, Status: bottle.Running, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	lock.Unlock()
	for file, text := range map[string]string{
		"routes.yaml": fmt.Sprintf("routes:\n- {host: a.example, auth: {scheme: Bearer, credential: %q, refresh: 45m}}\n", name) +
			"- {host: b.example, auth: {scheme: Bearer, credential: \"env:STAYS\"}}\n",
		"host.json": `{"addresses":[]}`,
	} {
		write(t, filepath.Join(dir, plan.EgressService, "in", file), text)
	}
	write(t, filepath.Join(dir, plan.EgressService, "out", "applied.json"),
		fmt.Sprintf(`{"generation":1,"renew_at":%q,"due":{%q:%[1]q,"env:STAYS":%[1]q}}`, due.UTC().Format(time.RFC3339), name))
	egress := plan.ContainerName(slug, plan.EgressService)
	err = m.Engine.Create(t.Context(), plan.Container{Name: egress, Service: plan.EgressService,
		Labels: map[string]string{plan.LabelHome: m.Home.ID, plan.LabelSlug: slug, plan.LabelService: plan.EgressService}})
	if err == nil {
		err = m.Engine.Start(t.Context(), egress)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// noFailure is told what fails.
func noFailure(t *testing.T) func(string) {
	return func(line string) { t.Error(line) }
}

func TestWhatHasAgedIsResolvedAnew(t *testing.T) {
	m, handed := aged(t, time.Now().Add(-time.Minute))
	t.Setenv("AGES", "the-new-value")
	stop := KeepFresh(m, noFailure(t)) // STAYS is not set, and not asked for
	if doc := <-handed; !maps.Equal(doc.Values, map[string]string{"env:AGES": "the-new-value"}) {
		t.Error("something else was handed over")
	}
	stop()
}

func TestWhatHasNotAgedIsLeftAlone(t *testing.T) {
	m, handed := aged(t, time.Now().Add(time.Hour))
	if KeepFresh(m, noFailure(t))(); len(handed) > 0 {
		t.Errorf("%d handovers", len(handed))
	}
}

// program is one that has no terminal, and what it says.
func program(f func(context.Context, *cli.Call) error) (said string, code int) {
	var out, errOut strings.Builder
	app := cli.App{Name: "bottle-test", Action: func(c *cli.Call) error { return f(context.Background(), c) }}
	code = app.Run([]string{"bottle-test"}, strings.NewReader(""), &out, &errOut)
	return errOut.String(), code
}

func renewed(m *lifecycle.Manager) (said string, code int) {
	return program(func(ctx context.Context, c *cli.Call) error {
		n, err := Renew(ctx, m, "dev-aaaa", Resolver(c))
		fmt.Fprintf(c.Err, "%d renewed\n", n)
		return Explain("dev-aaaa", err)
	})
}

func look(m *lifecycle.Manager) string {
	said, _ := program(func(ctx context.Context, c *cli.Call) error { RenewDue(ctx, c, m); return nil })
	return said
}

// A command that fails is told once, and left alone for a while.
func TestARenewalThatFailsIsToldOnce(t *testing.T) {
	m, handed := aged(t, time.Now().Add(-time.Minute))
	os.Unsetenv("AGES")
	said := look(m)
	for _, want := range []string{"bottle-test: a credential of dev-aaaa could not be renewed, the old one goes on", "your environment has no AGES", "bottle-start --renew dev-aaaa"} {
		if !strings.Contains(said, want) || strings.Count(said, "\n") != 1 {
			t.Errorf("%q does not say %q in one line", said, want)
		}
	}
	t.Setenv("AGES", "the-new-value")
	if said := look(m); said != "" || len(handed) > 0 {
		t.Errorf("it is tried at once again: %q, %d handovers", said, len(handed))
	}
	r := m.Home.Renewal("dev-aaaa")
	if r.Tried = r.Tried.Add(-2 * tryAgain); m.Home.PutRenewal("dev-aaaa", r) != nil || !slices.Equal(r.Failed, []string{"env:AGES"}) {
		t.Fatalf("%+v", r)
	}
	os.Unsetenv("AGES")
	if said := look(m); said != "" || m.Home.Renewal("dev-aaaa").Tried.Equal(r.Tried) {
		t.Errorf("later it was not tried, or told again: %q", said)
	}
	t.Setenv("AGES", "the-new-value")
	if said, code := renewed(m); code != 1 || !strings.Contains(said, "your environment has no STAYS") || !strings.Contains(said, "1 renewed") {
		t.Fatalf("exit code %d, %q", code, said)
	}
	if doc := <-handed; !maps.Equal(doc.Values, map[string]string{"env:AGES": "the-new-value"}) {
		t.Error("something else was handed over")
	}
	t.Setenv("STAYS", "another-value")
	if said, code := renewed(m); code != 0 || !strings.Contains(said, "2 renewed") || len(m.Home.Renewal("dev-aaaa").Failed) > 0 {
		t.Errorf("exit code %d, %q, left %+v", code, said, m.Home.Renewal("dev-aaaa"))
	}
}

// While one program asks a command, another does not.
func TestOneProgramRenewsAtATime(t *testing.T) {
	m, handed := aged(t, time.Now().Add(-time.Minute))
	t.Setenv("AGES", "the-new-value")
	lock, err := m.Home.LockRenewal(t.Context(), "dev-aaaa")
	if err != nil {
		t.Fatal(err)
	}
	if said := look(m); said != "" || len(handed) > 0 {
		t.Errorf("%q, %d handovers", said, len(handed))
	}
	lock.Unlock()
	if said := look(m); said != "" || len(handed) != 1 {
		t.Errorf("%q, %d handovers", said, len(handed))
	}
}

// Nothing is asked for a bottle that could not take it.
func TestABottleThatDoesNotRunIsNotRenewed(t *testing.T) {
	m, handed := aged(t, time.Now().Add(-time.Minute))
	os.Unsetenv("AGES")
	if err := m.Engine.Remove(t.Context(), plan.ContainerName("dev-aaaa", plan.EgressService)); err != nil {
		t.Fatal(err)
	}
	if said := look(m); said != "" || len(handed) > 0 {
		t.Errorf("%q", said)
	}
	if said, code := renewed(m); code != cli.Conflict || !strings.Contains(said, "run bottle-start --resume dev-aaaa") {
		t.Errorf("exit code %d, %q", code, said)
	}
}

// Who renews may have another proxy in its environment than the bottle goes through.
func TestALoginIsRenewedForItsOwnProxyAlone(t *testing.T) {
	m, handed := aged(t, time.Now().Add(time.Hour))
	t.Setenv("AGES", "value-one")
	t.Setenv("STAYS", "value-two")
	told := filepath.Join(m.Home.StateDir("dev-aaaa"), plan.EgressService, "in", "host.json")
	if err := os.WriteFile(told, []byte(`{"addresses":[],"proxy":{"address":"old.corp:3128","login":"proxy:login"}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HTTPS_PROXY", "http://ada:geheim@new.corp:3128")
	said, code := renewed(m)
	if code != 1 || !strings.Contains(said, "logs in at old.corp:3128, and config.yaml or your environment names new.corp:3128") || strings.Contains(said, "geheim") {
		t.Errorf("exit code %d, %q", code, said)
	}
	if doc := <-handed; doc.Values[bottle.ProxyLogin] != "" || len(doc.Values) != 2 {
		t.Error("the login of another proxy was handed over")
	}
	t.Setenv("HTTPS_PROXY", "http://ada:geheim@old.corp:3128")
	if said, code := renewed(m); code != 0 || (<-handed).Values[bottle.ProxyLogin] != "ada:geheim" {
		t.Errorf("exit code %d, %q", code, said)
	}
}

// A command that asks, or takes its time until it fails, does so once, however many
// bottles rest on what it says.
func TestWhatBottlesShareIsAskedForOnce(t *testing.T) {
	m, _ := aged(t, time.Now().Add(time.Hour))
	asked := filepath.Join(t.TempDir(), "asked")
	command := "cmd:sh -c 'echo asked >> " + asked + "; exit 1'"
	ref, err := tokenref.Parse(command)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(m.Home.Dir, "agents/web.md"), "---\nbottle: web\nprogram: shell\n---\n")
	write(t, filepath.Join(m.Home.Dir, "bottles/web.md"), "---\negress:\n  routes:\n  - {host: a.example, auth: {scheme: Bearer, token_ref: \""+command+"\", refresh: 45m}}\n---\n")
	for _, slug := range []string{"web-aaaa", "web-bbbb", "web-cccc"} {
		age(t, m, slug, ref.Name(), time.Now().Add(-time.Minute))
	}
	said := look(m)
	if times, err := os.ReadFile(asked); err != nil || string(times) != "asked\n" || strings.Count(said, "could not be renewed") != 3 {
		t.Errorf("%q, %v: %s", times, err, said)
	}
}
