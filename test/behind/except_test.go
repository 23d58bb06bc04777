package behind

import (
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/test/rig"
)

// excepted are the proposals that came of blocks of pipelock's, one a line.
func (l *lab) excepted() string {
	l.t.Helper()
	out, said, code := l.Shell(`bottle-ls proposals | jq -r 'select(.kind=="dlp-block").id'`)
	if code != 0 {
		l.t.Fatalf("%d: %s", code, said)
	}
	return strings.TrimSpace(out)
}

// found has pipelock find a JWT, and returns the proposal that comes of it.
func (l *lab) found(url string) string {
	l.t.Helper()
	l.wants(l.ask(url, "-d", "x="+jwt), "403", "blocked: request body contains secret: JWT Token")
	return l.AwaitProposal("dlp-block", "")
}

// What pipelock finds, and has an exception for, is asked of the operator; his yes is
// an exception in its file, for that pattern below that path alone, until it is
// revoked or over.
func falsePositiveIsExcepted(l *lab) {
	t := l.t
	before := l.file()
	id := l.found("https://one.test/login")
	out, said, _ := l.Run("bottle-approve", "--once", id)
	l.wants(out+said, "pipelock counts no uses")
	if out, said, code := l.Run("bottle-approve", id); code != 0 {
		t.Fatalf("%d: %s%s", code, out, said)
	}
	l.wants(l.file(), "suppress:", "rule: JWT Token", "path: https://one.test/login/", "reason: approved as "+id)
	for _, url := range []string{"https://one.test/login", "https://one.test/login/x", "https://one.test/login?a=b"} {
		l.wants(l.ask(url, "-d", "x="+jwt), "200")
	}
	for _, url := range []string{"https://one.test/other", "https://one.test/loginx", "https://one.test/other?/https://one.test/login"} {
		l.wants(l.ask(url, "-d", "x="+jwt), "403", "blocked: request body contains secret")
	}
	l.wants(l.ask("https://one.test/login", "-d", "x="+token), "403", "blocked: ")
	grants, _, _ := l.Run("bottle-ls", "grants", "-o", "json")
	l.wants(grants, `"scanner":"pipelock"`, `"rule":"JWT Token"`, "lets findings of pipelock JWT Token through")
	if out, said, code := l.Run("bottle-approve", "--revoke", id); code != 0 {
		t.Fatalf("%d: %s%s", code, out, said)
	}
	l.wants(l.ask("https://one.test/login", "-d", "x="+jwt), "403")
	if l.file() != before {
		t.Errorf("the file is\n%s", l.file())
	}
}

// An exception that ended is taken out by the next program that looks.
func exceptionEndsInPipelockToo(l *lab) {
	t := l.t
	before := l.file()
	if out, said, code := l.Run("bottle-approve", "--for", "1s", l.found("https://one.test/login")); code != 0 {
		t.Fatalf("%d: %s%s", code, out, said)
	}
	all, said, code := l.Run("bottle-ls", "grants", "--all")
	g := rig.Decode[bottle.Grant](t, all)
	if code != 0 || g.Expires == nil {
		t.Fatalf("%d: %s%s", code, all, said)
	}
	<-time.After(time.Until(*g.Expires))
	if _, said, code := l.Run("bottle-ls", "grants"); code != 0 || l.file() != before {
		t.Fatalf("%d: %s; the file is\n%s", code, said, l.file())
	}
	l.wants(l.ask("https://one.test/login", "-d", "x="+jwt), "403")
	out, said, code := l.Shell(`jq -r 'select(.kind=="expire").detail' "$BOTTLE_HOME/audit.jsonl"`)
	if code != 0 || !strings.Contains(out, "it ended at") {
		t.Errorf("%d: %s%s", code, out, said)
	}
}

// What pipelock has no exception for is asked of nobody, and the log says so.
func whatHasNoExceptionIsNotAsked(l *lab) {
	t := l.t
	l.wants(l.ask("https://one.test/x?t="+token), "403", "blocked: core DLP match")
	l.wants(l.ask("https://one.test/x", "-H", "X-Note: "+jwt), "403", "blocked: request header contains secret")
	l.denied("/x", "pipelock gives no exception for it")
	// What is asked later is asked behind it.
	if id, all := l.found("https://one.test/login"), l.excepted(); all != id {
		t.Errorf("asked is %s", all)
	}
}

// Where pipelock does not take an exception, nothing changes; a retry works.
func TestAnExceptionThatPipelockDoesNotTake(t *testing.T) {
	t.Parallel()
	l := start(t)
	id := l.found("https://one.test/login")
	before := l.file()
	l.Docker("kill", l.container("pipelock"))
	_, said, code := l.Run("bottle-approve", id)
	if code != 1 || !strings.Contains(said, "pipelock failed, so the routes are NOT changed") {
		t.Errorf("%d: %s", code, said)
	}
	if l.file() != before {
		t.Errorf("the file is\n%s", l.file())
	}
	if _, said, code := l.Run("bottle-start", "--resume", l.slug); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	if _, said, code := l.Run("bottle-approve", id); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	l.wants(l.ask("https://one.test/login", "-d", "x="+jwt), "200")
	l.Docker("kill", l.container("pipelock"))
	if _, said, code := l.Run("bottle-approve", "--revoke", id); code != 0 { // it finds its file when it starts
		t.Fatalf("%d: %s", code, said)
	}
	if _, said, code := l.Run("bottle-start", "--resume", l.slug); code != 0 {
		t.Fatalf("%d: %s", code, said)
	}
	l.wants(l.ask("https://one.test/login", "-d", "x="+jwt), "403", "blocked: request body")
}
