package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// openPorts are all that egress has for an agent.
var openPorts = []uint16{53, httpPort, tlsPort, proxyPort}

// insides is row E27.
func insides(t Targets) []attempt {
	if !t.Egress.IsValid() {
		return nil
	}
	return []attempt{
		{what: "egress' ports", wait: time.Minute, try: func(ctx context.Context) error { return onlyPorts(ctx, t.Egress) }},
		{what: "a private key", wait: time.Minute, try: func(ctx context.Context) error { return noPrivateKey(ctx, "/") }},
		{what: "egress' processes", try: noForeignProcess},
	}
}

// onlyPorts dials every TCP port of egress. Those that it has for the agent
// must answer: a scan that finds nothing proves nothing.
func onlyPorts(ctx context.Context, egress netip.Addr) error {
	var mu sync.Mutex
	var open []uint16
	var unclear error // only a refusal says that a port is closed
	ports := make(chan uint16)
	var workers sync.WaitGroup
	for range 64 {
		workers.Go(func() {
			for port := range ports {
				conn, err := new(net.Dialer).DialContext(ctx, "tcp", netip.AddrPortFrom(egress, port).String())
				mu.Lock()
				switch {
				case err == nil:
					conn.Close()
					open = append(open, port)
				case !errors.Is(err, unix.ECONNREFUSED):
					unclear = err
				}
				mu.Unlock()
			}
		})
	}
	for port := 1; port <= 65535; port++ {
		ports <- uint16(port)
	}
	close(ports)
	workers.Wait()
	slices.Sort(open)
	if !slices.Equal(open, openPorts) {
		return fmt.Errorf("open are %v, not %v", open, openPorts)
	}
	if unclear != nil {
		return fmt.Errorf("not every port was tried: %w", unclear)
	}
	return nil
}

// noPrivateKey looks through every file the agent may read for a private key in
// PEM form. Programs hold the words too, as text to look for: what counts is a
// line of its own.
func noPrivateKey(ctx context.Context, root string) error {
	looked, head := 0, make([]byte, keyHead)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return skip(d)
		case d.IsDir() && (path == "/proc" || path == "/sys" || path == "/dev"):
			return fs.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		looked++
		if isPrivateKey(path, head) {
			return fmt.Errorf("%s can be read", path)
		}
		return nil
	})
	if err == nil && looked == 0 {
		err = fmt.Errorf("there is no file below %s to look at", root)
	}
	return err
}

// skip goes on after what cannot be read.
func skip(d fs.DirEntry) error {
	if d != nil && d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

// keyHead is how much of a file is looked at.
const keyHead = 16 << 10

// isPrivateKey says whether a file begins as a PEM private key does, in its
// first few kilobytes, for which head has room.
func isPrivateKey(path string, head []byte) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return false
	}
	begin := []byte("-----BEGIN ")
	if head = head[:n]; !bytes.Contains(head, begin) {
		return false
	}
	for line := range bytes.Lines(head) {
		line = bytes.TrimSpace(line)
		if bytes.HasPrefix(line, begin) && bytes.HasSuffix(line, []byte("PRIVATE KEY-----")) {
			return true
		}
	}
	return false
}

// noForeignProcess looks for egress among the processes: who sees them may read
// their memory or their files through /proc.
func noForeignProcess(context.Context) error {
	names, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil || len(names) == 0 {
		return errors.New("there is no /proc to look at")
	}
	for _, name := range names {
		comm, err := os.ReadFile(name)
		if err == nil && string(bytes.TrimSpace(comm)) == "bottle-egress" {
			return fmt.Errorf("%s is egress", filepath.Dir(name))
		}
	}
	return nil
}
