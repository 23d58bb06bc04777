package workspace

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// marked carries a folder over and returns the copy and the commit it is at.
func marked(t *testing.T, dir string) (inside, start string) {
	t.Helper()
	var stream bytes.Buffer
	if _, err := Pack(testContext(t), dir, &stream, Options{}); err != nil {
		t.Fatal(err)
	}
	inside = t.TempDir()
	start, err := UnpackMarked(testContext(t), &stream, inside)
	if err != nil || !isOID(start) {
		t.Fatalf("%q, %v", start, err)
	}
	return inside, start
}

// difference captures what an agent did and returns how it differs from start,
// the branches, and what was warned of on either side.
func difference(t *testing.T, inside, start string) (diff string, branches []string, warned string) {
	t.Helper()
	var bundle, out bytes.Buffer
	var said []string
	l := Limits{Temp: t.TempDir(), Start: start, Warn: func(s string) { said = append(said, s) }}
	if err := Capture(testContext(t), inside, &bundle, l); err != nil {
		t.Fatal(err)
	}
	l.Diff = &out
	branches, err := Check(testContext(t), &bundle, l)
	if err != nil {
		t.Fatal(err)
	}
	return out.String(), branches, strings.Join(said, "\n")
}

func TestTheDifferenceIsFromTheFolderAsItWasUncommittedFilesIncluded(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	write(t, dir, "a", "changed before\n")
	write(t, dir, "new", "new before\n")
	if err := os.Remove(filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "noise.log", "ignored\n")
	inside, start := marked(t, dir)
	sameStatus(t, dir, inside)
	if diff, branches, warned := difference(t, inside, start); diff != "" || !slices.Contains(branches, "start") || warned != "" {
		t.Errorf("where nothing was done it differs: %s %q %s", diff, branches, warned)
	}
	write(t, inside, "c", "the agent's\n")
	run(t, inside, "commit", "-qam", "work")
	write(t, inside, "new", "new before\nand after\n")
	diff, _, warned := difference(t, inside, start)
	for _, want := range []string{"diff --git a/c b/c", "+the agent's", "diff --git a/new b/new", "+and after"} {
		if !strings.Contains(diff, want) {
			t.Errorf("it does not say %q: %s", want, diff)
		}
	}
	for _, not := range []string{"a/a", "a/b", "+new before", "noise"} {
		if strings.Contains(diff, not) {
			t.Errorf("it says %q, of before the start", not)
		}
	}
	if warned != "" {
		t.Errorf("warned: %s", warned)
	}
	// What it says can be done again.
	again := filepath.Join(t.TempDir(), "again")
	run(t, ".", "clone", "-q", inside, again)
	run(t, again, "checkout", "-q", start)
	write(t, again, "../work.diff", diff)
	run(t, again, "apply", "../work.diff")
	if read(t, again, "new") != "new before\nand after\n" || read(t, again, "c") != "the agent's\n" {
		t.Error("applied to the start it is not the work")
	}
}

func TestACleanFolderBeginsWithItsHead(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	if _, start := marked(t, dir); start != run(t, dir, "rev-parse", "HEAD") {
		t.Errorf("it begins with %s", start)
	}
}

func TestAFolderThatIsNoRepositoryAndAnEmptyOneHaveAStartToo(t *testing.T) {
	t.Parallel()
	plain, empty := t.TempDir(), t.TempDir()
	write(t, plain, "file", "before\n")
	run(t, empty, "init", "-q")
	for _, dir := range []string{plain, empty} {
		inside, start := marked(t, dir)
		write(t, inside, "file2", "after\n")
		if diff, _, warned := difference(t, inside, start); !strings.Contains(diff, "+after") || strings.Contains(diff, "before") || warned != "" {
			t.Errorf("%s %s", diff, warned)
		}
	}
	made := t.TempDir()
	write(t, made, "file", "all of it\n")
	if diff, branches, _ := difference(t, made, ""); !strings.Contains(diff, "+all of it") || slices.Contains(branches, "start") {
		t.Errorf("what began with nothing differs by %s, %q", diff, branches)
	}
}

func TestRepositoriesInsideAreNoDifference(t *testing.T) {
	t.Parallel()
	dir := newRepo(t)
	other := newRepo(t)
	run(t, dir, "submodule", "-q", "add", other, "sub")
	run(t, dir, "commit", "-qm", "with a submodule")
	run(t, dir, "init", "-q", "nested")
	write(t, dir, "nested/file", "nested\n")
	run(t, dir+"/nested", "add", ".")
	run(t, dir+"/nested", "commit", "-qm", "nested")
	inside, start := marked(t, dir)
	if diff, _, warned := difference(t, inside, start); diff != "" || warned != "" {
		t.Errorf("%s %s", diff, warned)
	}
}

// An agent can lose what the work began with; it cannot put something else in its
// place, and what it plants runs nowhere and reads nothing.
func TestAnAgentCannotForgeTheStartNorPlantAnythingInTheDifference(t *testing.T) {
	t.Parallel()
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, filepath.Dir(secret), "secret", "the host's secret\n")
	dir := newRepo(t)
	write(t, dir, "a", "dirty\n")
	inside, start := marked(t, dir)
	ran := filepath.Join(t.TempDir(), "ran")
	write(t, inside, ".gitattributes", "* diff=evil\n*.x filter=evil\n")
	run(t, inside, "config", "diff.evil.textconv", "touch "+ran+"; cat")
	run(t, inside, "config", "diff.evil.command", "touch "+ran)
	run(t, inside, "config", "diff.external", "touch "+ran)
	symlink(t, secret, inside, "planted")
	write(t, inside, "c", "work\n")
	run(t, inside, "branch", "start") // in the way
	diff, branches, _ := difference(t, inside, start)
	if _, err := os.Stat(ran); err == nil || strings.Contains(diff, "the host's secret") {
		t.Errorf("something planted was followed: %s", diff)
	}
	if !strings.Contains(diff, "+"+secret) || !strings.Contains(diff, "+work") || !slices.Contains(branches, "start-1") {
		t.Errorf("%s %q", diff, branches)
	}
	// Lost: said, and nothing made up.
	run(t, inside, "update-ref", "refs/heads/start", "HEAD")
	run(t, inside, "-c", "gc.pruneExpire=now", "-c", "gc.reflogExpire=now", "gc", "-q", "--prune=now")
	diff, branches, warned := difference(t, inside, start)
	if diff != "" || !strings.Contains(warned, "what the work began with is gone") || !strings.Contains(warned, "not whole") {
		t.Errorf("%s %q %s", diff, branches, warned)
	}
}
