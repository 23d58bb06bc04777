package escape

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"

	"bottle/pkg/agent"
	"bottle/pkg/lifecycle"
)

// Secrets that travel in these rows. None stands here as it is: the sources are
// part of the corpus of harmless requests.
var (
	aKey     = "ghp_" + "wWPw5k4aXcaT4fNP0UcnZwJUVFk6LO0pINUx" // of GitHub's form, and nobody's
	ownValue = "Vq7-rT2_" + "mZ9xLw4Kd8Yb"                     // given to the agent, for owned.test
	ownKey   = "hN3+pF6/" + "sJ5cQe1Ug0Ra"                     // injected for keyed.test
)

// calm is what each request carries in the secret's place to show that it arrives.
const calm = "nothing-to-see-here"

// guarded is the bottle that holds secrets. Its agent is a shell whose own host
// is a model's.
type guarded struct {
	sync.Once
	slug string
}

const guardedBottle = `---
env:
  OWN: {from: OPERATORS_OWN, hosts: [owned.test]}
egress:
  routes:
    - {host: allowed.test, private: true}
    - {host: owned.test, private: true}
    - {host: keyed.test, auth: {scheme: Bearer, token_ref: OPERATORS_KEY}, private: true}
    - {host: api.anthropic.com, private: true}
    - {host: api.openai.com, private: true}
    - {host: generativelanguage.googleapis.com, private: true}
  max_body: 1MiB
---
`

// modelShell is a shell that must reach what Claude Code must.
type modelShell struct{ agent.Agent }

func (modelShell) Hosts() []agent.Host {
	claude, err := agent.Lookup(agent.Program{Name: "claude"})
	if err != nil {
		panic(err) // it is in the table
	}
	return claude.Hosts()
}

// guard starts a bottle of this manifest, with the secrets.
func (s *stage) guard(t *testing.T, name, manifest string) string {
	t.Helper()
	s.r.Write("bottles/"+name+".md", manifest)
	s.r.Write("agents/"+name+".md", "---\nbottle: "+name+"\nprogram: shell\n---\n")
	slug, err := s.r.UpAs(name, func(spec *lifecycle.Spec) {
		spec.Agent = modelShell{spec.Agent}
		spec.Secrets = map[string]string{"OWN": ownValue}
		spec.Credentials = map[string]string{"env:OPERATORS_KEY": ownKey}
	})
	if err != nil {
		t.Fatalf("cannot start the bottle %s: %v", name, err)
	}
	s.u.Join(slug)
	return slug
}

// scanned returns the bottle that holds secrets.
func (s *stage) scanned(t *testing.T) string {
	t.Helper()
	s.guarded.Do(func() { s.guarded.slug = s.guard(t, "guarded", guardedBottle) })
	if s.guarded.slug == "" {
		t.Fatal("there is no bottle that holds secrets")
	}
	return s.guarded.slug
}

// letter is one request of curl's.
type letter struct {
	name string
	host string   // empty: allowed.test
	path string   // empty: /whole/ROW/NAME
	tail string   // behind the path
	args []string // curl's
	body []byte   // nil: none, unless args say so
	want string   // in the answer of a refusal, besides; empty: nothing
}

const answerMark = "=== the answer to "

// post sends letters from inside a bottle, a few at once, and returns what came by
// name.
func (s *stage) post(t *testing.T, slug, row string, letters []letter) map[string]string {
	t.Helper()
	var script strings.Builder
	script.WriteString("cd $(mktemp -d)\n")
	for i, l := range letters {
		at := fmt.Sprintf("https://%s%s", l.target(), l.at(row)+l.tail)
		script.WriteString("{ ")
		args := []string{"curl", http11, "-sS", "-i", "-g", "-m", "60", "--path-as-is"}
		if l.body != nil {
			fmt.Fprintf(&script, "printf %%s %s | base64 -d | gzip -d >%d.in; ", base64.StdEncoding.EncodeToString(packed(l.body)), i)
			args = append(args, "-H", "Expect:", "--data-binary", fmt.Sprintf("@%d.in", i))
		}
		for _, a := range append(append(args, l.args...), at) {
			script.WriteString(quoted(a) + " ")
		}
		fmt.Fprintf(&script, ">%d.out 2>&1; } &\n", i)
		if i%4 == 3 {
			script.WriteString("wait\n")
		}
	}
	fmt.Fprintf(&script, "wait\nfor i in $(seq 0 %d); do echo %s$i; cat $i.out; echo; done\n", len(letters)-1, quoted(answerMark))
	out, said, code := s.r.Inside(slug, "bash", "-c", script.String())
	answers := map[string]string{}
	for i, part := range strings.Split(out, answerMark)[1:] {
		_, answers[letters[i].name], _ = strings.Cut(part, "\n")
	}
	if len(answers) != len(letters) {
		t.Fatalf("%d of %d requests were made (%d): %s", len(answers), len(letters), code, said)
	}
	return answers
}

func (l letter) target() string {
	if l.host == "" {
		return allowed
	}
	return l.host
}

func (l letter) at(row string) string {
	if l.path != "" {
		return l.path
	}
	return "/whole/" + row + "/" + strings.ReplaceAll(l.name, " ", "-")
}

// quoted is a word for a shell.
func quoted(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// guards sends each letter twice: with something harmless, which must arrive, and
// with the secret, which must be refused and must not arrive. The secret is in
// no answer and in no event.
func (s *stage) guards(t *testing.T, row, secret string, letters func(v string) []letter) {
	t.Helper()
	slug := s.scanned(t)
	harmless := letters(calm)
	s.pass(t, slug, row+"-calm", harmless)
	s.blocks(t, slug, row, letters(secret), secret)
}

// pass wants each letter to arrive.
func (s *stage) pass(t *testing.T, slug, row string, letters []letter) {
	t.Helper()
	for name, got := range s.post(t, slug, row, letters) {
		if !strings.Contains(got, "HTTP/1.1 200 OK") {
			t.Errorf("%s: without a secret it does not arrive, so that a refusal proves nothing: %.600s", name, got)
		}
	}
	s.settle(t)
	for _, l := range letters {
		if len(s.requests(l.at(row))) == 0 {
			t.Errorf("%s: without a secret it did not arrive at %s", l.name, l.at(row))
		}
	}
}

// blocks wants each letter to be refused for what it holds, by the scan.
func (s *stage) blocks(t *testing.T, slug, row string, letters []letter, secret string) {
	t.Helper()
	answers := s.post(t, slug, row, letters)
	for _, l := range letters {
		got := answers[l.name]
		if !strings.Contains(got, "HTTP/1.1 403 egress: ") || !strings.Contains(got, "X-Bottle-Blocked: dlp") || !strings.Contains(got, l.want) {
			t.Errorf("%s is answered with %.800s", l.name, got)
		}
		if secret != "" && strings.Contains(got, secret) {
			t.Errorf("%s: the refusal tells the secret", l.name)
		}
	}
	s.settle(t)
	for _, e := range s.requests("/whole/" + row + "/") {
		t.Errorf("the internet got all of %s: %.300q", e.Path, e.Detail)
	}
	for _, e := range s.u.Log() {
		if secret != "" && strings.Contains(e.Path+"\n"+e.Detail, secret) {
			t.Errorf("the internet got the secret at %s%s", e.Host, e.Path)
		}
	}
	out, said, code := s.r.Run("bottle-log", slug)
	if code != 0 || secret != "" && strings.Contains(out, secret) {
		t.Errorf("the log of events holds the secret, or cannot be read: %d %s", code, said)
	}
}

func packed(data []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic(err) // the level is one
	}
	w.Write(data)
	w.Close()
	return b.Bytes()
}
