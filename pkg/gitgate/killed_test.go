package gitgate

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// gitOn is the process of a git that writes to a quarantine of the repository; 0:
// there is none.
func gitOn(r *repo) int {
	found, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, name := range found {
		env, _ := os.ReadFile(name)
		if bytes.Contains(env, []byte("GIT_OBJECT_DIRECTORY="+filepath.Join(r.dir, quarantines))) {
			pid, _ := strconv.Atoi(strings.Split(name, "/")[2])
			return pid
		}
	}
	return 0
}

// A git that is killed while a pack comes in has another take it in, or refuses it,
// and leaves nothing.
func TestAGitThatIsKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	data := here(t, packOf(t, secretive(t)), "pack")
	for upstream, taken := range map[string]bool{"another": true, "": false} {
		p := intake(t, formatSHA1)
		p.remote.Upstream = upstream
		body, client := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			err := p.follow(t.Context(), body)
			body.CloseWithError(io.ErrClosedPipe)
			ended <- err
		}()
		client.Write(data[:len(data)/2])
		waitFor(t, "git", func() bool { return gitOn(p.repo) != 0 })
		if err := syscall.Kill(gitOn(p.repo), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		client.Write(data[len(data)/2:])
		client.Close()
		if err := <-ended; (err == nil) != taken {
			t.Errorf("upstream %q: %v", upstream, err)
		}
		packs, _ := filepath.Glob(filepath.Join(p.quarantine, "pack", "pack-*.pack"))
		places, _ := filepath.Glob(filepath.Join(p.repo.dir, quarantines, "*"))
		if (len(packs) == 1) != taken || len(places) != 1 {
			t.Errorf("upstream %q: there are %q in %q", upstream, packs, places)
		}
	}
}

// Whenever it is over, follow ends, and with it all that it began.
func TestFollowEndsWithItsContext(t *testing.T) {
	data := here(t, packOf(t, secretive(t)), "pack")
	open := func() int {
		found, _ := os.ReadDir("/proc/self/fd")
		return runtime.NumGoroutine() + len(found)
	}
	before := open()
	for i := range 20 {
		p := intake(t, formatSHA1)
		ctx, cancel := context.WithCancel(t.Context())
		at := len(data) * i / 19
		body := io.MultiReader(bytes.NewReader(data[:at]), &ending{cancel}, bytes.NewReader(data[at:]))
		if err := p.follow(ctx, body); err == nil && i < 19 {
			t.Errorf("it goes on behind %d bytes", at)
		}
		if places, _ := filepath.Glob(filepath.Join(p.repo.dir, quarantines, "*")); len(places) != 1 {
			t.Errorf("behind %d bytes there are %q", at, places)
		}
	}
	waitFor(t, "the end of all goroutines and files", func() bool { return open() <= before })
}

// ending is nothing to read, and calls what it has.
type ending struct{ end func() }

func (e *ending) Read([]byte) (int, error) {
	e.end()
	return 0, io.EOF
}
