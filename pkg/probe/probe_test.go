package probe

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/miekg/dns"
	"golang.org/x/sys/unix"
)

func TestRowsAreWhole(t *testing.T) {
	targets := Targets{Egress: netip.MustParseAddr("127.0.0.1"), Inner: netip.MustParsePrefix("127.0.0.0/8"),
		Gateway: netip.MustParseAddr("127.0.0.1"), Uplink: []netip.Addr{netip.MustParseAddr("127.0.0.1")}, Refused: []string{"refused.test"}}
	seen := map[string]bool{}
	for _, r := range Rows() {
		if r.ID == "" || r.Title == "" || r.By == "" || seen[r.ID] {
			t.Errorf("row %+v is not whole, or double", r)
		}
		seen[r.ID] = true
		attempts := r.attempts(targets)
		if len(attempts) == 0 {
			t.Errorf("row %s tries nothing", r.ID)
		}
		for _, a := range attempts {
			if a.what == "" || a.try == nil {
				t.Errorf("row %s has an attempt without a name or a deed", r.ID)
			}
		}
	}
	want := []string{"A1", "A2", "A3", "A4", "A5", "A6", "A7"}
	for i, r := range SelfTestRows() {
		if r.ID != want[i] {
			t.Errorf("the self-test's row %d is %s, not %s", i, r.ID, want[i])
		}
	}
}

func TestRowWithoutTargetsFails(t *testing.T) {
	results, err := Run(context.Background(), []string{"A3", "A4", "A12", "E1", "E26", "E27"}, Targets{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.OK || !strings.Contains(r.Detail, "nothing was tried") {
			t.Errorf("%s: a row that tried nothing counts as %+v", r.ID, r)
		}
	}
}

func TestUnknownRowIsAnError(t *testing.T) {
	if _, err := Run(context.Background(), []string{"A99"}, Targets{}); err == nil {
		t.Error("an attack that nobody knows was blocked")
	}
	var out, errOut bytes.Buffer
	if code := Main([]string{"A99"}, strings.NewReader("{}"), &out, &errOut); code != 2 {
		t.Errorf("exit code %d, not 2", code)
	}
	if code := Main(nil, strings.NewReader(`{"egres":"10.0.0.1"}`), &out, &errOut); code != 2 {
		t.Errorf("exit code %d for a misspelt target, not 2", code)
	}
}

func TestResultsAreShown(t *testing.T) {
	blocked := Result{ID: "A3", Title: "a tunnel", By: "network", OK: true}
	if got := blocked.String(); got != "A3 blocked by network" {
		t.Errorf("shown as %q", got)
	}
	failed := Result{ID: "A3", Title: "a tunnel", By: "network", Detail: "x: it was reached"}
	if got := failed.String(); got != "A3 FAILED (a tunnel): x: it was reached" {
		t.Errorf("shown as %q", got)
	}
	a, b, c := errors.New("a"), errors.New("b"), errors.New("c")
	if got := summary([]error{nil, errSlow, a, nil, b, c, errSlow, errSlow}); got != "a; b; c; no answer within the bound; and 2 more" {
		t.Errorf("summed up as %q", got)
	}
}

func TestOnlyUnreachableCountsAsAWall(t *testing.T) {
	for err, stands := range map[error]bool{
		unix.EHOSTUNREACH:                        true,
		unix.ENETUNREACH:                         true,
		unix.ECONNREFUSED:                        false,
		unix.ETIMEDOUT:                           false,
		context.DeadlineExceeded:                 false,
		errors.New("lookup x: no such host"):     false,
		&net.DNSError{Err: "x", IsTimeout: true}: false,
	} {
		if got := mustNotReach(err) == nil; got != stands {
			t.Errorf("%v: a wall %v, want %v", err, got, stands)
		}
	}
	if mustNotReach(nil) == nil {
		t.Error("a connection counts as a wall")
	}
}

func TestRefusedConnectionAndListenerAreFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := netip.MustParseAddrPort(l.Addr().String())
	if err := tcp("x", open).run(context.Background(), Bound); err == nil {
		t.Error("a listener counts as blocked")
	}
	l.Close()
	if err := tcp("x", open).run(context.Background(), Bound); err == nil {
		t.Error("a refused connection counts as blocked")
	}
	if err := udp("x", open, question).run(context.Background(), Bound); err == nil {
		t.Error("a refused datagram counts as blocked")
	}
}

func TestOnlyEgressItselfMayAnswer(t *testing.T) {
	egress := netip.MustParseAddr("10.213.0.2")
	answer := func(code int, records ...string) *dns.Msg {
		m := new(dns.Msg)
		m.Rcode = code
		for _, r := range records {
			rr, err := dns.NewRR(r)
			if err != nil {
				t.Fatal(err)
			}
			m.Answer = append(m.Answer, rr)
		}
		return m
	}
	for _, c := range []struct {
		name   string
		answer *dns.Msg
		kind   uint16
		stands bool
	}{
		{"egress itself", answer(0, "x. 1 A 10.213.0.2"), dns.TypeA, true},
		{"nothing for AAAA", answer(0), dns.TypeAAAA, true},
		{"no name for TXT", answer(dns.RcodeNameError), dns.TypeTXT, true},
		{"another address", answer(0, "x. 1 A 192.0.2.1"), dns.TypeA, false},
		{"another one behind it", answer(0, "x. 1 A 10.213.0.2", "x. 1 A 192.0.2.1"), dns.TypeA, false},
		{"an alias", answer(0, "x. 1 CNAME y."), dns.TypeA, false},
		{"no address", answer(0), dns.TypeA, false},
		{"no such name", answer(dns.RcodeNameError), dns.TypeA, false},
		{"a failure upstream", answer(dns.RcodeServerFailure), dns.TypeTXT, false},
		{"a text", answer(0, `x. 1 TXT "hello"`), dns.TypeTXT, false},
		{"an IPv6 address", answer(0, "x. 1 AAAA ::1"), dns.TypeAAAA, false},
	} {
		if got := judgeAnswer(c.answer, c.kind, egress) == nil; got != c.stands {
			t.Errorf("%s: a wall %v, want %v", c.name, got, c.stands)
		}
	}
}

func TestOnlyEgressRefusalCounts(t *testing.T) {
	const reason = "egress: x.test is not on this bottle's allowlist"
	ours := http.Header{"X-Bottle-Blocked": {"egress"}}
	for _, c := range []struct {
		name   string
		status string
		code   int
		header http.Header
		body   string
		stands bool
	}{
		{"egress'", "403 " + reason, 403, ours, reason + "\n", true},
		{"allowed", "200 OK", 200, nil, "", false},
		{"the target's own", "403 Forbidden", 403, nil, "", false},
		{"without the reason", "403 Forbidden", 403, ours, reason, false},
		{"without a body", "403 " + reason, 403, ours, "", false},
		{"a gateway's", "502 egress: cannot reach x.test", 502, ours, "", false},
	} {
		r := &http.Response{Status: c.status, StatusCode: c.code, Header: c.header}
		if got := judgeRefusal(r, []byte(c.body)) == nil; got != c.stands {
			t.Errorf("%s: a wall %v, want %v", c.name, got, c.stands)
		}
	}
}

func TestKernelTablesAreRead(t *testing.T) {
	const arp = "IP address HW type Flags HW address Mask Device\n" +
		"10.0.0.1 0x1 0x0 00:00:00:00:00:00 * eth0\n10.0.0.2 0x1 0x2 02:42:0a:00:00:02 * eth0\n10.0.0.3 0x1 0x6 02:42:0a:00:00:03 * eth0\n"
	for ip, want := range map[string]bool{"10.0.0.1": false, "10.0.0.2": true, "10.0.0.3": true, "10.0.0.4": false} {
		if got := resolved([]byte(arp), netip.MustParseAddr(ip)); got != want {
			t.Errorf("%s is resolved: %v, want %v", ip, got, want)
		}
	}
	if err := onlyLoopback("00000000000000000000000000000001 01 80 10 80       lo\n"); err != nil {
		t.Error(err)
	}
	if onlyLoopback("fe80000000000000004210fffe000002 02 40 20 80     eth0\n") == nil {
		t.Error("a link-local address counts as none")
	}
}

// A scan that was cut short, or looked at nothing, proves nothing.
func TestScanThatSeesNothingFails(t *testing.T) {
	if err := noPrivateKey(context.Background(), t.TempDir()); err == nil {
		t.Error("no file was looked at, and no key counts as found out")
	}
	if err := noPrivateKey(context.Background(), "/nowhere"); err == nil {
		t.Error("there is no such folder, and no key counts as found out")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	saved := openPorts
	defer func() { openPorts = saved }()
	openPorts = nil
	if err := onlyPorts(ctx, netip.MustParseAddr("127.0.0.1")); err == nil {
		t.Error("no port was tried, and all count as closed")
	}
	// Nobody has this one: nothing is refused.
	if err := onlyPorts(context.Background(), netip.MustParseAddr("255.255.255.255")); err == nil {
		t.Error("nobody answered, and all ports count as closed")
	}
}

func TestKeyOfAnybodyIsFound(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("program", "\x7fELF looks for -----BEGIN EC PRIVATE KEY----- in files")
	write("ca.crt", "-----BEGIN CERTIFICATE-----\nAA\n")
	if err := noPrivateKey(context.Background(), dir); err != nil {
		t.Error(err)
	}
	write("ca.key", "some words\n-----BEGIN EC PRIVATE KEY-----\nAA\n")
	if noPrivateKey(context.Background(), dir) == nil {
		t.Error("a key lies there unseen")
	}
}

// inNamespace tells the test's own child that it is to probe.
const inNamespace = "BOTTLE_TEST_PROBE"

func TestMain(m *testing.M) {
	if os.Getenv(inNamespace) != "" {
		os.Exit(Main(nil, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// A self-test that cannot fail is none. In a network namespace where the
// process has all capabilities and nothing else stands, what needs no
// capability must hold and all else must fail, and nothing hang.
func TestProbesFailWhereNoWallStands(t *testing.T) {
	loopback := netip.MustParseAddr("127.0.0.1")
	doc, err := json.Marshal(Targets{Egress: loopback, Inner: netip.MustParsePrefix("127.0.0.0/8"),
		Gateway: loopback, Host: []netip.Addr{loopback}, Neighbours: []netip.Addr{loopback}})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), inNamespace+"=1")
	cmd.Stdin = bytes.NewReader(doc)
	cmd.Stderr = os.Stderr
	ids := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
	groups := []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET, UidMappings: ids, GidMappings: groups}
	out, err := cmd.Output()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Fatalf("the self-test ended with %v, not with exit code 1: %s", err, out)
	}
	held := map[string]bool{}
	for line := range bytes.Lines(out) {
		var r Result
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		t.Log(r)
		held[r.ID] = r.OK
	}
	// The namespace has no way out: A1 rightly holds.
	for id, want := range map[string]bool{"A1": true, "A2": false, "A3": false, "A6": false} {
		if held[id] != want {
			t.Errorf("%s holds: %v, want %v", id, held[id], want)
		}
	}
}

func FuzzDNSAnswer(f *testing.F) {
	f.Add(question)
	f.Fuzz(func(t *testing.T, data []byte) {
		var m dns.Msg
		if m.Unpack(data) == nil {
			judgeAnswer(&m, dns.TypeA, netip.MustParseAddr("10.213.0.2"))
		}
	})
}

// Kernels drop some of the errors they owe when many fail at once; the kernel
// itself would ask again after a second only.
func TestSilenceIsAskedAgainUntilTheBound(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), Bound)
	defer cancel()
	asked := 0
	err := persist(ctx, func(ctx context.Context) error {
		if asked++; asked == 3 {
			return unix.EHOSTUNREACH
		}
		<-ctx.Done()
		return &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded}
	})
	if asked != 3 || mustNotReach(err) != nil {
		t.Errorf("asked %d times: %v", asked, err)
	}
	ctx, cancel = context.WithTimeout(t.Context(), 0)
	defer cancel()
	err = persist(ctx, func(ctx context.Context) error { return ctx.Err() })
	if !errors.Is(mustNotReach(err), errSlow) {
		t.Errorf("silence to the end counts as %v", err)
	}
}
