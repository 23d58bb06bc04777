package escape

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/plan"
	"bottle/test/rig"
)

// addresses are E24: where an allowed name leads.
func leadingNames(t *testing.T, s *stage) {
	b := s.raw(t)
	ask := func(host, mark string) string {
		t.Helper()
		out, said, _ := s.r.Inside(b.slug, "curl", http11, "-sS", "-i", "--suppress-connect-headers", "https://"+host+mark)
		return out + said
	}
	if got := ask(secured, "/e24"); !strings.Contains(got, "200 OK") {
		t.Fatalf("where the route says private: true, the request does not arrive: %s", got)
	}
	// The same address, without that word.
	private := []string{"unmarked.test", "10-99-99-99.addr.test", "172-16-99-99.addr.test", "192-168-99-99.addr.test", "100-64-99-99.addr.test",
		dashed(s.targets.Host[0]) + ".addr.test"}
	for _, host := range private {
		if got := ask(host, "/e24-led"); !strings.HasPrefix(got, "HTTP/1.1 403 egress: cannot reach "+host+": its address is") {
			t.Errorf("%s: %s", host, got)
		}
	}
	never := []string{"169-254-169-254.addr.test", "127-0-0-1.addr.test", "0-0-0-0.addr.test", "100-100-100-200.addr.test", "224-0-0-1.addr.test"}
	for _, host := range never {
		if got := ask(host, "/e24-led"); !strings.HasPrefix(got, "HTTP/1.1 403 egress: cannot reach "+host+": its address is refused") {
			t.Errorf("%s, for which the route says private: true: %s", host, got)
		}
	}
	s.unheard(t, "/e24-led")
	// One lookup a dial, and what it says is what is dialled: a name that turns
	// to another address in between is judged by each.
	if got := ask("flip.test", "/e24-flip"); !strings.Contains(got, "403 egress: cannot reach flip.test: its address is refused") {
		t.Errorf("a name that leads to a metadata service: %s", got)
	}
	if got := ask("flip.test", "/e24-flop"); !strings.Contains(got, "200 OK") {
		t.Errorf("the same name, when it leads elsewhere: %s", got)
	}
	for _, host := range append(append(private, never...), "flip.test") {
		asked := 0
		for _, e := range s.u.Heard(host) {
			if e.Kind == "dns" {
				asked++
			}
		}
		want := 1
		if host == "flip.test" {
			want = 2
		}
		if asked != want {
			t.Errorf("%s was looked up %d times, not %d", host, asked, want)
		}
	}
}

// slowScript opens connections that never get done with their heads, says so,
// and tells how many the other side ended.
const slowScript = `fds=
for i in $(seq $2); do exec {fd}<>"/dev/tcp/$0/$1" && printf 'GET /e25-slow HTTP/1.1\r\nHost: pl' >&$fd && fds="$fds $fd"; done
echo open; n=0
for fd in $fds; do cat <&$fd >/dev/null && n=$((n+1)); done; echo ended $n`

// greed is E25: large heads, endless bodies, slow clients.
func greed(t *testing.T, s *stage) {
	s.stays(t, "/e25")
	b := s.raw(t)
	// Two thousand fields stand for a megabyte: no more of it is read.
	big := "GET /e25-big HTTP/1.1~Host: H~" + strings.Repeat("X-Filler: "+strings.Repeat("x", 500)+"~", 2048)
	s.each(t, "431", map[string]string{"a megabyte of fields": big + "~", "one field": "GET /e25-big HTTP/1.1~Host: H~X: " + strings.Repeat("x", 1<<20) + "~~",
		"a target": "GET /e25-big?" + strings.Repeat("x", 1<<20) + " HTTP/1.1~Host: H~~", "many fields": "GET /e25-big HTTP/1.1~Host: H~" + strings.Repeat("X: y~", 1000) + "~"},
		func() (io.ReadWriter, string) { return s.dial(t, httpPort), plain })
	s.unheard(t, "/e25-big")

	const slow = 100
	cmd := exec.Command("docker", "exec", agentOf(b.slug), "bash", "-c", slowScript, s.egressAddress(t, b.slug).String(), fmt.Sprint(httpPort), fmt.Sprint(slow))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	late := time.AfterFunc(rig.Patience, func() { cmd.Process.Kill() })
	defer late.Stop()
	if got := make([]byte, 5); !readFull(out, got) || string(got) != "open\n" {
		t.Fatalf("the slow connections say %q", got)
	}
	// A body without an end, which the upstream waits for.
	endless := exec.Command("docker", "exec", agentOf(b.slug), "sh", "-c", "curl -sS -T - https://raw.test/e25-endless </dev/zero >/dev/null 2>&1")
	if err := endless.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		s.r.TryDocker("exec", agentOf(b.slug), "pkill", "-f", "e25-endless")
		endless.Wait()
	}()
	for i := range 10 {
		if out, said, _ := s.r.Inside(b.slug, "curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", "https://raw.test/e25-other"); out != "200" {
			t.Errorf("request %d of another client: %s%s", i, out, said)
		}
	}
	rest, _ := io.ReadAll(out)
	cmd.Wait()
	if got := strings.TrimSpace(string(rest)); got != fmt.Sprintf("ended %d", slow) {
		t.Errorf("of %d slow connections: %s", slow, got)
	}
	s.unheard(t, "/e25-slow")
}

func readFull(r io.Reader, b []byte) bool { _, err := io.ReadFull(r, b); return err == nil }

// hoardScript takes as many inotify instances as one user may have, and as many
// connections to egress as it gets, says how many, and holds them.
const hoardScript = `use Socket;
my $make = {x86_64 => 253, aarch64 => 26}->{(split /\s+/, qx(uname -m))[0]};
my $inotify = 0;
while (1) { my $fd = $make == 26 ? syscall($make, 0) : syscall($make); last if $fd < 0; last if ++$inotify > 100000 }
my @kept;
for (1..3000) { socket(my $s, PF_INET, SOCK_STREAM, 0) or last; connect($s, sockaddr_in($ARGV[1], inet_aton($ARGV[0]))) or next; push @kept, $s }
$| = 1; print "inotify $inotify connections ", scalar(@kept), " error $!\n"; sleep 100`

// hoarding is A11: what a user has only so much of, taken by the agent, is not
// the sidecar's: a policy that is changed meanwhile comes into force.
func hoarding(t *testing.T, s *stage) {
	s.r.Agent("hoard", allowed)
	slug := s.r.Start("hoard")
	s.u.Join(slug)
	users := map[string]string{}
	for _, c := range []string{agentOf(slug), egressOf(slug)} {
		users[c] = strings.TrimSpace(s.r.Docker("inspect", "-f", "{{.Config.User}}", c))
	}
	if users[agentOf(slug)] == users[egressOf(slug)] {
		t.Errorf("agent and egress are one user: %v", users)
	}
	s.allowedArrives(t, slug, allowed)
	hoard := exec.Command("docker", "exec", agentOf(slug), "perl", "-e", hoardScript, s.egressAddress(t, slug).String(), fmt.Sprint(proxyPort))
	out, err := hoard.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hoard.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { s.r.TryDocker("exec", agentOf(slug), "pkill", "perl"); hoard.Wait() }()
	var inotify, connections int
	var first [200]byte
	n, err := out.Read(first[:])
	if _, scan := fmt.Sscanf(string(first[:n]), "inotify %d connections %d", &inotify, &connections); err != nil || scan != nil || inotify < 10 || connections < 1000 {
		t.Fatalf("the hoarder has %q: %v, %v", first[:n], err, scan)
	}
	// The way works: the agent itself gets no more.
	if got, _ := s.r.TryDocker("exec", agentOf(slug), "perl", "-e", `my $m = qx(uname -m) =~ /aarch64/ ? 26 : 253; print $m == 26 ? syscall($m, 0) : syscall($m)`); !strings.HasPrefix(got, "-1") {
		t.Errorf("another instance for the agent's user is %q, so that nothing was exhausted", got)
	}
	dir := filepath.Join(s.r.Home, "state", slug, "egress")
	s.changePolicy(t, dir, "routes:\n- {host: keyed.test, private: true}\n")
	// A sidecar that starts anew finds what it needs too.
	s.r.Restart(slug, plan.EgressService)
	s.changePolicy(t, dir, "routes:\n- {host: allowed.test, private: true}\n- {host: keyed.test, private: true}\n")
	s.r.TryDocker("exec", agentOf(slug), "pkill", "perl")
	s.allowedArrives(t, slug, keyed)
}

// changePolicy writes a bottle's policy and waits until egress says that it is
// in force.
func (s *stage) changePolicy(t *testing.T, dir, text string) {
	t.Helper()
	generation := func() (g int) {
		data, err := os.ReadFile(filepath.Join(dir, "out/applied.json"))
		if err == nil {
			g = rig.Decode[struct{ Generation int }](t, string(data)).Generation
		}
		return g
	}
	before := generation()
	temp := filepath.Join(dir, "in/.tmp-routes")
	if err := os.WriteFile(temp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temp, filepath.Join(dir, "in/routes.yaml")); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := rig.Patient(t)
	defer cancel()
	for ; generation() == before; <-tick.C {
		if ctx.Err() != nil {
			applied, _ := os.ReadFile(filepath.Join(dir, "out/applied.json"))
			events, _ := os.ReadFile(filepath.Join(dir, "out/events.jsonl"))
			t.Fatalf("the changed policy is not in force: %s%s", applied, events[max(0, len(events)-1000):])
		}
	}
}
