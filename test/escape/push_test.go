package escape

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"bottle/pkg/plan"
	"bottle/test/rig"
)

// pushes is the bottle whose git leads to a server of the tests', where each row
// has a repository of its own: g1 to g13, and one, other, that the bottle has not.
type pushes struct {
	r    *rig.Rig
	g    *rig.GitServer
	slug string
	slow <-chan string // what a push that stops in the middle is answered
}

// pushRows is how many rows have a repository.
const pushRows = 13

// repositories makes them of the first. Each keeps a list of all that it was ever
// asked to take, and waits before it does where a test wants to look (midway).
const repositories = `set -e
cd /srv/g1.git
cat >hooks/pre-receive <<'END'
#!/bin/sh
cat >>asked
[ ! -p came ] || { echo >came; cat go; } >/dev/null
END
chmod +x hooks/pre-receive
: >asked
cd ..
for i in $(seq 2 $0); do cp -r g1.git g$i.git; done
cp -r g1.git other.git`

// newPushes starts both.
func newPushes(t *testing.T) *pushes {
	t.Helper()
	p := &pushes{r: rig.New(t)}
	p.g = p.r.GitServer()
	p.g.Repo("g1")
	p.g.Shell(repositories, fmt.Sprint(pushRows))
	var remotes strings.Builder
	for i := range pushRows {
		fmt.Fprintf(&remotes, "    g%d: {upstream: 'git@%s:/srv/g%d.git', identity_file: %s, known_hosts: %s, private: true}\n", i+1, rig.GitHost, i+1, p.g.Key, p.g.Known)
	}
	p.r.Write("bottles/push.md", "---\nenv: {OWN: '${OWN}'}\ngit:\n  push: {max_size: 4MiB}\n  remotes:\n"+remotes.String()+"---\n")
	p.r.Write("agents/push.md", "---\nbottle: push\nprogram: shell\n---\n")
	p.r.Env = []string{"OWN=" + ownValue}
	p.slug = p.r.Start("push")
	p.g.Join(p.slug)
	p.stall(t)
	return p
}

// stall begins a push to g11 that stops in the middle of its pack.
func (p *pushes) stall(t *testing.T) {
	t.Helper()
	const script = `exec 3<>/dev/tcp/git-gate/80 || exit 1
l="$(printf '0%.0s' {1..40}) $(printf '1%.0s' {1..40}) refs/heads/slow"
printf 'POST /g11.git/git-receive-pack HTTP/1.1\r\nHost: git-gate\r\nContent-Type: application/x-git-receive-pack-request\r\nContent-Length: 100000\r\nConnection: close\r\n\r\n' >&3
printf '%04x%s\0 report-status0000PACK\0\0\0\2\0\0\0\5\236x' $((${#l}+19)) "$l" >&3
cat <&3`
	cmd := p.r.Command(t.Context(), "bottle-attach", p.slug, "--", "bash", "-c", script)
	answer := make(chan string, 1)
	p.slow = answer
	go func() {
		out, _ := cmd.Output()
		answer <- string(out)
	}()
	p.gate("timeout", "60", "sh", "-c", "until ls /repos/g11.git/quarantine/*/* >/dev/null 2>&1; do sleep 0.02; done")
}

// gate runs a command in the gate's container.
func (p *pushes) gate(argv ...string) string {
	return strings.TrimSpace(p.r.Docker(append([]string{"exec", plan.ContainerName(p.slug, plan.GateService)}, argv...)...))
}

// in runs a script in a new clone of a repository, inside the bottle.
func (p *pushes) in(repo, script string) (said string, code int) {
	const clone = `exec 2>&1; cd "$(mktemp -d)" && git clone -q http://git-gate/$0.git . && git config user.name a && git config user.email a@example.test || exit 9
`
	out, said, code := p.r.Inside(p.slug, "bash", "-c", clone+script, repo)
	return out + said, code
}

// arrives is the positive control: what a script pushes is taken.
func (p *pushes) arrives(t *testing.T, repo, script string) {
	t.Helper()
	if said, code := p.in(repo, script); code != 0 {
		t.Fatalf("an ordinary push does not arrive: %s", said)
	}
}

// attempt is a script that pushes what must not pass, and what the agent is told.
type attempt struct{ name, script, says string }

// refused runs attempts one after another in one clone, and wants the gate to
// refuse each in its words.
func (p *pushes) refused(t *testing.T, repo string, attempts ...attempt) {
	t.Helper()
	var all strings.Builder
	for _, a := range attempts {
		fmt.Fprintf(&all, "(\n%s\n)\necho ended=$?\n", a.script)
	}
	left, _ := p.in(repo, all.String())
	for _, a := range attempts {
		said, rest, _ := strings.Cut(left, "ended=")
		code, rest, _ := strings.Cut(rest, "\n")
		if left = rest; code != "1" || !strings.Contains(said, a.says) || !strings.Contains(said, "rejected] ") {
			t.Errorf("%s: it ended with %s and said %s", a.name, code, said)
		}
	}
}

// here is all that a repository upstream has, and was ever asked to take.
func (p *pushes) here(repo string) string {
	return p.g.Shell(`cd /srv/$0.git && cat asked && git for-each-ref && git cat-file --batch-all-objects --batch-check`, repo)
}

// unmoved wants nothing to arrive upstream while f runs.
func (p *pushes) unmoved(t *testing.T, repo string, f func()) {
	t.Helper()
	before := p.here(repo)
	f()
	if now := p.here(repo); now != before {
		t.Errorf("%s had\n%s\nand has\n%s", repo, before, now)
	}
}

// midway runs f while upstream has been asked for what a script pushes, and has
// not answered yet. It returns what the script says.
func (p *pushes) midway(repo, script string, f func()) string {
	p.g.Shell("cd /srv/$0.git && mkfifo came go", repo)
	pushed := make(chan string, 1)
	go func() {
		said, code := p.in(repo, script)
		pushed <- fmt.Sprintf("%s: it ended with %d", said, code)
	}()
	p.g.Shell("cd /srv/$0.git && timeout 60 cat came", repo)
	f()
	p.g.Shell(`cd /srv/$0.git && rm came && timeout 60 sh -c 'echo >go' && rm go`, repo)
	return <-pushed
}

// otherRefs is G8.
func otherRefs(t *testing.T, s *stage) {
	p := s.pushes
	// Upstream itself would take all of it.
	p.g.Shell(`set -e; cd "$(mktemp -d)"; git clone -q /srv/g8.git .; git config user.name u; git config user.email u@example.test
git commit -q --allow-empty -m a; git push -q origin HEAD:refs/heads/theirs HEAD:refs/tags/theirs
git commit -q --allow-empty --amend -m b; git push -q -f origin HEAD:refs/heads/theirs HEAD:refs/tags/theirs HEAD:refs/hidden/theirs HEAD:refs/notes/theirs HEAD:refs/pull/1/merge
git push -q origin :refs/heads/theirs :refs/tags/theirs`)
	p.arrives(t, "g8", `git commit -q --allow-empty -m x && git push -q origin HEAD:refs/heads/mine HEAD:refs/tags/mine && git commit -q --allow-empty -m y && git push -q origin HEAD:refs/heads/mine`)
	p.unmoved(t, "g8", func() {
		p.refused(t, "g8", []attempt{
			{"a force-push", `git checkout -q --detach origin/mine && git commit -q --allow-empty --amend -m z && git push -f origin HEAD:refs/heads/mine`, "non-fast-forward"},
			{"back to an older commit", `git push -f origin origin/mine~1:refs/heads/mine`, "non-fast-forward"},
			{"a branch deleted", `git push origin :refs/heads/mine`, "deletion prohibited"},
			{"a tag deleted", `git push origin :refs/tags/mine`, "deletion prohibited"},
			{"a tag moved", `git push -f origin origin/mine:refs/tags/mine`, "already exists"},
			{"refs/hidden", `git push origin HEAD:refs/hidden/x`, "ref not allowed"},
			{"refs/notes", `git push origin HEAD:refs/notes/x`, "ref not allowed"},
			{"beside an allowed one", `git push origin HEAD:refs/heads/fine HEAD:refs/pull/1/head`, "ref not allowed"},
			{"all that a clone has", `git push --mirror origin`, "ref not allowed"},
		}...)
	})
}

const listing = "/info/refs?service=git-upload-pack"

// forbidden wants the gate's own 403 to each of these targets, where the listing
// of a repository that the bottle has is answered.
func (p *pushes) forbidden(t *testing.T, repo string, targets ...string) {
	t.Helper()
	const ask = `b=$(mktemp); for u; do echo "$(curl -s -g --path-as-is -o $b -w '%{http_code}' "http://git-gate$u") $(head -n 1 $b | tr -d '\0')"; done`
	out, said, _ := p.r.Inside(p.slug, append([]string{"bash", "-c", ask, "bash", "/" + repo + ".git" + listing}, targets...)...)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 1+len(targets) || !strings.HasPrefix(lines[0], "200 001e# service=") {
		t.Fatalf("an ordinary request ends in %s%s", out, said)
	}
	for i, target := range targets {
		if !strings.HasPrefix(lines[1+i], "403 git-gate: ") {
			t.Errorf("%s: %s", target, lines[1+i])
		}
	}
}

// otherRepository is G9.
func otherRepository(t *testing.T, s *stage) {
	p := s.pushes
	p.arrives(t, "g9", `git push -q http://git-gate/g9.git HEAD:refs/heads/a && git push -q git@`+rig.GitHost+`:/srv/g9.git HEAD:refs/heads/b`)
	p.unmoved(t, "other", func() {
		p.unmoved(t, "g9", func() {
			p.forbidden(t, "g9", "/other.git"+listing, "/other.git/info/refs?service=git-receive-pack", "/g9.git/../other.git"+listing, "/x/../g9.git"+listing,
				"/g9.git/.."+listing, "/g9.git%2f..%2fother.git"+listing, "/%679.git"+listing, "/G9.git"+listing, "/g9.GIT"+listing, "//g9.git"+listing, "/g9"+listing, "/.git"+listing,
				"/srv/other.git"+listing, "/g9.git/config", "/g9.git/HEAD", "/g9.git/objects/info/packs", "/")
			for _, url := range []string{"http://git-gate/other.git", "http://git-gate/g9.git/../other.git", "http://git-gate/G9.git", "https://" + rig.GitHost + "/other.git"} {
				if said, code := p.in("g9", "git push "+url+" HEAD:refs/heads/x"); code == 0 || !strings.Contains(said, "403") {
					t.Errorf("%s: it ended with %d and said %s", url, code, said)
				}
			}
			if said, code := p.in("g9", "git push git@"+rig.GitHost+":/srv/other.git HEAD:refs/heads/x"); code == 0 {
				t.Errorf("another repository by ssh: %s", said)
			}
		})
	})
}

// giantAndSlow is G11.
func giantAndSlow(t *testing.T, s *stage) {
	p := s.pushes
	p.smuggle(t, "g11", smuggled{name: "a giant", script: `head -c $W /dev/urandom >f; ` + commitAll, harmless: "1000000", hostile: "6000000", says: "pack exceeds maximum allowed size"})
	select {
	case said := <-p.slow:
		if !strings.Contains(said, "ng refs/heads/slow") {
			t.Errorf("a push that stops in the middle is answered %q", said)
		}
	case <-time.After(4 * time.Minute):
		t.Error("a push that stops in the middle does not end")
	}
	if strings.Contains(p.here("g11"), "refs/heads/slow") {
		t.Error("upstream heard of a push that stopped in the middle")
	}
	if left := p.gate("ls", "/repos/g11.git/quarantine"); left != "" {
		t.Errorf("left in quarantine: %s", left)
	}
}

// forwarding is how the gate calls ssh to push: behind the dashes are upstream's
// host and one command.
var forwarding = regexp.MustCompile(`(?m)^ssh -F /dev/null .* -- git@` + regexp.QuoteMeta(rig.GitHost) + ` git-receive-pack '/srv/g12\.git' ?$`)

// injectedOptions is G12.
func injectedOptions(t *testing.T, s *stage) {
	p := s.pushes
	const named = `git commit -q --allow-empty -m x; to=refs/heads/$W`
	p.smuggle(t, "g12",
		smuggled{name: "a branch", script: named, harmless: "mirror", hostile: "--mirror", says: "not a ref"},
		smuggled{name: "a part of its name", script: named, harmless: "a/exec", hostile: "a/--exec=id", says: "not a ref"})
	const own = "/g12.git/info/refs?service="
	p.forbidden(t, "g12", "/--upload-pack=id.git"+listing, "/-g12.git"+listing, own+"git-upload-pack&x=--upload-pack=id", own+"git-upload-pack%20--exec=id",
		own+"--exec=id", own+"git-upload-archive", "/g12.git/git-upload-pack?--exec=id", "/g12.git/git-upload-pack%20--exec=id")

	// What says which version is spoken is git's own word, or nothing.
	const versions = `for v; do curl -s -H "Git-Protocol: $v" http://git-gate/g12.git` + listing + ` | sha1sum; done`
	out, _, _ := p.r.Inside(p.slug, "bash", "-c", versions, "bash", "", "version=2", "--exec=id", "version=2 --exec=id", "version=2:--exec=id", "version=1\tversion=2")
	sums := strings.Fields(strings.ReplaceAll(out, "-", ""))
	if len(sums) != 6 || sums[1] == sums[0] {
		t.Fatalf("versions make no difference: %s", out)
	}
	for _, sum := range sums[2:] {
		if sum != sums[0] {
			t.Errorf("an option beside the version makes a difference: %s", out)
		}
	}

	said := p.midway("g12", `git commit -q --allow-empty -m x; git push -q origin HEAD:refs/heads/seen`, func() {
		if list := p.gate("sh", "-c", `for f in /proc/[0-9]*/cmdline; do tr '\0' ' ' <$f; echo; done 2>/dev/null`); !forwarding.MatchString(list) {
			t.Errorf("the gate's own ssh is called otherwise: %s", list)
		} else if strings.Contains(list, "heads/seen") {
			t.Errorf("what the agent calls a ref is an argument: %s", list)
		}
	})
	if p.g.Tip("g12", "seen") == "" {
		t.Errorf("what was looked at did not arrive: %s", said)
	}
}

// raw pushes objects ($1 and what leads to it) by hand, naming any commit ($2) as
// what a branch ($3) is to be.
const raw = `raw() { local l="$(printf '0%.0s' {1..40}) $2 refs/heads/$3"
	{ printf '%04x%s\0 report-status0000' $((${#l}+19)) "$l"; git rev-list --objects $1 --not --remotes | git pack-objects -q --stdout; } |
	curl -s -H 'Content-Type: application/x-git-receive-pack-request' --data-binary @- http://git-gate/g13.git/git-receive-pack | tr -d '\0'; }
git commit -q --allow-empty -m clean; A=$(git rev-parse HEAD); echo ` + "$KEY" + ` >f; git add f; git commit -qm dirty; B=$(git rev-parse HEAD)
`

// scannedIsPushed is G13.
func scannedIsPushed(t *testing.T, s *stage) {
	p := s.pushes
	pair := "KEY=" + aKey + "\n" + raw
	p.arrives(t, "g13", pair+`raw $A $A good | grep -q 'ok refs/heads/good' && git push -q origin $A:refs/heads/one $A:refs/heads/two`)
	t.Run("another than was brought", func(t *testing.T) {
		p.unmoved(t, "g13", func() {
			said, _ := p.in("g13", pair+`git push -q origin $B:refs/heads/b; raw $A $B c`)
			if !strings.Contains(said, ": github-pat") || !strings.Contains(said, "missing necessary objects") || strings.Contains(said, "ok refs/") {
				t.Errorf("it is answered %s", said)
			}
			p.refused(t, "g13", attempt{"one that is clean and one that is not", pair + `git push origin $A:refs/heads/d $B:refs/heads/e`, ": github-pat"})
		})
	})
	t.Run("both at once", func(t *testing.T) {
		said, _ := p.in("g13", pair+`echo $A $B; for i in 1 2 3; do git push -q origin $A:refs/heads/race$i & git push -q origin $B:refs/heads/race$i & done; wait`)
		a, b, _ := strings.Cut(strings.SplitN(said, "\n", 2)[0], " ")
		for _, ref := range []string{"race1", "race2", "race3"} {
			if got := p.g.Tip("g13", ref); got != a {
				t.Errorf("%s is %s, not %s: %s", ref, got, a, said)
			}
		}
		if has := p.here("g13"); b == "" || strings.Contains(has, b) {
			t.Errorf("upstream has heard of %s: %s", b, has)
		}
	})
	t.Run("upstream refuses one of two", func(t *testing.T) {
		p.g.Shell(`cd /srv/g13.git/hooks && printf '#!/bin/sh\ncase $1 in */never*) exit 1; esac\n' >update && chmod +x update`)
		// Upstream itself would take the other.
		p.g.Shell(`cd "$(mktemp -d)" && git clone -q /srv/g13.git . && git push -q origin HEAD:refs/heads/sure1 HEAD:refs/heads/never1 2>/dev/null; git -C /srv/g13.git rev-parse --verify -q refs/heads/sure1`)
		p.refused(t, "g13", attempt{"two", pair + `git push origin $A:refs/heads/sure2 $A:refs/heads/never2`, "hook declined"})
		if p.g.Tip("g13", "sure2")+p.g.Tip("g13", "never2") != "" {
			t.Error("one of two arrived")
		}
		p.arrives(t, "g13", pair+`git push origin $A:refs/heads/sure2`)
	})
	t.Run("killed in the middle", func(t *testing.T) {
		said := p.midway("g13", pair+`setsid --wait bash -c "echo \$\$ >/tmp/g13; exec git push origin $A:refs/heads/k1 $A:refs/heads/k2"`, func() {
			if _, said, code := p.r.Inside(p.slug, "bash", "-c", "kill -9 -- -$(cat /tmp/g13)"); code != 0 {
				t.Errorf("the push cannot be killed: %s", said)
			}
		})
		// Upstream's own program ends when it has answered, whether somebody listens or not.
		p.g.Shell(`timeout 60 sh -c 'while grep -aqs "srv/$0[.]git" /proc/[0-9]*/cmdline; do sleep 0.02; done' "$0"`, "g13")
		one, two := p.g.Tip("g13", "k1"), p.g.Tip("g13", "k2")
		if one != two || strings.Contains(said, "ended with 0") {
			t.Errorf("of two refs there are %q and %q: %s", one, two, said)
		}
		list, _ := p.in("g13", "git ls-remote origin 'refs/heads/k*' | wc -l")
		if want := map[bool]string{true: "0", false: "2"}[one == ""]; strings.TrimSpace(list) != want {
			t.Errorf("the gate has %s of them, upstream %s", list, want)
		}
	})
}
