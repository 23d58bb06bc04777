package gitgate

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"unicode"

	"bottle/pkg/bottle"
)

// refAllowed says whether a ref may be pushed: it is named by the operator, or
// below a name of his that ends in a star.
func refAllowed(patterns []string, ref string) bool {
	for _, p := range patterns {
		if prefix, ok := strings.CutSuffix(p, "*"); ok && strings.HasPrefix(ref, prefix) && len(ref) > len(prefix) || p == ref {
			return true
		}
	}
	return false
}

// checkRef says what is wrong with a ref of a push, before anything else is
// known of it; empty: nothing.
func checkRef(push bottle.GatePush, u bottle.PushUpdate) string {
	switch {
	case !validRef(u.Ref):
		return "not a ref"
	case !refAllowed(push.Refs, u.Ref):
		return "ref not allowed: " + strings.Join(push.Refs, " ")
	case isZero(u.New):
		return "deletion prohibited"
	case strings.HasPrefix(u.Ref, "refs/tags/") && !isZero(u.Old):
		return "already exists"
	}
	return ""
}

func isZero(id string) bool { return strings.Trim(id, "0") == "" }

func isID(s string) bool {
	return (len(s) == 40 || len(s) == 64) && strings.Trim(s, "0123456789abcdef") == ""
}

// validRef is git's rule for the names of refs, and a stricter one: heads and
// tags are printable.
func validRef(name string) bool {
	if !strings.HasPrefix(name, "refs/") || strings.HasSuffix(name, ".") || strings.HasSuffix(name, "/") || len(name) > 500 ||
		strings.Contains(name, "..") || strings.Contains(name, "@{") || strings.ContainsAny(name, " ~^:?*[\\") {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || strings.HasPrefix(part, ".") || strings.HasPrefix(part, "-") || strings.HasSuffix(part, ".lock") {
			return false
		}
	}
	return strings.Count(name, "/") >= 2 && name == inert(name)
}

// isGitmodules says whether a file's name means .gitmodules on some system: git
// runs nothing it names, but reads where submodules are from it.
func isGitmodules(name string) bool {
	name = strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	return slices.ContainsFunc(strings.Split(name, `\`), func(part string) bool {
		part, _, _ = strings.Cut(part, ":")
		part = strings.TrimRight(part, " .")
		return part == ".gitmodules" || strings.HasPrefix(part, "gitmod~") || strings.HasPrefix(part, "gi7eba~") || isShort(part)
	})
}

// isShort says whether a name is .gitmodules as Windows shortens it where many
// begin alike.
func isShort(name string) bool {
	begin, number, cut := strings.Cut(name, "~")
	return cut && len(name) == 8 && strings.HasPrefix("gi7eba", begin) && number != "" && strings.Trim(number, "0123456789") == ""
}

// checkGitmodules says what is wrong with a .gitmodules, as git config -z --list
// prints it; empty: nothing.
func checkGitmodules(list string) string {
	for rec := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
		key, value, _ := strings.Cut(rec, "\n")
		i := strings.LastIndexByte(key, '.')
		if i < 0 || !strings.HasPrefix(key, "submodule.") {
			continue
		}
		switch last := key[i+1:]; {
		case last == "url" && !plainURL(value):
			return "the url of a submodule is of a kind that may run programs or read files"
		case last == "path" && !plainPath(value):
			return "the path of a submodule leads out of the repository"
		case last == "update" && (strings.HasPrefix(value, "!") || strings.HasPrefix(value, "-")):
			return "the update of a submodule is a command"
		case value != "" && value[0] == '-':
			return "a value of a submodule begins with a dash"
		}
	}
	return ""
}

// plainURL says whether a submodule's URL is that of a web or ssh server, or
// relative to the repository's own.
func plainURL(s string) bool {
	if s == "" || s[0] == '-' || strings.Contains(s, "::") || strings.IndexFunc(s, unicode.IsControl) >= 0 || strings.Contains(s, "%0a") || strings.Contains(s, "%0A") {
		return false
	}
	if strings.HasPrefix(s, "./") || strings.HasPrefix(s, "../") {
		return true
	}
	if scheme, rest, ok := strings.Cut(s, "://"); ok {
		u, err := url.Parse(s)
		return err == nil && u.Host != "" && !strings.HasPrefix(rest, "-") && !strings.HasPrefix(u.Hostname(), "-") &&
			(scheme == "https" || scheme == "http" || scheme == "ssh" || scheme == "git")
	}
	host, path, ok := strings.Cut(s, ":") // user@host:path
	return ok && path != "" && host != "" && !strings.Contains(host, "/") && path[0] != '-' && !strings.Contains(host, "@-")
}

func plainPath(s string) bool {
	if s == "" || s[0] == '-' || s[0] == '/' {
		return false
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == ".." || strings.EqualFold(part, ".git") {
			return false
		}
	}
	return true
}

// describe is where a finding stands, for people.
func (f *found) describe() string {
	return fmt.Sprintf("%s in %s: %s", f.where, short(f.commit), f.rule)
}
