package session

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bottle/test/rig"
)

// server is a program for inside: it sends back what it gets on connections that
// begin with e, and counts it on others, until that ends.
const server = `use IO::Socket::INET;
$SIG{CHLD} = 'IGNORE';
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 7000, Listen => 128, ReuseAddr => 1) or die $!;
print "listening\n"; close STDOUT;
while (my $c = $l->accept) {
  if (fork) { close $c; next }
  my ($n, $kind, $b) = (0);
  sysread $c, $kind, 1;
  while (my $got = sysread $c, $b, 65536) {
    $n += $got;
    for (my $at = 0; $kind eq 'e' && $at < $got;) { $at += syswrite($c, $b, $got - $at, $at) || exit }
  }
  syswrite $c, "$n\n" if $kind ne 'e';
  exit;
}`

// serve runs the server in a bottle.
func serve(t *testing.T, r *rig.Rig, slug string) {
	t.Helper()
	cmd := r.Command(t.Context(), "bottle-attach", slug, "--", "perl", "-e", server)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err == nil {
		_, err = io.ReadFull(out, make([]byte, len("listening\n")))
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
}

// forwarder is a bottle-attach --forward.
type forwarder struct {
	*exec.Cmd
	said *bufio.Reader // on stderr
	addr []string      // of each port
}

var forwarded = regexp.MustCompile(`^(127\.0\.0\.1:\d+) is port \d+ of `)

func forward(t *testing.T, r *rig.Rig, slug string, ports ...string) *forwarder {
	t.Helper()
	args := []string{slug}
	for _, p := range ports {
		args = append(args, "--forward", p)
	}
	f := &forwarder{Cmd: r.Command(t.Context(), "bottle-attach", args...)}
	told, err := f.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, err := f.StderrPipe()
	if err == nil {
		err = f.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	f.said = bufio.NewReader(said)
	t.Cleanup(func() { f.Process.Kill(); f.Cmd.Wait() })
	answer := bufio.NewReader(told)
	for range ports {
		line, _ := answer.ReadString('\n')
		m := forwarded.FindStringSubmatch(line)
		if m == nil {
			rest, _ := io.ReadAll(f.said)
			t.Fatalf("it told no address: %q %s", line, rest)
		}
		f.addr = append(f.addr, m[1])
	}
	return f
}

func (f *forwarder) line(t *testing.T) string {
	t.Helper()
	line, err := f.said.ReadString('\n')
	if err != nil {
		t.Fatalf("it says no more: %v", err)
	}
	return line
}

func (f *forwarder) ends() int {
	f.Cmd.Wait()
	return f.ProcessState.ExitCode()
}

func dial(t *testing.T, addr string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}

// echoes fails unless what is sent comes back, while it is sent.
func echoes(t *testing.T, addr string, size int) {
	t.Helper()
	sent := make([]byte, size)
	rand.Read(sent)
	c := dial(t, addr)
	defer c.Close()
	go func() {
		c.Write([]byte("e"))
		c.Write(sent)
		c.CloseWrite()
	}()
	if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back: %v", len(got), len(sent), err)
	}
}

func serverIsReachedFromTheLoopback(t *testing.T, r *rig.Rig, slug string) {
	serve(t, r, slug)
	f := forward(t, r, slug, "0:7000", "0:7001")

	// One that is interrupted, and one that is killed, leave nothing there.
	if !strings.Contains(processes(r, slug), "bottle-inside forward") {
		t.Fatal("there is nothing to leave: the test proves nothing")
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { echoes(t, f.addr[0], 1<<20) })
	}
	all.Wait()
	echoes(t, f.addr[0], 100<<20)

	c := dial(t, f.addr[0])
	fmt.Fprint(c, "count these")
	c.CloseWrite()
	if got, err := io.ReadAll(c); err != nil || string(got) != "10\n" {
		t.Errorf("after the end of what was sent: %q, %v", got, err)
	}
	refused, err := net.Dial("tcp", f.addr[1])
	if err == nil {
		_, err = refused.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) { // it may come before the dial has ended
		t.Errorf("where nothing listens: %v", err)
	}
	if said := f.line(t); said != "bottle-attach: nothing listens on port 7001 of "+slug+"\n" {
		t.Errorf("where nothing listens: %q", said)
	}
	_, port, _ := net.SplitHostPort(f.addr[0])
	if _, said, code := r.Run("bottle-attach", slug, "--forward", port+":7000"); code != 6 || !strings.Contains(said, "port is in use") {
		t.Errorf("a port that is in use: %d: %s", code, said)
	}

	f.Process.Signal(syscall.SIGINT)
	if code := f.ends(); code != 130 {
		t.Errorf("interrupted, it ended with %d", code)
	}
	if c, err := net.Dial("tcp", f.addr[0]); err == nil {
		c.Close()
		t.Error("the port is still there")
	}
	without(t, r, slug, "bottle-inside forward")
	killed := forward(t, r, slug, "0:7000")
	open := dial(t, killed.addr[0])
	defer open.Close()
	killed.Process.Kill()
	killed.ends()
	without(t, r, slug, "bottle-inside forward")

	last := forward(t, r, slug, "0:7000")
	if _, said, code := r.Run("bottle-stop", slug); code != 0 {
		t.Fatalf("bottle-stop ended with %d: %s", code, said)
	}
	if said := last.line(t); !strings.HasPrefix(said, "bottle-attach: the ports of "+slug+" are gone") {
		t.Errorf("after the stop: %q", said)
	}
	if code := last.ends(); code != 1 {
		t.Errorf("after the stop it ended with %d", code)
	}
}
