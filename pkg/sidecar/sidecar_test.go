package sidecar

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"

	"bottle/pkg/bottle"
)

func readEvents(t *testing.T, path string) []bottle.Event {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var events []bottle.Event
	for line := range strings.Lines(string(data)) {
		var e bottle.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		events = append(events, e)
	}
	return events
}

func TestEventsAreOneLineEachWhateverTheyHold(t *testing.T) {
	dir := t.TempDir()
	e, err := OpenEvents(dir, "egress")
	if err != nil {
		t.Fatal(err)
	}
	e.Add(bottle.Event{Kind: "request", Path: "/a\nb\xff" + strings.Repeat("é", 5000), Host: "<x>"})
	e.Add(bottle.Event{Kind: "dns"})
	e.Close()
	got := readEvents(t, filepath.Join(dir, EventsFile))
	if len(got) != 2 || got[0].Source != "egress" || got[0].Host != "<x>" || len(got[0].Path) > maxText+8 || got[0].Time.IsZero() {
		t.Errorf("got %+v", got)
	}
}

func TestEventsRotateAndKeepOneOldFile(t *testing.T) {
	dir := t.TempDir()
	e, _ := OpenEvents(dir, "egress")
	defer e.Close()
	e.limit = 1000
	for range 100 {
		e.Add(bottle.Event{Kind: "request", Path: "/some/path/of/a/common/length"})
	}
	files, _ := os.ReadDir(dir)
	if len(files) != 2 {
		t.Fatalf("there are %d files, want 2", len(files))
	}
	for _, f := range files {
		if info, _ := f.Info(); info.Size() > 1000 {
			t.Errorf("%s has %d bytes", f.Name(), info.Size())
		}
		readEvents(t, filepath.Join(dir, f.Name()))
	}
}

func TestLostEventsAreCountedAndTold(t *testing.T) {
	dir := t.TempDir()
	e, _ := OpenEvents(dir, "egress")
	defer e.Close()
	e.file.Close() // as if the disk had gone
	e.Add(bottle.Event{Kind: "request"})
	e.Add(bottle.Event{Kind: "request"})
	e.open()
	e.Add(bottle.Event{Kind: "dns"})
	got := readEvents(t, filepath.Join(dir, EventsFile))
	if len(got) != 2 || got[0].Kind != "lost" || !strings.HasPrefix(got[0].Detail, "2 events") || got[1].Kind != "dns" {
		t.Errorf("got %+v", got)
	}
}

// TestWhatWasAllowedIsWrittenALittleLater: with what is written at once, in
// order, or by itself.
func TestWhatWasAllowedIsWrittenALittleLater(t *testing.T) {
	dir := t.TempDir()
	e, _ := OpenEvents(dir, "egress")
	defer e.Close()
	allowed, path := bottle.Event{Kind: "request", Verdict: bottle.Allowed}, filepath.Join(dir, EventsFile)
	e.Add(allowed)
	e.Add(allowed)
	e.Add(bottle.Event{Kind: "request", Verdict: "deny"})
	if got := readEvents(t, path); len(got) != 3 || got[0].Verdict != bottle.Allowed || got[2].Verdict != "deny" {
		t.Errorf("got %+v", got)
	}
	changed, err := fsnotify.NewWatcher()
	if err == nil {
		err = changed.Add(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer changed.Close()
	e.Add(allowed)
	<-changed.Events
	if got := readEvents(t, path); len(got) != 4 {
		t.Errorf("there are %d events, want 4", len(got))
	}
}

func TestGuardRefusesWhatNoNameMayLeadTo(t *testing.T) {
	g := Guard{Refuse: []netip.Prefix{netip.MustParsePrefix("10.83.0.0/28")}, Host: []netip.Addr{netip.MustParseAddr("93.184.215.15")}}
	check := func(want error, mayPrivate bool, addrs ...string) {
		t.Helper()
		for _, a := range addrs {
			if err := g.Check(netip.MustParseAddr(a), mayPrivate); !errors.Is(err, want) {
				t.Errorf("%s, private %v: %v", a, mayPrivate, err)
			}
		}
	}
	never := []string{"127.0.0.1", "127.9.9.9", "0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "10.83.0.2", "::ffff:10.83.0.2",
		"::1", "::", "::127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "fe80::1", "fe80::1%eth0", "ff02::1", "2002:7f00:1::",
		"2001::1", "::ffff:0:7f00:1", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "192.88.99.1"}
	check(ErrRefused, false, never...)
	check(ErrRefused, true, never...)
	private := []string{"10.83.0.16", "10.0.0.1", "::ffff:10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "100.127.255.255",
		"192.0.0.8", "198.18.0.1", "198.19.255.255", "fc00::1", "fdff::1", "fec0::1", "93.184.215.15"}
	check(ErrPrivate, false, private...)
	check(nil, true, private...)
	check(nil, false, "93.184.215.14", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.1", "192.169.0.1", "11.0.0.1", "2606:4700::1")
	if g.Check(netip.Addr{}, true) == nil {
		t.Error("no address at all passes")
	}
}

func TestTheHostsAddressesMustBeKnown(t *testing.T) {
	dir := t.TempDir()
	if _, err := ReadHost(dir); err == nil {
		t.Error("without the file, nothing is known, and yet there is no error")
	}
	for text, want := range map[string]int{`{"addresses":["192.0.2.7","::ffff:192.0.2.8","fe80::1%eth0"]}`: 3, `{"addresses":[]}`: 0, `{"addresses":["a"]}`: -1, "": -1} {
		if err := os.WriteFile(filepath.Join(dir, HostFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := ReadHost(dir)
		if (err != nil) != (want < 0) || err == nil && len(got.Addresses) != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
		g := Guard{Host: got.Addresses}
		if want == 3 && (g.Check(netip.MustParseAddr("192.0.2.8"), false) == nil || g.Check(netip.MustParseAddr("::ffff:192.0.2.7"), false) == nil) {
			t.Error("the host's address passes in another spelling")
		}
	}
}

func TestGuardForRefusesItsOwnAddressesAndNetwork(t *testing.T) {
	g, err := GuardFor(netip.MustParsePrefix("10.83.0.2/28"), nil)
	if err != nil {
		t.Fatal(err)
	}
	own, _ := net.InterfaceAddrs()
	for _, a := range own {
		p := netip.MustParsePrefix(a.String())
		if g.Check(p.Addr(), true) == nil {
			t.Errorf("its own address %s passes", p.Addr())
		}
	}
	for ip, passes := range map[string]bool{"10.83.0.2": false, "10.83.0.3": false, "10.83.0.15": false, "10.83.0.16": true} {
		if err := g.Check(netip.MustParseAddr(ip), true); (err == nil) != passes {
			t.Errorf("%s of the bottle's own network or beside it: %v", ip, err)
		}
	}
}

func TestDialDialsWhatItChecked(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	lookups := 0
	answer := []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	d := Dialer{Timeout: 2 * time.Second, Check: func(netip.Addr, bool) error { return nil },
		Lookup: func(context.Context, string) ([]netip.Addr, error) { lookups++; return answer, nil }}
	c, err := d.Dial(t.Context(), "a.example", port, true)
	if err != nil || lookups != 1 {
		t.Fatalf("%v, %d lookups", err, lookups)
	}
	c.Close()
	d.Check = Guard{}.Check
	answer = []netip.Addr{netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("127.0.0.1")}
	if _, err := d.Dial(t.Context(), "a.example", port, true); !errors.Is(err, ErrRefused) {
		t.Errorf("a name with one refused address: %v", err)
	}
	answer = nil
	if _, err := d.Dial(t.Context(), "a.example", port, true); err == nil {
		t.Error("a name without an address was dialled")
	}
}

func TestMain(m *testing.M) {
	if out := os.Getenv("SIDECAR_OUT"); out != "" {
		f := &fakeService{reloads: make(chan struct{}, 1000), drains: make(chan struct{})}
		if err := (Program{Name: "egress", Out: out, Start: func(*Events) (Service, error) { return f, nil }}).Run(); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// One who decides may find a sidecar that has only just been started: what has it read
// its files again must not end it.
func TestAReloadEndsNoSidecarThatIsStarting(t *testing.T) {
	for range 10 {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "SIDECAR_OUT="+dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		name, reload := strings.TrimPrefix(unix.SignalName(syscall.SIGWINCH), "SIG"), func() { cmd.Process.Signal(syscall.SIGWINCH) }
		if name != bottle.ReloadSignal {
			t.Fatalf("a reload is asked for by %s", bottle.ReloadSignal)
		}
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		for ready := false; !ready; {
			reload()
			select {
			case err := <-ended:
				t.Fatalf("it ended: %v", err)
			case <-time.After(time.Millisecond):
				_, err := os.Stat(filepath.Join(dir, ReadyFile))
				ready = err == nil
			}
		}
		reload()
		for reloaded := false; !reloaded; {
			for _, e := range readEvents(t, filepath.Join(dir, EventsFile)) {
				reloaded = reloaded || e.Kind == "reload"
			}
		}
		cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; err != nil {
			t.Errorf("told to end, it ended with %v", err)
		}
	}
}

type fakeService struct {
	reloads, drains chan struct{}
	failed          chan error
	reloadErr       error
}

func (f *fakeService) Reload() error         { f.reloads <- struct{}{}; return f.reloadErr }
func (f *fakeService) Failed() <-chan error  { return f.failed }
func (f *fakeService) Drain(context.Context) { close(f.drains) }

func TestRunIsReadyWhileItServesAndDrainsAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	ready := filepath.Join(dir, ReadyFile)
	os.WriteFile(ready, nil, 0o600) // of a run that was killed
	f := &fakeService{reloads: make(chan struct{}), drains: make(chan struct{}), failed: make(chan error), reloadErr: errors.New("bad")}
	signals, done := make(chan os.Signal), make(chan error)
	p := Program{Name: "egress", Out: dir, Start: func(*Events) (Service, error) {
		if _, err := os.Stat(ready); err == nil {
			t.Error("ready before it can serve")
		}
		return f, nil
	}}
	go func() { done <- p.run(signals) }()
	signals <- syscall.SIGHUP
	<-f.reloads
	if _, err := os.Stat(ready); err != nil {
		t.Error(err)
	}
	signals <- syscall.SIGTERM
	<-f.drains
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(ready); err == nil {
		t.Error("still ready after the end")
	}
	var kinds []string
	for _, e := range readEvents(t, filepath.Join(dir, EventsFile)) {
		kinds = append(kinds, e.Kind+e.Verdict+e.Detail)
	}
	if got := strings.Join(kinds, " "); got != "start reloaderrorbad stop" {
		t.Errorf("events: %s", got)
	}
}

func TestRunEndsWithTheServicesError(t *testing.T) {
	f := &fakeService{drains: make(chan struct{}), failed: make(chan error, 1)}
	f.failed <- errors.New("the listener broke")
	p := Program{Name: "egress", Out: t.TempDir(), Start: func(*Events) (Service, error) { return f, nil }}
	if err := p.run(nil); err == nil || err.Error() != "the listener broke" {
		t.Error(err)
	}
	if err := (Program{Out: t.TempDir(), Start: func(*Events) (Service, error) { return nil, errors.New("no") }}).run(nil); err == nil {
		t.Error("a start that failed went unnoticed")
	}
}

// A change that comes while a sidecar starts, after it has read its files, is
// seen all the same.
func TestAChangeDuringTheStartIsSeen(t *testing.T) {
	in := t.TempDir()
	f := &fakeService{reloads: make(chan struct{}), drains: make(chan struct{}), failed: make(chan error)}
	signals, done := make(chan os.Signal), make(chan error)
	p := Program{Name: "egress", In: in, Out: t.TempDir(), Start: func(*Events) (Service, error) {
		return f, os.WriteFile(filepath.Join(in, "routes.yaml"), nil, 0o600)
	}}
	go func() { done <- p.run(signals) }()
	select {
	case <-f.reloads:
	case <-time.After(time.Minute):
		t.Fatal("the change was missed")
	}
	signals <- syscall.SIGTERM
	<-f.drains
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func BenchmarkEvent(b *testing.B) {
	e, err := OpenEvents(b.TempDir(), "egress")
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		e.Add(bottle.Event{Kind: "request", Verdict: "allow", Method: "POST", Scheme: "https", Host: "api.example.com", Port: 443, Path: "/v1/messages", Status: 200, Sent: 1000, Recv: 1000, Millis: 1.25})
	}
}

func TestAChangeOfTheDirectoryReloads(t *testing.T) {
	in, out := t.TempDir(), t.TempDir()
	f := &fakeService{reloads: make(chan struct{}, 8), drains: make(chan struct{}), failed: make(chan error, 1)}
	signals, ended := make(chan os.Signal, 1), make(chan error, 1)
	p := Program{Name: "egress", In: in, Out: out, Start: func(*Events) (Service, error) { return f, nil }}
	go func() { ended <- p.run(signals) }()
	signals <- syscall.SIGHUP // once it is taken, the watch stands too
	<-f.reloads
	if err := os.WriteFile(filepath.Join(in, "routes.yaml"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	<-f.reloads
	signals <- syscall.SIGTERM
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestAReloadWithoutAChangeIsNoEvent(t *testing.T) {
	out := t.TempDir()
	f := &fakeService{reloads: make(chan struct{}, 8), drains: make(chan struct{}), failed: make(chan error, 1), reloadErr: ErrUnchanged}
	signals, ended := make(chan os.Signal, 1), make(chan error, 1)
	p := Program{Name: "egress", Out: out, Start: func(*Events) (Service, error) { return f, nil }}
	go func() { ended <- p.run(signals) }()
	signals <- syscall.SIGHUP
	<-f.reloads
	signals <- syscall.SIGTERM
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, e := range readEvents(t, filepath.Join(out, EventsFile)) {
		if e.Kind == "reload" {
			t.Errorf("%+v", e)
		}
	}
}
