package pane

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bottle/pkg/tmux"
)

// window starts a tmux of the test's own, as in which the test runs then.
func window(t *testing.T, width string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "b") // short: a socket's path has a bound
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	t.Cleanup(func() {
		exec.Command("tmux", "-S", socket, "kill-server").Run()
		os.RemoveAll(dir)
	})
	t.Setenv("TMUX", "")
	out, err := exec.Command("tmux", "-S", socket, "-f", "/dev/null", "new-session", "-d", "-P", "-F", "#{pane_id}", "-x", width, "-y", "24", "--",
		"sleep", "1000").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("TMUX", socket+",1,0")
	t.Setenv("TMUX_PANE", strings.TrimSpace(string(out)))
}

func panes(t *testing.T) []tmux.Pane {
	t.Helper()
	out, err := run(context.Background(), tmux.Panes(os.Getenv("TMUX_PANE")))
	all, perr := tmux.ParsePanes(out)
	if err != nil || perr != nil {
		t.Fatal(err, perr)
	}
	return all
}

func TestTenAtOnceShareOneRightPane(t *testing.T) {
	window(t, "120")
	for range 3 { // with none, and with one that was closed
		var wg sync.WaitGroup
		for n := range 10 {
			wg.Go(func() {
				err := Show(context.Background(), fmt.Sprintf("dev-%04d", n), tmux.Process{Argv: []string{"sleep", "1000"}}, false)
				if err != nil {
					t.Errorf("%d: %v", n, err)
				}
			})
		}
		wg.Wait()
		all := panes(t)
		right, ok := tmux.Right(all)
		if len(all) != 2 || !ok || right.Shows == "" || right.Active {
			t.Fatalf("%+v", all)
		}
		if _, err := run(context.Background(), tmux.Close(right.ID)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTheKeyboardGoesWhereItIsAskedTo(t *testing.T) {
	window(t, "120")
	for _, focus := range []bool{false, true} {
		// A word that ends in a semicolon ends no command of tmux'.
		err := Show(context.Background(), "dev-aaaa", tmux.Process{Argv: []string{"sh", "-c", "sleep 1000", "x;"}}, focus)
		if right, ok := tmux.Right(panes(t)); err != nil || !ok || right.Active != focus {
			t.Errorf("%v: %+v %v", focus, right, err)
		}
	}
}

func TestAPaneThatCannotBeMadeIsAnErrorInOneLine(t *testing.T) {
	window(t, "2")
	err := Show(context.Background(), "dev-aaaa", tmux.Process{Argv: []string{"sleep", "1000"}}, true)
	if err == nil || !strings.Contains(err.Error(), "no space") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	if all := panes(t); len(all) != 1 || all[0].Shows != "" {
		t.Errorf("%+v", all)
	}
	t.Setenv("TMUX", filepath.Join(t.TempDir(), "gone")+",1,0")
	if err := Show(context.Background(), "dev-aaaa", tmux.Process{Argv: []string{"sleep", "1000"}}, true); err == nil || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	t.Setenv("TMUX_PANE", "%1; kill-server")
	if err := Show(context.Background(), "dev-aaaa", tmux.Process{}, true); err != ErrNoTmux {
		t.Error(err)
	}
}
