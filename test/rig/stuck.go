package rig

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A 20.10 engine sometimes locks up all its networking for good (moby/moby#46661).
// Tests would wait for it as long as they may, package after package.
const (
	askEvery = 30 * time.Second
	stuckFor = 3 * time.Minute
)

var watched sync.Once

// watchEngine ends the process, and says what the engine waits for, once the engine
// that all have has not told its networks for stuckFor.
func watchEngine() {
	watched.Do(func() {
		go func() {
			for range time.Tick(askEvery) {
				ctx, cancel := context.WithTimeout(context.Background(), stuckFor)
				cmd := exec.CommandContext(ctx, "docker", "network", "ls", "-q")
				hangUp(cmd)
				cmd.Run() // an engine that refuses, or was stopped, is the tests' own concern
				stuck := ctx.Err() != nil
				cancel()
				if stuck {
					fmt.Fprintf(os.Stderr, "rig: the engine is stuck: it has not told its networks for %v\n%s", stuckFor, engineStacks("/var/run"))
					os.Exit(1)
				}
			}
		}()
	})
}

// engineStacks has the engine whose process is named in run/docker.pid write down
// what it does, and returns the parts that are about networks.
func engineStacks(run string) string {
	stacks, err := func() ([]byte, error) {
		text, err := os.ReadFile(filepath.Join(run, "docker.pid"))
		if err != nil {
			return nil, err
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			return nil, err
		}
		if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
			return nil, err
		}
		time.Sleep(5 * time.Second) // nothing tells when it is written
		files, err := filepath.Glob(filepath.Join(run, "docker", "goroutine-stacks-*.log"))
		if len(files) == 0 {
			return nil, cmp.Or(err, os.ErrNotExist)
		}
		return os.ReadFile(files[len(files)-1]) // the names have the time in them
	}()
	if err != nil {
		return fmt.Sprintf("rig: cannot tell why: %v\n", err)
	}
	return aboutNetworks(stacks)
}

// aboutNetworks picks the stacks of those who hold or want an engine's locks of
// networks, a few lines each.
func aboutNetworks(stacks []byte) string {
	const lines, most = 13, 12
	var b strings.Builder
	picked := 0
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if picked == most || !bytes.Contains(stack, []byte("libnetwork")) || !bytes.Contains(stack, []byte("sync.(*Mutex)")) {
			continue
		}
		picked++
		for i, line := range bytes.Split(bytes.TrimSpace(stack), []byte("\n")) {
			if i < lines {
				fmt.Fprintf(&b, "%s\n", line)
			}
		}
	}
	return b.String()
}
