package gitgate

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/zlib"
	"encoding/ascii85"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// smuggling is a push that carries a secret out. Its script runs in a repository
// with one commit that was pushed; $S is a secret by its format, $K one of the
// bottle's own, $A a directory of archives; it ends with the push.
type smuggling struct {
	row    string // of THREATS.md
	name   string
	script string
	passes string // why nothing finds it; empty: it is refused
}

var smugglings = []smuggling{
	{"G1", "a commit", `echo "k=$S" >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "a commit that the next one takes back", `echo "$S" >f; git add f; git commit -qm x; git rm -q f; git commit -qm y; git push -q origin main`, ""},
	{"G1", "an orphan branch", `git checkout -q --orphan o; echo "$S" >f; git add f; git commit -qm x; git push -q origin o`, ""},
	{"G1", "an object that no ref leads to", `id=$(echo "$S" | git hash-object -w --stdin); c=$(git commit-tree -p HEAD -m x HEAD^{tree}); git update-ref refs/heads/main $c
		{ printf '%s\n%s\n' $c $id; } | git pack-objects -q --stdout >p; old=$(git rev-parse origin/main)
		l="$old $c refs/heads/main"; { printf '%04x%s\0 report-status' $((${#l}+5+14)) "$l"; printf 0000; cat p; } >req
		curl -sf -H 'Content-Type: application/x-git-receive-pack-request' --data-binary @req $URL/git-receive-pack | grep -aq '^.*ok refs/heads/main'`, ""},
	{"G1", "one of the bottle's own", `echo "$K" >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "the bottle's own, in base64", `printf "xx$K" | base64 >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "the bottle's own, in hexadecimal", `printf "$K" | od -An -tx1 | tr -d ' \n' >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "the bottle's own, backwards", `printf "$K" | rev >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "the bottle's own, a letter a line", `printf "$K" | sed 's/./&\n/g' >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "the bottle's own, percent-encoded", `printf "$K" | od -An -tx1 | tr -d '\n' | tr ' ' % >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "base64", `echo "$S" | base64 -w0 >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "base64 twice", `echo "$S" | base64 -w0 | base64 -w0 >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "a long file", `{ seq 300000; echo "$S"; seq 10; } >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "a file of many megabytes", `{ head -c 18000000 /dev/zero | tr '\0' 'a'; echo; echo "$S"; } >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G1", "an intermediate branch that is pushed under another name", `git checkout -q -b s; echo "$S" >f; git add f; git commit -qm x; git push -q origin s:refs/heads/deep/er/t`, ""},
	{"G2", "a binary", `{ printf '\0\1\2\377'; printf "$S"; printf '\0\377'; } >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "binary by attribute", `echo '* binary -diff' >.gitattributes; echo "$S" >f; git add .; git commit -qm x; git push -q origin main`, ""},
	{"G2", "gzip", `gzip -c $A/s >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "tar", `tar cf f -C $A s; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "tar.gz", `tar czf f.tgz -C $A s; git add f.tgz; git commit -qm x; git push -q origin main`, ""},
	{"G2", "tar.bz2", `tar cf t -C $A s; bzip2 -c t >f; rm t; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "tar.xz", `tar cf t -C $A s; xz -c t >f; rm t; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "zstd", `cp $A/s.zst f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "zip", `cp $A/s.zip f.zip; git add f.zip; git commit -qm x; git push -q origin main`, ""},
	{"G2", "zip behind something else", `cat /bin/true $A/s.zip >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "zip in zip in tar.gz", `tar czf f -C $A nested.zip; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "a zip's comment", `cp $A/comment.zip f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "an encrypted zip", `cp $A/locked.zip f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "7z", `printf '7z\274\257\047\034 whatever' >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "zlib in a PDF", `cp $A/s.pdf f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "UTF-16LE", `{ printf '\377\376'; echo "$S" | iconv -t UTF-16LE; } >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "UTF-16BE without a mark", `echo "$S" | iconv -t UTF-16BE >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "UTF-32", `echo "$S" | iconv -t UTF-32 >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "a symlink's target", `ln -s "$S" f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "git's own pack as a file", `mkdir q; cd q; git init -q; echo "$S" >f; git add f; git commit -qm x; git bundle create -q ../b HEAD; cd ..; rm -rf q; git add b; git commit -qm x; git push -q origin main`, ""},
	{"G2", "gzip behind a byte", `{ printf x; gzip -c $A/s; } >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "gzip behind gzip and a byte", `{ echo x | gzip; printf x; gzip -c $A/s; } >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "xz behind a tar's end", `{ tar c -C /bin true; xz -c $A/s; } >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "zlib behind thousands of false beginnings", `{ for i in $(seq 20000); do printf 'x\234\0'; done; tail -c +2 $A/s.pdf; } >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "a zip without its directory", `head -c 150 $A/s.zip | head -c -60 >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "a zip's member that its directory has not", `cp $A/hidden.zip f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "a name in a zip", `cp $A/name.zip f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "a name in a tar", `echo x >"$S"; tar czf f.tgz "$S"; rm "$S"; git add f.tgz; git commit -qm x; git push -q origin main`, ""},
	{"G2", "lz4", `printf '\004\042\115\030 whatever' >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "base64 of a tar.gz", `tar cz -C $A s | base64 >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "UTF-16 behind text", `{ seq 5000; echo "$S" | iconv -t UTF-16LE; seq 5000; } >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "UTF-16 in gzip", `echo "$S" | iconv -t UTF-16BE | gzip >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G2", "a private key", `ssh-keygen -q -t ed25519 -N '' -f k; git add k; git commit -qm x; git push -q origin main`, ""},
	{"G3", "a message", `git commit -q --allow-empty -m "x $S"; git push -q origin main`, ""},
	{"G3", "an author", `git commit -q --allow-empty -m x --author "$S <a@example.com>"; git push -q origin main`, ""},
	{"G3", "an e-mail address", `git commit -q --allow-empty -m x --author "a <$S@example.com>"; git push -q origin main`, ""},
	{"G3", "an extra header", `c=$(git cat-file commit HEAD | sed "/^committer/a x-note $S" | git hash-object -t commit -w --stdin --literally); git push -q origin $c:refs/heads/x`, ""},
	{"G3", "a signature", `c=$(git cat-file commit HEAD | sed "/^committer/a gpgsig -----BEGIN PGP SIGNATURE-----\n $(echo "$S" | base64 -w0)\n -----END PGP SIGNATURE-----" | git hash-object -t commit -w --stdin --literally); git push -q origin $c:refs/heads/x`, ""},
	{"G3", "the bottle's own over a signature's lines", `a=$(printf "$K" | cut -c1-12); b=$(printf "$K" | cut -c13-); c=$(git cat-file commit HEAD | sed "/^committer/a gpgsig -----BEGIN\n $a\n $b" | git hash-object -t commit -w --stdin --literally); git push -q origin $c:refs/heads/x`, ""},
	{"G4", "a tag's message", `git tag -a t -m "$S"; git push -q origin t`, ""},
	{"G4", "a tagger", `GIT_COMMITTER_NAME="$S" git tag -a t -m x; git push -q origin t`, ""},
	{"G4", "a tag of a blob", `git tag t $(echo "$S" | git hash-object -w --stdin); git push -q origin t`, ""},
	{"G4", "a tag of a tree", `git tag t $(printf '100644 blob %s\tf\n' $(echo "$S" | git hash-object -w --stdin) | git mktree); git push -q origin t`, ""},
	{"G4", "a tag of a tag", `git tag -a t -m "$S"; git tag -a u -m x t; git push -q origin u`, ""},
	{"G4", "notes", `git notes add -m "$S"; git push -q origin refs/notes/commits`, ""},
	{"G4", "notes as a branch", `git notes add -m "$S"; git push -q origin refs/notes/commits:refs/heads/n`, ""},
	{"G5", "a file's name", `echo x >"$S"; git add .; git commit -qm x; git push -q origin main`, ""},
	{"G5", "a directory's name", `mkdir "$S"; echo x >"$S/f"; git add .; git commit -qm x; git push -q origin main`, ""},
	{"G5", "a branch's name", `git push -q origin main:"refs/heads/$S"`, ""},
	{"G5", "a tag's name", `git push -q origin main:"refs/tags/$S"`, ""},
	{"G5", "the bottle's own over two directories", `mkdir quiet-otter; echo x >quiet-otter/9472-harbour; git add .; git commit -qm x; git push -q origin main`,
		"the parts stand in two trees"},
	{"G5", "a submodule's commit", `id=$(printf 'AK''IAQ3EGRTXNZ7LMWYK2' | od -An -tx1 | tr -d ' \n'); git update-index --add --cacheinfo 160000,$id,s; git commit -qm x; git push -q origin main`, ""},
	{"G5", "the same, of a mode that means one", `t=$(printf '10000 s\0AK''IAQ3EGRTXNZ7LMWYK2' | git hash-object -w --literally -t tree --stdin); c=$(git commit-tree -p HEAD -m x $t); git push -q origin $c:main`, ""},
	{"G6", "an evil merge", `git checkout -q -b b; git commit -q --allow-empty -m b; git checkout -q main; git commit -q --allow-empty -m m; git merge -q --no-commit -s ours b; echo "$S" >f; git add f; git commit -qm merge; git push -q origin main`, ""},
	{"G6", "behind a replacement", `echo "$S" >f; git add f; git commit -qm x; c=$(git rev-parse HEAD); git replace $c HEAD~1; GIT_NO_REPLACE_OBJECTS=1 git push -q origin main`, ""},
	{"G6", "a graft", `echo "$S" >f; git add f; git commit -qm x; git rm -q f; git commit -qm y; git replace --graft HEAD HEAD~2; git push -q origin main`, ""},
	{"G7", "gitleaks:allow", `echo "k=$S # gitleaks:allow" >f; git add f; git commit -qm x; git push -q origin main`, ""},
	{"G7", "the repository's own configuration", `printf '[allowlist]\npaths = [".*"]\n' >.gitleaks.toml; echo f:github-pat:1 >.gitleaksignore; echo "$S" >f; git add .; git commit -qm x; git push -q origin main`, ""},
	{"G8", "a ref outside heads and tags", `echo "$S" >f; git add f; git commit -qm x; git push -q origin main:refs/hidden/x`, ""},
	{"G10", "a tree with .git", `b=$(echo x | git hash-object -w --stdin); t=$(printf "100644 .git\0$(echo $b | sed 's/../\\x&/g')" | git hash-object -t tree -w --stdin --literally); c=$(git commit-tree -m x $t); git push -q origin $c:refs/heads/x`, ""},
	{"G10", "a tree with git~1", `t=$(printf '100644 blob %s\tgit~1\n' $(echo x | git hash-object -w --stdin) | git mktree); git push -q origin $(git commit-tree -m x $t):refs/heads/x`, ""},
	{"G10", "a tree with ..", `b=$(echo x | git hash-object -w --stdin); t=$(printf "100644 ..\0$(echo $b | sed 's/../\\x&/g')" | git hash-object -t tree -w --stdin --literally); git push -q origin $(git commit-tree -m x $t):refs/heads/x`, ""},
	{"G10", "a .gitmodules with ext::", `printf '[submodule "s"]\n path = s\n url = ext::sh -c id\n' >.gitmodules; git add .; git commit -qm x; git push -q origin main`, ""},
	{"G10", "a .gitmodules with a path of the host", `printf '[submodule "s"]\n path = s\n url = /etc\n' >.gitmodules; git add .; git commit -qm x; git push -q origin main`, ""},
	{"G10", "a .gitmodules whose update is a command", `printf '[submodule "s"]\n path = s\n url = https://example.com/x\n update = !id\n' >.gitmodules; git add .; git commit -qm x; git push -q origin main`, ""},
	{"G10", "a .gitmodules that is a symlink", `t=$(printf '120000 blob %s\t.gitmodules\n' $(printf x | git hash-object -w --stdin) | git mktree); git push -q origin $(git commit-tree -m x $t):refs/heads/x`, ""},

	{"G1", "base85", `cp $A/s.b85 f; git add f; git commit -qm x; git push -q origin main`, "not decoded, as git's own patches of binaries are not"},
	{"G1", "the bottle's own, in a hex dump", `printf "$K" | od -Ax -tx1z >f; git add f; git commit -qm x; git push -q origin main`, "its offsets stand between the bytes"},
	{"G1", "split over commits", `printf "$S" | cut -c1-12 >f; git add f; git commit -qm x; printf "$S" | cut -c13- >f; git commit -qam y; git push -q origin main`, "no part is a secret"},
	{"G2", "base64 of bzip2", `bzip2 -c $A/s | base64 >f; git add f; git commit -qm x; git push -q origin main`, "beneath an encoding, gzip, deflate, zstd and zip alone are undone"},
	{"G2", "lzma without a container", `xz --format=lzma -c $A/s >f; git add f; git commit -qm x; git push -q origin main`, "nothing tells where it begins"},
	{"G2", "raw deflate", `cp $A/s.deflate f; git add f; git commit -qm x; git push -q origin main`, "nothing tells where it begins"},
	{"G1", "XOR", `printf "$S" | tr 'a-zA-Z0-9' 'b-zaB-ZA1-90' >f; git add f; git commit -qm x; git push -q origin main`, "a cipher of one's own looks like anything"},
	{"G1", "split over files", `printf "$S" | cut -c1-12 >f; printf "$S" | cut -c13- >g; git add .; git commit -qm x; git push -q origin main`, "no part is a secret"},
	{"G1", "split over lines", `printf "$S" | fold -w 9 >f; git add f; git commit -qm x; git push -q origin main`, "a format is looked for in one piece; the bottle's own are found"},
	{"G1", "reversed", `printf "$S" | rev >f; git add f; git commit -qm x; git push -q origin main`, "a format is looked for forwards; the bottle's own are found"},
	{"G3", "the times of commits", `for d in 103 104 112; do GIT_AUTHOR_DATE="@$((1000000000+d)) +0000" git commit -q --allow-empty -m x; done; git push -q origin main`, "any number may be a time"},
}

func TestSmuggling(t *testing.T) {
	t.Parallel()
	archives := makeArchives(t)
	told, err := os.ReadFile("../../docs/SECURITY.md")
	if err != nil {
		t.Fatal(err)
	}
	var refused, passed atomic.Int64
	t.Run("all", func(t *testing.T) {
		for _, s := range smugglings {
			t.Run(s.row+" "+s.name, func(t *testing.T) {
				t.Parallel()
				if s.passes != "" && !strings.Contains(string(told), "**"+s.name+"**") {
					t.Error("SECURITY.md does not name it")
				}
				if s.try(t, archives) {
					passed.Add(1)
				} else {
					refused.Add(1)
				}
			})
		}
	})
	t.Logf("%d smuggling pushes: %d refused, %d pass, as SECURITY.md says", len(smugglings), refused.Load(), passed.Load())
}

// try says whether the push was accepted.
func (s *smuggling) try(t *testing.T, archives string) bool {
	g := startGate(t, defaultGate())
	c := newClient(t, g.url+"/origin.git")
	c.commit("README.md", "nothing\n")
	c.git("push", "-q", "origin", "main")
	cmd := clientCommand(c.dir, "bash", "-c", "set -e; "+s.script)
	cmd.Env = append(cmd.Env, "S="+formatSecret, "K="+ownSecret, "A="+archives, "URL="+g.url+"/origin.git")
	out, err := cmd.CombinedOutput()
	events := g.pushes()[1:]
	if len(events) != 1 {
		t.Fatalf("it did not come to a push: %v: %s", err, out)
	}
	e := events[0]
	if (err == nil) != (s.passes != "") || (err == nil) != (e.Verdict == "allow") {
		t.Errorf("ended with %v: %s%+v", err, out, e)
	}
	said := e.Refs + e.Detail + e.Reason
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "remote: ") { // the rest is what the client itself was told
			said += line
		}
	}
	if strings.Contains(said, formatSecret) || strings.Contains(said, ownSecret) {
		t.Errorf("the secret is in what is said: %+v %s", e, out)
	}
	g.noQuarantine()
	return err == nil
}

// makeArchives writes what no tool that every machine has would pack.
func makeArchives(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	put := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	text := []byte("k=" + formatSecret + "\n")
	put("s", text)
	zipped := func(name, comment string, flags uint16, data []byte) []byte {
		t.Helper()
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Comment: comment, Method: zip.Deflate, Flags: flags})
		if err == nil {
			_, err = w.Write(data)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	put("s.zip", zipped("a/s", "", 0, text))
	put("nested.zip", zipped("b.zip", "", 0, zipped("s", "", 0, text)))
	put("comment.zip", zipped("s", formatSecret, 0, []byte("x")))
	put("name.zip", zipped(formatSecret, "", 0, []byte("x")))
	whole := zipped("s", "", 0, text)
	put("hidden.zip", append(whole[:bytes.Index(whole, []byte("PK\x01\x02"))], zipped("t", "", 0, []byte("x"))...))
	var raw bytes.Buffer
	f, _ := flate.NewWriter(&raw, 9)
	f.Write(text)
	f.Close()
	put("s.deflate", raw.Bytes())
	b85 := make([]byte, ascii85.MaxEncodedLen(len(text)))
	put("s.b85", b85[:ascii85.Encode(b85, text)])
	put("locked.zip", zipped("s", "", 1, []byte("what nobody can read")))
	var packed, pdf bytes.Buffer
	z, _ := zstd.NewWriter(&packed)
	z.Write(text)
	z.Close()
	put("s.zst", packed.Bytes())
	pdf.WriteString("%PDF-1.4\n1 0 obj << /Filter /FlateDecode >>\nstream\n")
	d := zlib.NewWriter(&pdf)
	d.Write(text)
	d.Close()
	pdf.WriteString("\nendstream\n")
	put("s.pdf", pdf.Bytes())
	return dir
}

func TestABombIsRefused(t *testing.T) {
	t.Parallel()
	g := startGate(t, defaultGate())
	c := newClient(t, g.url+"/origin.git")
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	w := tar.NewWriter(z)
	const size = 200 << 20
	if err := w.WriteHeader(&tar.Header{Name: "zeros", Size: size, Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); packed.Len() >= 0; {
		if n, err := w.Write(block); err != nil || n < len(block) {
			break
		}
	}
	z.Close()
	c.commit("bomb.tgz", packed.String())
	out, err := c.try("push", "origin", "main")
	wantRefused(t, out, err, "bomb.tgz", ruleUnscannable)
}
