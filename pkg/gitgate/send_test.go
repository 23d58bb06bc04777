package gitgate

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bottle/pkg/bottle"
)

// Upstream gets the very bytes that the client sent, whatever git has put behind
// them to have them stand alone.
func TestAPackIsSentAsItCame(t *testing.T) {
	t.Parallel()
	c := newClient(t, "nowhere")
	random := make([]byte, 50_000)
	rand.NewChaCha8([32]byte{}).Read(random)
	old := c.commit("file", string(random))
	random[25_000]++
	id := c.commit("file", string(random))
	for name, revs := range map[string]string{"whole": id, "thin": id + "\n^" + old, "empty": id + "\n^" + id} {
		cmd := clientCommand(c.dir, "git", "pack-objects", "--revs", "--stdout", "--thin", "-q")
		cmd.Stdin = strings.NewReader(revs + "\n")
		came, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		objects := int(binary.BigEndian.Uint32(came[8:]))
		var p *pack
		if objects > 0 {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "pack"), 0o700); err != nil {
				t.Fatal(err)
			}
			g := gitIn(filepath.Join(c.dir, ".git")).in(dir)
			if err := g.run(t.Context(), bytes.NewReader(came), nil, "index-pack", "--stdin", "--fix-thin"); err != nil {
				t.Fatal(err)
			}
			if p, err = openPack(dir, formatSHA1, nil); err != nil {
				t.Fatal(err)
			}
			defer p.close()
		}
		r, size, err := p.sent(objects)
		if err != nil {
			t.Fatal(err)
		}
		sent, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(sent, came) || size != int64(len(came)) {
			t.Errorf("%s: %d bytes were sent and %d came: %v", name, len(sent), len(came), err)
		}
		if name == "thin" && len(p.sorted) <= objects {
			t.Error("the thin one has all it needs")
		}
		if _, _, err := p.sent(objects + 10); err == nil {
			t.Errorf("%s: objects are sent that did not come", name)
		}
	}
}

func packets(lines ...string) string {
	var b strings.Builder
	for _, l := range lines {
		if l == "" {
			b.WriteString("0000")
			continue
		}
		fmt.Fprintf(&b, "%04x%s", len(l)+4, l)
	}
	return b.String()
}

func twoCommands() []*command {
	ids := func(c string) string { return strings.Repeat(c, 40) }
	return []*command{{PushUpdate: bottle.PushUpdate{Ref: "refs/heads/a", Old: ids("1"), New: ids("2")}},
		{PushUpdate: bottle.PushUpdate{Ref: "refs/heads/b", Old: ids("0"), New: ids("2")}}}
}

// A push was taken where upstream says so of each ref, and otherwise was not.
func TestOnlyWhatUpstreamSaysItTookIsTaken(t *testing.T) {
	for _, row := range []struct {
		report string
		a, b   string // reasons
		err    string
	}{
		{packets("unpack ok\n", "ok refs/heads/a\n", "ok refs/heads/b\n", ""), "", "", ""},
		{packets("unpack ok\n", "ng refs/heads/a hook declined\n", "ok refs/heads/b\n", ""), "hook declined", "", "upstream refused"},
		{packets("unpack ok\n", "ok refs/heads/a\n", ""), "", "refused by upstream", "upstream refused"},
		{packets("unpack ok\n", "ok refs/heads/a\n", "ok refs/heads/c\n"), "", "refused by upstream", "upstream refused"},
		{packets("unpack disk full\n", "ok refs/heads/a\n", "ok refs/heads/b\n", ""), "", "", "disk full"},
		{"", "", "", "does not say"},
		{"0000", "", "", "does not say"},
	} {
		p := &push{request: request{commands: twoCommands()}, answer: &answer{w: io.Discard, flush: func() {}}}
		err := p.take(strings.NewReader(row.report), p.commands)
		if (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
			t.Errorf("%q: %v, want %q", row.report, err, row.err)
		}
		if a, b := p.commands[0].reason, p.commands[1].reason; a != row.a || b != row.b {
			t.Errorf("%q: %q, %q, want %q, %q", row.report, a, b, row.a, row.b)
		}
	}
}

// What is asked of an upstream depends on what it has, and on what it can.
func TestWhatIsAskedOfAnUpstream(t *testing.T) {
	const can = "report-status ofs-delta atomic side-band-64k object-format=sha1"
	one, two := strings.Repeat("1", 40), strings.Repeat("2", 40)
	for _, row := range []struct {
		offer string
		want  int
		err   string
	}{
		{packets("# service=git-receive-pack\n", "", one+" refs/heads/a\x00"+can+"\n", ""), 2, ""},
		{packets(one+" refs/heads/a\x00"+can, two+" .have\n", ""), 2, ""},
		{packets(one+" refs/heads/a\x00"+can+"\n", two+" refs/heads/b\n", ""), 1, ""},
		{packets(two+" refs/heads/a\x00"+can+"\n", two+" refs/heads/b\n", ""), 0, ""},
		{packets(one+" refs/heads/a\x00"+can+"\n", one+" refs/heads/b\n", ""), 0, "a ref has moved"},
		{packets(strings.Repeat("0", 40)+" capabilities^{}\x00"+can+"\n", ""), 0, "a ref has moved"},
		{packets(one+" refs/heads/a\x00report-status ofs-delta\n", ""), 0, "cannot do"},
		{packets(one+" refs/heads/a\x00"+can+" object-format=sha256\n", ""), 0, "sha256"},
		{packets("ERR you may not\n"), 0, "you may not"},
		{packets(one + " refs/heads/a\x00" + can + "\n"), 0, "offers nothing"},
		{"<html>", 0, "offers nothing"},
	} {
		p := &push{request: request{commands: twoCommands()}}
		has, err := readOffer(strings.NewReader(row.offer))
		var asked []*command
		if err == nil {
			asked, err = p.stillAsked(has)
		}
		if len(asked) != row.want || (err == nil) != (row.err == "") || err != nil && !strings.Contains(err.Error(), row.err) {
			t.Errorf("%q: %d commands, %v, want %d, %q", row.offer, len(asked), err, row.want, row.err)
		}
		if len(asked) == 0 {
			continue
		}
		q, err := readRequest(bufio.NewReader(strings.NewReader(commandsOf(asked, has))), formatSHA1)
		if err != nil || len(q.commands) != len(asked) || !q.side || q.commands[0].PushUpdate != asked[0].PushUpdate {
			t.Errorf("%q: it asks for %+v, %v", row.offer, q, err)
		}
	}
}

// What upstream says goes to the person, what it reports is for the gate, and an
// answer that breaks off is no answer.
func TestWhatUpstreamSaysIsPassedOn(t *testing.T) {
	for answerOf, want := range map[string]string{
		packets("\x02counting 1%\rcounting 100%\nhel", "\x01unpack", "\x02lo\x1b[1m\n", "\x01 ok", ""): "unpack ok",
		packets("\x01unpack ok"):         "",
		packets("\x03it is full\n", ""):  "",
		packets("\x01unpack ok") + "000": "",
	} {
		var told bytes.Buffer
		p := &push{answer: &answer{w: &told, flush: func() {}, side: true}}
		report, err := p.listen(strings.NewReader(answerOf), true)
		if want == "" {
			if err == nil || errors.Is(err, io.EOF) && report != nil {
				t.Errorf("%q is an answer", answerOf)
			}
			continue
		}
		got, _ := io.ReadAll(report)
		if err != nil || string(got) != want || !strings.Contains(told.String(), "counting 100%\n") || !strings.Contains(told.String(), "hello?[1m\n") {
			t.Errorf("%q: %q, %v, and %q is said", answerOf, got, err, told.String())
		}
	}
}
