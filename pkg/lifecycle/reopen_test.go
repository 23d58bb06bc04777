package lifecycle

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"bottle/pkg/agent"
	"bottle/pkg/plan"
	"bottle/pkg/state"
)

func TestLaterSessionsGoOnWithoutTheFirstTask(t *testing.T) {
	l := newLab(t)
	claude, err := agent.Lookup(agent.Program{Name: "claude"})
	if err != nil {
		t.Fatal(err)
	}
	s := l.spec
	s.Agent, s.Task = claude, "fix issue 12"
	if first := firstSession(s, "sub dir"); !slices.Contains(first.Argv, "fix issue 12") || first.Resume || first.Dir != plan.WorkDir+"/sub dir" {
		t.Errorf("the first session: %+v", first)
	}
	b, err := l.Up(t.Context(), l.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.saveSession(b.Slug, s, "sub dir"); err != nil {
		t.Fatal(err)
	}
	record, err := os.ReadFile(filepath.Join(b.StateDir, state.SessionFile))
	if err != nil || strings.Contains(string(record), "issue 12") {
		t.Errorf("recorded: %s, %v", record, err)
	}
	next, err := l.NextSession(b.Slug, map[string]string{"KEY": "anew"})
	if err != nil || !next.Resume || !slices.Contains(next.Continue, "--continue") || next.Dir != plan.WorkDir+"/sub dir" || next.Env["KEY"] != "anew" ||
		!slices.Contains(next.Argv, "--append-system-prompt-file") {
		t.Errorf("the next session: %+v, %v", next, err)
	}
}

func TestASessionWhoseRecordIsLostIsStartedByItsProgramsName(t *testing.T) {
	l := newLab(t)
	b := l.bottle(t)
	file := filepath.Join(b.StateDir, state.SessionFile)
	for _, content := range []string{"{", "{}", ""} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if next, err := l.NextSession(b.Slug, nil); err != nil || !slices.Equal(next.Argv, []string{"/bin/bash"}) || !next.Terminal {
			t.Errorf("%q: %+v, %v", content, next, err)
		}
	}
	b.Program = "command"
	if err := l.Home.Save(b); err != nil {
		t.Fatal(err)
	}
	if next, err := l.NextSession(b.Slug, nil); err == nil {
		t.Errorf("a command line is guessed: %+v", next)
	}
}
