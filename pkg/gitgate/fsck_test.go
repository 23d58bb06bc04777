package gitgate

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// literally writes an object into a repository, whatever it is.
func (c *client) literally(kind, text string) string {
	c.t.Helper()
	cmd := clientCommand(c.dir, "git", "hash-object", "-w", "--literally", "-t", kind, "--stdin")
	cmd.Stdin = strings.NewReader(text)
	id, err := cmd.Output()
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(string(id))
}

// packed is a pack of these objects alone.
func (c *client) packed(ids ...string) []byte {
	c.t.Helper()
	cmd := clientCommand(c.dir, "git", "pack-objects", "-q", "--stdout")
	cmd.Stdin = strings.NewReader(strings.Join(ids, "\n") + "\n")
	data, err := cmd.Output()
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// item is an entry of a tree.
func item(mode, name, id string) string {
	return mode + " " + name + "\x00" + string(unhex([]byte(id)))
}

// Each of git's own messages that refuses an object refuses it here, or leaves it to
// git.
func TestWhatGitsCheckRefusesIsLeftToGit(t *testing.T) {
	t.Parallel()
	c := newClient(t, "nowhere")
	const who = "A <a@example.com> 1700000000 +0000"
	blob := c.literally("blob", "text")
	tree := c.literally("tree", item("100644", "a", blob))
	head := "tree " + tree + "\n"
	commit := func(text string) []string { return []string{blob, tree, c.literally("commit", text)} }
	by := func(author string) []string {
		return commit(head + "author " + author + "\ncommitter " + who + "\n\nx\n")
	}
	tag := func(text string) []string { return []string{blob, c.literally("tag", text)} }
	names := func(mode, name string) []string {
		return []string{blob, c.literally("tree", item(mode, name, blob))}
	}
	holds := func(name, text string) []string {
		id := c.literally("blob", text)
		return []string{id, c.literally("tree", item("100644", name, id))}
	}
	none := strings.Repeat("0", 40)
	for _, row := range []struct {
		message string
		ids     []string
	}{
		{"nulInHeader", commit(head + "author " + who + "\x00\ncommitter " + who + "\n\nx\n")},
		{"unterminatedHeader", commit(head + "author " + who)},
		{"badDate", by("A <a@example.com> x +0000")},
		{"badDateOverflow", by("A <a@example.com> 18446744073709551616 +0000")},
		{"badEmail", by("A <a@example.com")},
		{"badName", by("A> <a@example.com> 1700000000 +0000")},
		{"missingNameBeforeEmail", by("<a@example.com> 1700000000 +0000")},
		{"missingSpaceBeforeEmail", by("A<a@example.com> 1700000000 +0000")},
		{"invalid commit", commit(head + "parent 12\nauthor " + who + "\ncommitter " + who + "\n\nx\n")},
		{"invalid commit", commit("tree 12\nauthor " + who + "\ncommitter " + who + "\n\nx\n")},
		{"invalid commit", commit("author " + who + "\ncommitter " + who + "\n\nx\n")},
		{"missingAuthor", commit(head + "committer " + who + "\n\nx\n")},
		{"missingCommitter", commit(head + "author " + who + "\n\nx\n")},
		{"multipleAuthors", commit(head + "author " + who + "\nauthor " + who + "\ncommitter " + who + "\n\nx\n")},
		{"nulInCommit", commit(head + "author " + who + "\ncommitter " + who + "\n\nx\x00\n")},
		{"invalid tag", tag("object 12\ntype blob\ntag a\ntagger " + who + "\n\nx\n")},
		{"invalid tag", tag("type blob\ntag a\ntagger " + who + "\n\nx\n")},
		{"invalid tag", tag("object " + blob + "\ntag a\ntagger " + who + "\n\nx\n")},
		{"invalid tag", tag("object " + blob + "\ntype thing\ntag a\ntagger " + who + "\n\nx\n")},
		{"invalid tag", tag("object " + blob + "\ntype blob\ntagger " + who + "\n\nx\n")},
		{"badName", tag("object " + blob + "\ntype blob\ntag a\ntagger A> <a@example.com> 1700000000 +0000\n\nx\n")},
		{"badTree", []string{c.literally("tree", "100644 a\x00abc")}},
		{"duplicateEntries", []string{blob, c.literally("tree", item("100644", "a", blob)+item("100755", "a", blob))}},
		{"duplicateEntries", []string{blob, tree, c.literally("tree", item("100644", "a", blob)+item("100644", "a.", blob)+item("40000", "a", tree))}},
		{"treeNotSorted", []string{blob, c.literally("tree", item("100644", "b", blob)+item("100644", "a", blob))}},
		{"nullSha1", []string{c.literally("tree", item("160000", "a", none))}},
		{"fullPathname", names("100644", "a/b")},
		{"badTree", names("100644", "")},
		{"hasDot", names("100644", ".")},
		{"hasDotdot", names("100644", "..")},
		{"hasDotgit", names("100644", ".GIT")},
		{"hasDotgit", names("100644", "git~1")},
		{"hasDotgit", names("100644", ".g\u200cit")},
		{"hasDotgit", names("100644", `a\.git`)},
		{"gitmodulesSymlink", names("120000", ".gitmodules")},
		{"gitmodulesSymlink", names("120000", `a\gitmod~1`)},
		{"gitmodulesBlob", []string{blob, tree, c.literally("tree", item("40000", ".gitmodules", tree))}},
		{"gitmodulesName", holds(".gitmodules", "[submodule \"..\"]\n\tpath = a\n")},
		{"gitmodulesUrl", holds(".gitmodules", "[submodule \"a\"]\n\turl = -a\n")},
		{"gitmodulesUrl", holds("g~123456", "[submodule \"a\"]\n\turl = -a\n")},
		{"gitmodulesUrl", holds(`a\.gitmodules`, "[submodule \"a\"]\n\turl = -a\n")},
		{"gitmodulesPath", holds(".GITMODULES", "[submodule \"a\"]\n\tpath = -a\n")},
		{"gitmodulesUpdate", holds(".gitmodules ", "[submodule \"a\"]\n\tupdate = !a\n")},
		{"gitmodulesLarge", holds(".gitmodules", strings.Repeat("#\n", 9<<20))},
		{"gitattributesLineLength", holds(".gitattributes", strings.Repeat("a", 3000)+" text\n")},
		{"gitattributesLineLength", holds("GITATT~1", strings.Repeat("b", 3000)+" text\n")},
		{"gitattributesBlob", []string{blob, tree, c.literally("tree", item("40000", ".gitattributes", tree))}},
	} {
		data := c.packed(row.ids...)
		p := intake(t, formatSHA1)
		_, err := indexOf(t.Context(), p, data)
		refused := p.indexPack(t.Context(), bytes.NewReader(data))
		var said *gitError
		if errors.As(refused, &said); said == nil || !strings.Contains(said.said, row.message) {
			t.Errorf("%s: git says %v: %+v", row.message, refused, said)
		}
		if err == nil {
			t.Errorf("%s: it passes", row.message)
		}
	}
}

// Every name that git's check takes for .gitmodules is one here.
func TestNamesThatMeanGitmodules(t *testing.T) {
	t.Parallel()
	c := newClient(t, "nowhere")
	hostile := c.literally("blob", "[submodule \"a\"]\n\turl = -a\n")
	means := func(name string) bool {
		data := c.packed(hostile, c.literally("tree", item("100644", name, hostile)))
		return intake(t, formatSHA1).indexPack(t.Context(), bytes.NewReader(data)) != nil
	}
	for _, name := range []string{".gitmodules", ".GITmodules", ".gitmodules . .", ".gitmodules:$DATA", "gitmod~1", "GITMOD~4 ", "gi7eba~1", "gi7eb~10", "GI7E~123.", "g~123456", "~1234567", "gi7eba~9:x",
		`a\.gitmodules`, `a\gitmod~2`, `.gitmodules:\a`, ".git\u200cmodules", "\ufeff.gitmodules"} {
		if !means(name) {
			t.Errorf("git does not take %q for it", name)
		}
		if !isGitmodules(name) {
			t.Errorf("%q is not taken for it", name)
		}
	}
	for _, name := range []string{"gitmodules", "a.gitmodules", "gi7ebb~1", "g~x", "~", "a~1", "main.go~1", "x~1234567"} {
		if isGitmodules(name) || means(name) {
			t.Errorf("%q is taken for it", name)
		}
	}
}
