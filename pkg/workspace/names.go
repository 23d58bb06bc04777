package workspace

import (
	"crypto/sha256"
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// names gives out names of refs: no two alike or in each other's way, also on
// file systems that ignore case.
type names struct {
	taken map[string]string // lower case → object ID
}

// take returns name, or one like it that is free. The same name for the same
// object is one ref.
func (n *names) take(name, oid string) string {
	if n.taken[strings.ToLower(name)] == oid {
		return name
	}
	try := name
	for i := 1; !n.free(try); i++ {
		flat := strings.ReplaceAll(strings.TrimPrefix(name, "refs/heads/"), "/", "-")
		try = fmt.Sprintf("refs/heads/%s-%d", flat, i)
	}
	n.taken[strings.ToLower(try)] = oid
	for dir := strings.ToLower(try); strings.Contains(dir, "/"); {
		dir = dir[:strings.LastIndexByte(dir, '/')]
		if _, ok := n.taken[dir+"/"]; ok {
			break
		}
		n.taken[dir+"/"] = "" // a directory of refs
	}
	return try
}

func (n *names) free(name string) bool {
	name = strings.ToLower(name)
	_, same := n.taken[name]
	_, below := n.taken[name+"/"]
	if same || below {
		return false
	}
	for i, r := range name {
		if r == '/' {
			if _, above := n.taken[name[:i]]; above {
				return false
			}
		}
	}
	return true
}

// inertName writes what could be misread by a terminal, a shell or git as %XX.
// No two names become one.
func inertName(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		plain := strings.ContainsRune("._/+@=#,-", r) || r != utf8.RuneError && (unicode.IsLetter(r) || unicode.IsDigit(r))
		// What git forbids at these places can come from a folder's name.
		if r == '.' && (i == 0 || s[i-1] == '/' || strings.HasPrefix(s[i:], "..") || strings.HasPrefix(s[i:], ".lock") || i+1 == len(s) || s[i+1] == '/') {
			plain = false
		}
		if r == '@' && len(s) == 1 {
			plain = false
		}
		if plain {
			b.WriteString(s[i : i+size])
		} else {
			for _, c := range []byte(s[i : i+size]) {
				fmt.Fprintf(&b, "%%%02X", c)
			}
		}
		i += size
	}
	return shorten(b.String())
}

// isInert says whether s is of the letters that inertName leaves or writes.
func isInert(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("%._/+@=#,-", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	}) < 0
}

// shorten keeps a name within what file systems bear.
func shorten(s string) string {
	long := len(s) > 800
	for part := range strings.SplitSeq(s, "/") {
		long = long || len(part) > 200
	}
	if !long {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	flat := strings.ToValidUTF8(strings.ReplaceAll(s, "/", "-")[:100], "")
	return fmt.Sprintf("%s-%x", flat, sum[:8])
}

func isOwn(name string) bool {
	last := name[strings.LastIndexByte(name, '/')+1:]
	return name == "refs/heads/work" || name == "refs/heads/wip" ||
		strings.HasPrefix(name, "refs/heads/sub/") && (last == "work" || last == "wip")
}

func unique(list []ref) []ref {
	seen := map[ref]bool{}
	var out []ref
	for _, f := range list {
		if !seen[f] {
			seen[f] = true
			out = append(out, f)
		}
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
