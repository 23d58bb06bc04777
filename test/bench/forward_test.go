package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"bottle/test/rig"
)

// echoing is a program for inside that sends back what it gets.
const echoing = `use IO::Socket::INET; $SIG{CHLD} = 'IGNORE';
my $l = IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => 7000, Listen => 128) or die $!;
print "listening\n"; close STDOUT;
while (my $c = $l->accept) {
  if (fork) { close $c; next }
  while (my $got = sysread $c, my $b, 65536) { for (my $at = 0; $at < $got;) { $at += syswrite($c, $b, $got - $at, $at) || exit } }
  exit;
}`

// A connection through a tunnel, against the one exec that each would cost
// without.
func TestForwardAgainstAnExecAConnection(t *testing.T) {
	long(t)
	rounds, _ := size()
	r := rig.New(t)
	r.Agent("dev")
	slug := r.Start("dev")
	server := r.Command(t.Context(), "bottle-attach", slug, "--", "perl", "-e", echoing)
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err == nil {
		_, err = bufio.NewReader(out).ReadString('\n')
	}
	if err != nil {
		t.Fatal(err)
	}
	forward := r.Command(t.Context(), "bottle-attach", "--forward", "0:7000", slug)
	told, err := forward.StdoutPipe()
	if err == nil {
		err = forward.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(told).ReadString('\n')
	addr, _, _ := strings.Cut(line, " ")
	defer forward.Wait()
	defer server.Wait()
	defer forward.Process.Kill()
	defer server.Process.Kill()

	ours, theirs := &timing{name: "a connection by --forward, until a byte is back"}, &timing{name: "docker exec, of a program that does nothing"}
	mass := &timing{name: "64 MiB there and back, by one connection"}
	back := func(size int) {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		go c.Write(make([]byte, size))
		if _, err := io.ReadFull(c, make([]byte, size)); err != nil {
			t.Fatal(err)
		}
	}
	for range rounds * 2 {
		ours.run(t, func() { back(1) })
		mass.run(t, func() { back(64 << 20) })
		theirs.run(t, func() {
			if out, err := exec.CommandContext(context.Background(), "docker", "exec", fmt.Sprintf("bottle-%s-agent-1", slug), "true").CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		})
	}
	report(ours, theirs)
	fmt.Println(mass)
}
