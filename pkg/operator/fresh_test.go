package operator

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/engine/enginetest"
	"bottle/pkg/lifecycle"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

// aged is a bottle that runs, one of whose values was to be renewed at due.
func aged(t *testing.T, due time.Time) (*lifecycle.Manager, chan bottle.Secrets) {
	t.Helper()
	home, err := state.Open(filepath.Join(t.TempDir(), "home"))
	if err != nil {
		t.Fatal(err)
	}
	lock, err := home.Create(bottle.Bottle{Slug: "dev-aaaa", Agent: "dev", Bottle: "dev", Status: bottle.Running, StateDir: home.StateDir("dev-aaaa")})
	if err != nil {
		t.Fatal(err)
	}
	lock.Unlock()
	for name, text := range map[string]string{
		"agents/dev.md": "---\nbottle: dev\nprogram: shell\n---\n",
		"bottles/dev.md": "---\negress:\n  routes:\n  - {host: a.example, auth: {scheme: Bearer, token_ref: AGES, refresh: 45m}}\n" +
			"  - {host: b.example, auth: {scheme: Bearer, token_ref: STAYS}}\n---\n",
		"state/dev-aaaa/egress/in/routes.yaml": "routes:\n- {host: a.example, auth: {scheme: Bearer, credential: \"env:AGES\", refresh: 45m}}\n" +
			"- {host: b.example, auth: {scheme: Bearer, credential: \"env:STAYS\"}}\n",
		"state/dev-aaaa/egress/out/applied.json": `{"generation":1,"renew_at":"` + due.UTC().Format(time.RFC3339) + `"}`,
	} {
		path := filepath.Join(home.Dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fake := enginetest.NewFake()
	egress := plan.ContainerName("dev-aaaa", plan.EgressService)
	for _, step := range []error{fake.Create(t.Context(), plan.Container{Name: egress, Service: plan.EgressService,
		Labels: map[string]string{plan.LabelHome: home.ID, plan.LabelSlug: "dev-aaaa", plan.LabelService: plan.EgressService}}), fake.Start(t.Context(), egress)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	handed := make(chan bottle.Secrets, 10)
	fake.OnExec = func(_ string, x engine.Exec) (int, error) {
		var doc bottle.Secrets
		err := json.NewDecoder(x.Stdin).Decode(&doc)
		handed <- doc
		return 0, err
	}
	return &lifecycle.Manager{Home: home, Engine: fake}, handed
}

func TestWhatHasAgedIsResolvedAnew(t *testing.T) {
	m, handed := aged(t, time.Now().Add(-time.Minute))
	t.Setenv("AGES", "the-new-value")
	stop := KeepFresh(m, "dev-aaaa") // STAYS is not set, and not asked for
	if doc := <-handed; !maps.Equal(doc.Values, map[string]string{"env:AGES": "the-new-value"}) {
		t.Error("something else was handed over")
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestWhatHasNotAgedIsLeftAlone(t *testing.T) {
	m, handed := aged(t, time.Now().Add(time.Hour))
	if err := KeepFresh(m, "dev-aaaa")(); err != nil || len(handed) > 0 {
		t.Errorf("%v, %d handovers", err, len(handed))
	}
}

func TestARenewalThatFailsIsTold(t *testing.T) {
	m, handed := aged(t, time.Now().Add(-time.Minute))
	os.Unsetenv("AGES")
	err := KeepFresh(m, "dev-aaaa")()
	if err == nil || !strings.Contains(err.Error(), "your environment has no AGES") || len(handed) > 0 {
		t.Errorf("%v, %d handovers", err, len(handed))
	}
}
