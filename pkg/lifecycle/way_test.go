package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/agent"
	"bottle/pkg/npm"
	"bottle/pkg/state"
)

// Programs of this machine know the operator's proxies, and npm may say what it
// was told.
func TestWhatProgramsSayOfAProxyIsWrittenWithoutItsLogin(t *testing.T) {
	l := newLab(t)
	bin := t.TempDir()
	says := "#!/bin/sh\necho \"it goes by $HTTPS_PROXY\" >&2\nprintf '{\"error\":{\"code\":\"EPROXY\",\"summary\":\"by %s\"}}' \"$HTTPS_PROXY\"\nexit 1\n"
	if err := os.WriteFile(filepath.Join(bin, "npm"), []byte(says), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
	t.Setenv("HTTPS_PROXY", "http://a-token@proxy.corp:3128")
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	l.spec.Manifest.Program = agent.Program{Name: "codex"}
	var err error
	if l.spec.Agent, err = agent.Lookup(l.spec.Manifest.Program); err != nil {
		t.Fatal(err)
	}
	l.spec.Way.Hide = []string{"a-token"}
	b, err := l.Up(t.Context(), l.spec, nil)
	if !errors.Is(err, npm.ErrUnavailable) || strings.Contains(err.Error(), "a-token") || !strings.Contains(err.Error(), "by http://***@proxy.corp:3128") {
		t.Errorf("the error is %v", err)
	}
	log, err := os.ReadFile(filepath.Join(l.Home.HistoryDir(b.Slug), state.BringupLog))
	if err != nil || strings.Contains(string(log), "a-token") || !strings.Contains(string(log), "it goes by http://***@proxy.corp:3128") {
		t.Errorf("the log is %v: %s", err, log)
	}
}
