package workspace

import (
	"slices"
	"strings"
	"testing"
)

func TestSettingsAreCarriedOnlyInTheirForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		key, value string
		carried    bool
	}{
		{"core.autocrlf", "input", true}, {"core.autocrlf", "inputs", false}, {"core.filemode", "off", true}, {"core.filemode", "", false},
		{"diff.renames", "copies", true}, {"diff.renames", "a b", false}, {"diff.renames", strings.Repeat("a", 21), false},
		{"user.name", "Ada Lovelace", true}, {"user.name", "a\nb", false}, {"user.name", strings.Repeat("ä", 500), true}, {"user.name", strings.Repeat("ä", 501), false},
		{"branch.main.merge", "refs/heads/main", true}, {"branch.a\"b.merge", "refs/heads/main", false}, {"branch.a\\b.merge", "refs/heads/main", false},
		{"core.sshcommand", "sh", false}, {"submodule.x.active", "true", true}, {"submodule.x.active", "2", false},
	} {
		if got := allowed(setting{Key: c.key, Value: c.value}); got != c.carried {
			t.Errorf("%s=%q: carried %v", c.key, c.value, got)
		}
	}
}

func TestRemotesLeadWhereTheyAreSent(t *testing.T) {
	t.Parallel()
	config := []setting{{"user.name", "a"}, {"remote.origin.url", "git@github.com:ada/engine.git"}, {"remote.origin.url", "ssh://b"},
		{"remote.origin.pushurl", "git@github.com:eve/engine.git"}, {"remote.origin.fetch", "+refs/heads/x:refs/remotes/origin/x"},
		{"remote.other.url", "https://other.example/x.git"}}
	got := redirect(config, map[string]string{"origin": "http://git-gate/origin.git", "docs": "http://git-gate/docs.git"})
	want := []setting{{"user.name", "a"}, {"remote.origin.fetch", "+refs/heads/x:refs/remotes/origin/x"}, {"remote.other.url", "https://other.example/x.git"},
		{"remote.docs.url", "http://git-gate/docs.git"}, {"remote.docs.fetch", "+refs/heads/*:refs/remotes/docs/*"}, {"remote.origin.url", "http://git-gate/origin.git"}}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	for _, s := range got {
		if !allowed(s) {
			t.Errorf("%q would be refused inside", s)
		}
	}
}
