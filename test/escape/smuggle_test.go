package escape

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
)

// smuggled is a way to get a word into a push. Its script runs in a clone, on a
// new branch, with the word in $W; it may set what goes (from) where (to).
type smuggled struct {
	name, script string
	harmless     string // a word that passes; empty: harmlessWord
	hostile      string // a word that does not; empty: aKey
	says         string // what the agent is told then; empty: the rule of aKey
}

const harmlessWord = "ordinary-word"

// smuggle tries ways: each with a harmless word arrives upstream, each with a
// hostile one is refused by the gate, and upstream hears nothing of it.
func (p *pushes) smuggle(t *testing.T, repo string, ways ...smuggled) {
	t.Helper()
	const prepare = "git checkout -q -f -B work origin/trunk && git clean -qfdx && from=HEAD to=refs/heads/%s W='%s' && { %s\n}"
	var all strings.Builder
	for i, w := range ways {
		fmt.Fprintf(&all, prepare+" || exit 9; set -- \"$@\" $(git rev-parse $from):$to\n", fmt.Sprintf("good%d", i), cmp.Or(w.harmless, harmlessWord), w.script)
	}
	if said, code := p.in(repo, all.String()+`git push origin "$@"`); code != 0 || strings.Count(said, " * [new ") != len(ways) {
		t.Fatalf("the same pushes with harmless words do not arrive: %s", said)
	}
	var bad []attempt
	for i, w := range ways {
		script := fmt.Sprintf(prepare, fmt.Sprintf("bad%d", i), cmp.Or(w.hostile, aKey), w.script) + " || exit 9; git push origin $from:$to"
		bad = append(bad, attempt{w.name, script, cmp.Or(w.says, ": github-pat")})
	}
	p.unmoved(t, repo, func() { p.refused(t, repo, bad...) })
}

const commitAll = `git add . && git commit -qm x`

// secretInHistory is G1.
func secretInHistory(t *testing.T, s *stage) {
	s.pushes.smuggle(t, "g1",
		smuggled{name: "a commit", script: `echo "k=$W" >f; ` + commitAll},
		smuggled{name: "deleted later", script: `echo "$W" >f; ` + commitAll + `; git rm -q f; git commit -qm y`},
		smuggled{name: "an orphan", script: `git checkout -q --orphan o; echo "$W" >f; ` + commitAll},
		smuggled{name: "the bottle's own, in base64", script: `printf "xx$W" | base64 >f; ` + commitAll, hostile: ownValue, says: ": known-secret"},
	)
}

// secretInContent is G2.
func secretInContent(t *testing.T, s *stage) {
	s.pushes.smuggle(t, "g2",
		smuggled{name: "a binary", script: `{ printf '\0\1\2\377'; printf "$W"; printf '\0\377'; } >f; echo '* binary -diff' >.gitattributes; ` + commitAll},
		smuggled{name: "an archive", script: `echo "$W" >s; tar czf f.tgz s; rm s; ` + commitAll},
		smuggled{name: "UTF-16", script: `{ printf '\377\376'; echo "$W" | iconv -t UTF-16LE; } >f; ` + commitAll},
		smuggled{name: "a symlink's target", script: `ln -s "$W" f; ` + commitAll},
	)
}

// secretInCommit is G3.
func secretInCommit(t *testing.T, s *stage) {
	const add = `from=$(git cat-file commit HEAD | sed "/^committer/a `
	const made = `" | git hash-object -t commit -w --stdin --literally)`
	s.pushes.smuggle(t, "g3",
		smuggled{name: "a message", script: `git commit -q --allow-empty -m "x $W"`},
		smuggled{name: "an author", script: `git commit -q --allow-empty -m x --author "$W <a@example.com>"`},
		smuggled{name: "an extra header", script: add + `x-note $W` + made},
		smuggled{name: "a signature", script: add + `gpgsig -----BEGIN PGP SIGNATURE-----\n $(echo "$W" | base64 -w0)\n -----END PGP SIGNATURE-----` + made},
	)
}

// secretInTag is G4.
func secretInTag(t *testing.T, s *stage) {
	s.pushes.smuggle(t, "g4",
		smuggled{name: "a tag's message", script: `git tag -a m -m "$W"; from=refs/tags/m to=refs/tags/${to##*/}`},
		smuggled{name: "a tag of a blob", script: `from=$(echo "$W" | git hash-object -w --stdin) to=refs/tags/${to##*/}`},
		smuggled{name: "a tag of a tree", script: `from=$(printf '100644 blob %s\tf\n' $(echo "$W" | git hash-object -w --stdin) | git mktree) to=refs/tags/${to##*/}`},
		smuggled{name: "notes", script: `git notes add -m "$W"; from=refs/notes/commits`},
	)
}

// secretInName is G5.
func secretInName(t *testing.T, s *stage) {
	s.pushes.smuggle(t, "g5",
		smuggled{name: "a file's name", script: `echo x >"$W"; ` + commitAll},
		smuggled{name: "a directory's name", script: `mkdir "$W"; echo x >"$W/f"; ` + commitAll},
		smuggled{name: "a branch's name", script: `git commit -q --allow-empty -m x; to=refs/heads/$W`, says: "holds a secret"},
	)
}

// secretInMerge is G6.
func secretInMerge(t *testing.T, s *stage) {
	s.pushes.smuggle(t, "g6",
		smuggled{name: "an evil merge", script: `b=$(git commit-tree -p HEAD -m b HEAD^{tree}); git commit -q --allow-empty -m m; git merge -q --no-commit -s ours $b; echo "$W" >f; git add f; git commit -qm merge`},
		smuggled{name: "behind a replacement", script: `echo "$W" >f; ` + commitAll + `; git replace HEAD HEAD~1; export GIT_NO_REPLACE_OBJECTS=1`},
		smuggled{name: "a graft", script: `echo "$W" >g; ` + commitAll + `; git rm -q g; git commit -qm y; git replace --graft HEAD HEAD~2`},
	)
}

// ownExceptions is G7.
func ownExceptions(t *testing.T, s *stage) {
	s.pushes.smuggle(t, "g7",
		smuggled{name: "gitleaks:allow", script: `echo "k=$W # gitleaks:allow" >f; ` + commitAll},
		smuggled{name: "the repository's own configuration", script: `printf '[allowlist]\npaths = [".*"]\n' >.gitleaks.toml; echo f:github-pat:1 >.gitleaksignore; echo "$W" >f; ` + commitAll},
	)
}

// hostileTrees is G10.
func hostileTrees(t *testing.T, s *stage) {
	const tree = `t=$(printf "100644 $W\0$(echo x | git hash-object -w --stdin | sed 's/../\\x&/g')" | git hash-object -t tree -w --stdin --literally); from=$(git commit-tree -m x $t)`
	const modules = `printf '[submodule "s"]\n path = s\n url = %s\n' "$W" >.gitmodules; ` + commitAll
	s.pushes.smuggle(t, "g10",
		smuggled{name: ".git", script: tree, harmless: "git", hostile: ".git", says: "fsck error"},
		smuggled{name: "git~1", script: tree, harmless: "git1", hostile: "git~1", says: "fsck error"},
		smuggled{name: "..", script: tree, harmless: "x..", hostile: "..", says: "fsck error"},
		smuggled{name: "ext::", script: modules, harmless: "https://example.com/x", hostile: "ext::sh -c id", says: ": gitmodules"},
		smuggled{name: "a path of the host's", script: modules, harmless: "../x.git", hostile: "/etc", says: ": gitmodules"},
	)
}
