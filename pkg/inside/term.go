package inside

import (
	"os"
	"path/filepath"
	"regexp"
)

// terminfo is where the image may know terminals. The agent's own directory is
// not among them.
var terminfo = []string{"/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo", "/usr/lib/terminfo"}

var termName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._+-]{0,63}$`)

// knownTerm returns the terminal type where the image knows it, and otherwise
// the fallback.
func knownTerm(term, fallback string) string {
	if !termName.MatchString(term) {
		return fallback
	}
	for _, dir := range terminfo {
		if _, err := os.Stat(filepath.Join(dir, term[:1], term)); err == nil {
			return term
		}
	}
	return fallback
}
