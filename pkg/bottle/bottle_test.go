package bottle

import (
	"strings"
	"testing"
)

func TestNamesAreSafeInLabelsAndShells(t *testing.T) {
	for _, good := range []string{"a", "0", "dev", "dev-a2b3", "a--b", "a-", strings.Repeat("a", MaxName)} {
		if err := CheckName(good); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{"", "-a", "A", "a_b", "a.b", "a/b", "../a", "a b", "a\n", "a\x00", "ä", strings.Repeat("a", MaxName+1)} {
		if CheckName(bad) == nil || CheckSlug(bad) == nil && len(bad) != MaxName+1 {
			t.Errorf("%q is taken for a name", bad)
		}
	}
}
