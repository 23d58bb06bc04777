package bench

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"bottle/test/rig"
)

// startMany starts bottles, four at a time.
func startMany(t *testing.T, r *rig.Rig, bottles int) {
	t.Helper()
	slots := make(chan struct{}, 4)
	failed := make([]string, bottles)
	var wg sync.WaitGroup
	for i := range bottles {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if _, said, code := r.Run("bottle-start", "--yes", "--detach", "--workspace", "none", "dev"); code != 0 {
				failed[i] = said
			}
		})
	}
	wg.Wait()
	for _, said := range failed {
		if said != "" {
			t.Fatalf("a bottle did not start: %s", said)
		}
	}
}

// Fifty bottles on one engine: the pool and the limits hold, and all come down.
func TestManyBottles(t *testing.T) {
	long(t)
	const bottles = 50
	r := rig.New(t)
	r.Agent("dev")
	up := &timing{name: fmt.Sprintf("%d bottles up, four at a time", bottles)}
	up.run(t, func() { startMany(t, r, bottles) })
	ls := &timing{name: "bottle-ls of them"}
	for range 10 {
		ls.run(t, func() {
			if out, said, code := r.Run("bottle-ls"); code != 0 || strings.Count(out, `"status":"running"`) != bottles {
				t.Fatalf("bottle-ls ended with %d: %s%s", code, out, said)
			}
		})
	}
	down := &timing{name: "bottle-stop --all"}
	down.run(t, func() {
		if _, said, code := r.Run("bottle-stop", "--all"); code != 0 {
			t.Fatalf("bottle-stop --all ended with %d: %s", code, said)
		}
	})
	fmt.Printf("%s\n%s\n%s\n\n", up, ls, down)
}

// What the disk knows is told at once while the engine is away.
func TestListWithoutAnEngine(t *testing.T) {
	r := rig.New(t)
	r.Run("bottle-ls", "agents")
	for n := range 100 {
		slug := fmt.Sprintf("dev-%04d", n)
		r.Write("state/"+slug+"/metadata.json", `{"slug":"`+slug+`","agent":"dev","status":"running","started_at":"2026-11-24T09:00:00Z"}`)
	}
	r.Env = []string{"DOCKER_HOST=unix:///nonexistent/docker.sock"}
	ls := &timing{name: "bottle-ls, 100 state directories, no engine"}
	for range 20 {
		ls.run(t, func() {
			if out, said, code := r.Run("bottle-ls"); code != 5 || strings.Count(out, "\n") != 100 {
				t.Fatalf("bottle-ls ended with %d: %s%s", code, out, said)
			}
		})
	}
	fmt.Printf("%s\n\n", ls)
}

// A start with a workspace: what it takes besides a start without one is the
// copy's.
func TestStartWithAWorkspace(t *testing.T) {
	long(t)
	const rounds, megabytes = 6, 100
	r := rig.New(t)
	r.Agent("dev")
	fill(t, r.Dir, megabytes)
	with, without := &timing{name: fmt.Sprintf("bottle-start, %d MB in 1,000 files", megabytes)}, &timing{name: "bottle-start --workspace none"}
	stop := func(slug string) {
		if _, said, code := r.Run("bottle-stop", "--discard", slug); code != 0 {
			t.Fatalf("bottle-stop ended with %d: %s", code, said)
		}
	}
	for range rounds {
		var slug string
		with.run(t, func() { slug = r.Start("dev", "--workspace", "copy") })
		stop(slug)
		without.run(t, func() { slug = r.Start("dev") })
		stop(slug)
	}
	report(with, without)
}

// fill makes a git repository of files that do not compress.
func fill(t *testing.T, dir string, megabytes int) {
	t.Helper()
	noise := rand.NewChaCha8([32]byte{1})
	data := make([]byte, megabytes<<20/1000)
	for n := range 1000 {
		noise.Read(data)
		path := filepath.Join(dir, fmt.Sprintf("d%d", n%10), fmt.Sprintf("f%d", n))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}, {"-c", "user.name=Ada", "-c", "user.email=ada@example.com", "commit", "-qm", "all"}} {
		must(t, "git", append([]string{"-C", dir}, args...)...)
	}
}
