package escape

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/plan"
	"bottle/pkg/proposal"
	"bottle/test/rig"
)

// questioner returns the bottle whose agent asks, by a client of the protocol.
// The manifest declares a credential for each of two hosts.
func (s *stage) questioner(t *testing.T) string {
	t.Helper()
	s.asks.Do(func() {
		s.r.Write("docs-token", "the-token-behind-docs")
		s.r.Write("agents/asks.md", "---\nbottle: asks\nprogram: shell\n---\n")
		s.r.Write("bottles/asks.md", fmt.Sprintf("---\negress:\n  credentials:\n    docs: {scheme: Bearer, token_ref: \"file:%s/docs-token\", hosts: [docs.test]}\n"+
			"    other: {scheme: Bearer, token_ref: \"file:%[1]s/docs-token\", hosts: [other.test]}\n---\n", s.r.Home))
		slug := s.r.Start("asks")
		s.r.Equip(slug)
		s.asks.slug = slug
	})
	if s.asks.slug == "" {
		t.Fatal("there is no bottle that asks")
	}
	return s.asks.slug
}

// refusedAt asks, and fails unless the tool itself refuses, in words that hold this.
func (s *stage) refusedAt(t *testing.T, slug, tool, want string, arguments map[string]any) {
	t.Helper()
	c := s.r.Ask(slug, tool, string(jsonOf(arguments)))
	if line, _ := c.Next(); !strings.HasPrefix(line, "error ") || !strings.Contains(line, want) {
		t.Errorf("%s %.200v: %.200q, not an error with %q", tool, arguments, line, want)
	}
}

// filedBy are what a bottle's agent asked for, as far as it holds a text.
func (s *stage) filedBy(t *testing.T, slug, text string) (ids []string) {
	t.Helper()
	dir := filepath.Join(s.r.Home, "state", slug, "supervise/out/proposals")
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if data, err := os.ReadFile(filepath.Join(dir, e.Name())); err == nil && strings.Contains(string(data), text) {
			ids = append(ids, strings.TrimSuffix(e.Name(), ".json"))
		}
	}
	return ids
}

// serversIDs is S1.
func serversIDs(t *testing.T, s *stage) {
	slug := s.questioner(t)
	ask := func(key, value string) map[string]any {
		a := map[string]any{"host": "s1.test", "justification": "x\u202etxt"}
		a[key] = value
		return a
	}
	id := s.r.Ask(slug, "egress-block", string(jsonOf(ask("host", "s1.test")))).Waits()
	if proposal.CheckID(id) != nil {
		t.Errorf("it waits as %q", id)
	}
	for _, a := range []struct{ key, value, want string }{
		{"id", "../x", "id"}, {"id", "egress-block-aaaaaaaaaaaaaaaa", "id"}, {"ID", "../x", "ID"}, {"source", "egress", "source"}, {"kind", "git-push", "kind"},
		{"host", "../x", "host"}, {"host", "s1.test\x00", "host"}, {"host", "s1\u202e.test", "host"}, {"host", "s1.test/../../x", "host"},
	} {
		s.refusedAt(t, slug, "egress-block", a.want, ask(a.key, a.value))
	}
	if filed := s.filedBy(t, slug, "s1.test"); len(filed) != 1 || filed[0] != id {
		t.Errorf("filed: %q", filed)
	}
	// Nor does the host take an ID from a sidecar that somebody took over.
	a := newAsking(t)
	good, path := a.ask("dev-aaaa", "a.example", "x")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n, forged := range []string{"../x", "../../../../x", "x\x00", good + "\u202e", "../" + good} {
		name := fmt.Sprintf("egress-block-%s.json", strings.Repeat(string(rune('a'+n)), 16))
		a.write("dev-aaaa", "supervise/out/proposals/"+name, strings.Replace(string(text), string(jsonOf(good)), string(jsonOf(forged)), 1))
		if !strings.Contains(forged, "\x00") { // no program can be told one
			a.rejects(forged, 3)
		}
	}
	if got := a.listed(); len(got) != 1 || got[0] != good {
		t.Errorf("listed: %q", got)
	}
	a.rejects(good, 0)
}

// tooMuch is S2.
func tooMuch(t *testing.T, s *stage) {
	slug := s.r.Start("other")
	s.r.Equip(slug)
	post := func(data string) string {
		t.Helper()
		out, said, _ := s.r.Inside(slug, "sh", "-c", data+` | curl -sS -X POST -T - -o /dev/null -w '%{http_code}' --max-time 60 `+
			`-H 'Content-Type: application/json' -H 'Accept: application/json, text/event-stream' "$0"`, rig.SuperviseURL)
		return out + said
	}
	if got := post(`echo '{"jsonrpc":"2.0","id":1,"method":"tools/list"}'`); got != "200" {
		t.Fatalf("a small request: %s", got)
	}
	if got := post(`head -c 100000000 /dev/zero`); !strings.HasPrefix(got, "413") {
		t.Errorf("100 MB: %s", got)
	}
	if got := post(`{ printf '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"egress-block","arguments":{"host":"'; head -c 100000000 /dev/zero | tr '\0' a; }`); !strings.HasPrefix(got, "413") {
		t.Errorf("100 MB of a host: %s", got)
	}
	s.refusedAt(t, slug, "capability-block", "65536", map[string]any{"dockerfile": "FROM bottle\nRUN true # " + strings.Repeat("x", 66_000) + "\n", "justification": "x"})
	s.r.Ask(slug, "capability-block", string(jsonOf(map[string]any{"dockerfile": "FROM bottle\nRUN true # " + strings.Repeat("x", 60_000) + "\n", "justification": "x"}))).Waits()
	// Ten thousand, each for another host. Those that are taken hold their
	// connections, of which there are more than may wait.
	out, said, _ := s.r.Inside(slug, "sh", "-c", `perl -e 'for (1..10000) {
		print "url = $ARGV[0]\nheader = \"Content-Type: application/json\"\nheader = \"Accept: application/json, text/event-stream\"\nmax-time = 30\n",
		"data = \"{\\\"jsonrpc\\\":\\\"2.0\\\",\\\"id\\\":1,\\\"method\\\":\\\"tools/call\\\",\\\"params\\\":{\\\"name\\\":\\\"egress-block\\\",\\\"arguments\\\":{\\\"host\\\":\\\"h$_.test\\\",\\\"justification\\\":\\\"x\\\"}}}\"\nnext\n" }' "$0" |
		curl -s -Z --parallel-immediate --parallel-max 60 -K - | grep -c 'not queued'`, rig.SuperviseURL)
	var refused int
	if fmt.Sscan(out, &refused); refused < 9_000 { // on a busy machine some end in their client's time-out
		t.Errorf("%d of 10,000 were refused: %s%s", refused, out, said)
	}
	if n := len(s.filedBy(t, slug, "")); n == 0 || n > proposal.MaxPending {
		t.Errorf("%d wait", n)
	}
	listed, told, code := s.r.Run("bottle-ls", "proposals")
	if n := strings.Count(listed, `"slug":"`+slug+`"`); code != 0 || n == 0 || n > proposal.MaxPending {
		t.Errorf("bottle-ls ended with %d and lists %d: %s", code, n, told)
	}
	// It lives, and what waits can be decided.
	for _, id := range s.filedBy(t, slug, "") {
		if _, said, code := s.r.Run("bottle-approve", "--reject", slug+"/"+id); code != 0 {
			t.Errorf("%d: %s", code, said)
		}
	}
	s.r.Ask(slug, "list-egress-routes", "{}").Until("answer ")
}

// foreignPages is S11.
func foreignPages(t *testing.T, s *stage) {
	slug := s.questioner(t)
	address := s.addresses(t, plan.ContainerName(slug, plan.SuperviseService))[plan.Project(slug)+"_inner"]
	const list = `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list-egress-routes","arguments":{}}}`
	answer := func(url string, flags ...string) string {
		t.Helper()
		out, said, _ := s.r.Inside(slug, append([]string{"curl", "-sS", "--noproxy", "*", "--max-time", "20", "-w", " %{http_code}", "-H", "Content-Type: application/json",
			"-H", "Accept: application/json, text/event-stream", "-d", list, url}, flags...)...)
		return out + said
	}
	for _, flags := range [][]string{nil, {"-H", "Origin: http://supervise:8090"}} {
		if got := answer(rig.SuperviseURL, flags...); !strings.HasSuffix(got, " 200") || !strings.Contains(got, "routes") {
			t.Fatalf("%q: %s", flags, got)
		}
	}
	rebound := fmt.Sprintf("evil.test:8090:%s", address)
	for _, attack := range [][]string{
		{"http://evil.test:8090/mcp", "--resolve", rebound},
		{"http://evil.test:8090/mcp", "--resolve", rebound, "-H", "Origin: http://evil.test:8090"},
		{fmt.Sprintf("http://%s:8090/mcp", address)},
		{rig.SuperviseURL, "-H", "Host: localhost:8090"}, {rig.SuperviseURL, "-H", "Host: supervise"}, {rig.SuperviseURL, "-H", "Host: supervise.evil.test:8090"},
		{rig.SuperviseURL, "-H", "Origin: http://evil.test"}, {rig.SuperviseURL, "-H", "Origin: null"}, {rig.SuperviseURL, "-H", "Origin: https://supervise:8090"},
		{rig.SuperviseURL, "-H", "Origin: http://supervise:8090.evil.test"},
	} {
		if got := answer(attack[0], attack[1:]...); !strings.HasSuffix(got, " 403") || !strings.HasPrefix(got, "supervise: ") {
			t.Errorf("%q: %s", attack, got)
		}
	}
}

// credentialsByName is S13.
func credentialsByName(t *testing.T, s *stage) {
	slug := s.questioner(t)
	ask := func(host, credential string) map[string]any {
		return map[string]any{"host": host, "justification": "x", "credential": credential}
	}
	id := s.r.Ask(slug, "egress-block", string(jsonOf(ask("docs.test", "docs")))).Waits()
	for _, c := range []struct{ host, credential string }{
		{"docs.test", "other"}, {"evil.test", "docs"}, {"docs.test", "DOCS"}, {"docs.test", "nonsuch"}, {"docs.test", "env:HOME"}, {"docs.test", "cmd:cat /etc/shadow"},
		{"docs.test", "file:" + s.r.Home + "/docs-token"}, {"docs.test", "../docs"}, {"docs.test", "docs\n"},
	} {
		s.refusedAt(t, slug, "egress-block", "credential", ask(c.host, c.credential))
	}
	// A sidecar that somebody took over files what it likes; the host goes by the
	// manifest.
	granted := func(id string) bool {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(s.r.Home, "state", slug, "egress/in/routes.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), id)
	}
	for _, host := range []string{"evil.test", "other.test"} {
		forged, path := s.r.File(slug, bottle.Proposal{Kind: bottle.EgressBlock, Justification: "x", Egress: &bottle.EgressAsk{Host: host, Credential: "docs"}},
			time.Now(), proposal.Credential{Name: "docs", Hosts: []string{host}})
		if _, said, code := s.r.Run("bottle-approve", slug+"/"+forged); code == 0 || !strings.Contains(said, "declares no") || granted(forged) {
			t.Errorf("docs for %s: %d, %s", host, code, said)
		}
		os.Remove(path)
	}
	if _, said, code := s.r.Run("bottle-approve", slug+"/"+id); code != 0 || !granted(id) {
		t.Errorf("what the manifest declares: %d, %s", code, said)
	}
}

// forgedFromInside is S6 as a supervise that somebody took over would try it: what
// answers a call if the host writes it cannot be written from there, nor by the agent.
func forgedFromInside(t *testing.T, s *stage) {
	slug := s.questioner(t)
	c := s.r.Ask(slug, "egress-block", `{"host":"s6.test","justification":"x"}`)
	id := c.Waits()
	forged := fmt.Sprintf(`{"proposal":%q,"kind":"egress-block","verdict":"rejected","reason":"forged"}`, id)
	supervise := plan.ContainerName(slug, plan.SuperviseService)
	taken := s.r.Container("taken", "--volumes-from", supervise, "--user", fmt.Sprintf("%d:%d", os.Getuid(), os.Getgid()), "--cap-drop", "ALL",
		"--entrypoint", "/bin/sleep", s.image(agentOf(slug)), "600")
	write := func(path string) string {
		_, err := s.r.TryDocker("exec", taken, "sh", "-c", `echo "$1" >"$0"`, path, forged)
		return fmt.Sprint(err)
	}
	if said := write(plan.SidecarOut + "/s6"); said != "<nil>" {
		t.Errorf("the sidecar's own place cannot be written either: %s", said)
	}
	if said := write(plan.SidecarIn + "/decisions/" + id + ".json"); !strings.Contains(said, "Read-only file system") {
		t.Errorf("writing a decision: %s", said)
	}
	for _, method := range []string{"PUT", "POST", "DELETE"} {
		out, _, _ := s.r.Inside(slug, "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-X", method, "-d", forged, "http://supervise:8090/decisions/"+id+".json")
		if out != "404" {
			t.Errorf("%s of a decision: %s", method, out)
		}
	}
	if err := os.WriteFile(filepath.Join(s.r.Home, "state", slug, "supervise/in/decisions", id+".json"), []byte(forged), 0o600); err != nil {
		t.Fatal(err)
	}
	if answer := c.Until("answer "); !strings.Contains(answer, "forged") {
		t.Errorf("what the host writes is no answer: %s", answer)
	}
}
