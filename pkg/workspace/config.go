package workspace

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// form says whether a value is of a form. The forms are functions, not regular
// expressions, which every program would compile at its start.
type form func(value string) bool

// carried are the settings that come along, each with what its value may be.
// They are what git status, line ends and a first commit depend on; nothing
// here names a program, a path or a secret.
var carried = map[string]form{
	"core.autocrlf":             oneOf("true", "false", "input"),
	"core.eol":                  oneOf("lf", "crlf", "native"),
	"core.safecrlf":             oneOf("true", "false", "warn"),
	"core.filemode":             boolean,
	"core.symlinks":             boolean,
	"core.quotepath":            boolean,
	"core.sparsecheckout":       boolean,
	"core.sparsecheckoutcone":   boolean,
	"index.sparse":              boolean,
	"status.showuntrackedfiles": oneOf("no", "normal", "all", "true", "false"),
	"status.renames":            word,
	"status.relativepaths":      boolean,
	"diff.renames":              word,
	"diff.ignoresubmodules":     word,
	"merge.conflictstyle":       word,
	"pull.rebase":               word,
	"init.defaultbranch":        text,
	"user.name":                 text,
	"user.email":                text,
}

var boolean = oneOf("true", "false", "yes", "no", "on", "off", "0", "1")

func oneOf(words ...string) form {
	return func(value string) bool { return slices.Contains(words, value) }
}

// word is a short word in lower case.
func word(value string) bool {
	return value != "" && len(value) <= 20 && strings.Trim(value, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// text is a line of up to 500 characters.
func text(value string) bool {
	return value != "" && utf8.RuneCountInString(value) <= 500 && !strings.Contains(value, "\n")
}

// name is text that stands in a section's head as it is.
func name(value string) bool { return text(value) && !strings.ContainsAny(value, "\"\\\x00") }

// carriedOf are the settings that exist once a remote, branch or submodule.
var carriedOf = map[string]form{
	"remote.url":       text,
	"remote.pushurl":   text,
	"remote.fetch":     text,
	"branch.remote":    text,
	"branch.merge":     text,
	"branch.rebase":    word,
	"submodule.url":    text,
	"submodule.active": boolean,
	"submodule.ignore": word,
}

// many may be set more than once; of the others the last counts.
var many = map[string]bool{"remote.fetch": true, "remote.url": true, "remote.pushurl": true}

func splitKey(key string) (section, sub, last string) {
	i, j := strings.IndexByte(key, '.'), strings.LastIndexByte(key, '.')
	if i < 0 {
		return key, "", ""
	}
	if i < j {
		sub = key[i+1 : j]
	}
	return key[:i], sub, key[j+1:]
}

// allowed says whether a setting may be carried, as it stands.
func allowed(s setting) bool {
	if strings.IndexFunc(s.Value, unicode.IsControl) >= 0 {
		return false
	}
	section, sub, last := splitKey(s.Key)
	if sub == "" {
		want := carried[s.Key]
		return want != nil && want(s.Value)
	}
	want := carriedOf[section+"."+last]
	if want == nil || !want(s.Value) || !name(sub) {
		return false
	}
	return keepsNoSecret(sub) && (!addresses[section+"."+last] || keepsNoSecret(s.Value))
}

// addresses are the settings whose value may be a remote's address.
var addresses = map[string]bool{"remote.url": true, "remote.pushurl": true, "submodule.url": true, "branch.remote": true}

// keepsNoSecret says whether an address may be carried as it stands. A name of
// a remote may be an address too, and so may what a branch has for its remote.
func keepsNoSecret(s string) bool {
	clean, ok := cleanURL(s)
	return ok && clean == s
}

// choose picks what is carried from the output of git config -z --list.
// It tells warn of remotes whose address stays behind.
func choose(list []byte, warn func(string)) []setting {
	var out []setting
	at := map[string]int{}
	for _, rec := range zsplit(list) {
		key, value, ok := strings.Cut(rec, "\n")
		if !ok {
			value = "true" // git's meaning of a key alone
		}
		section, sub, last := splitKey(key)
		if sub != "" && addresses[section+"."+last] {
			if value, ok = cleanURL(value); !ok {
				warn("the address of " + section + " " + sub + " stays behind: it is of a kind that may run programs")
				continue
			}
		}
		s := setting{key, value}
		if !allowed(s) {
			continue
		}
		if i, seen := at[key]; seen && !many[section+"."+last] {
			out[i] = s
			continue
		}
		at[key] = len(out)
		out = append(out, s)
	}
	return out
}

// cleanURL strips what may be a credential from a remote's address: a
// password, a web address' user, query and fragment. The user of an ssh
// address stays, since it is no secret and nothing works without it. Remote
// helpers (ext::, foo::) are refused.
func cleanURL(s string) (string, bool) {
	if i := strings.Index(s, "::"); i >= 0 && !strings.ContainsAny(s[:i], "/.@[") {
		return "", false
	}
	if !strings.Contains(s, "://") {
		return s, !strings.HasPrefix(s, "-") // a path, or user@host:path
	}
	u, err := url.Parse(s)
	if err != nil {
		return "", false
	}
	switch {
	case u.Scheme == "ssh" || u.Scheme == "git+ssh" || u.Scheme == "ssh+git":
		if u.User != nil {
			u.User = url.User(u.User.Username())
		}
	default:
		u.User = nil
	}
	u.RawQuery, u.ForceQuery, u.Fragment, u.RawFragment = "", false, "", ""
	return u.String(), true
}

// redirect gives remotes of these names the addresses, and no other for
// pushing; one that is not there yet is added.
func redirect(config []setting, remotes map[string]string) []setting {
	var out []setting
	fetches := map[string]bool{}
	for _, s := range config {
		section, sub, last := splitKey(s.Key)
		_, elsewhere := remotes[sub]
		if section == "remote" && elsewhere && (last == "url" || last == "pushurl") {
			continue
		}
		fetches[sub] = fetches[sub] || section == "remote" && last == "fetch"
		out = append(out, s)
	}
	for _, name := range slices.Sorted(maps.Keys(remotes)) {
		out = append(out, setting{"remote." + name + ".url", remotes[name]})
		if !fetches[name] {
			out = append(out, setting{"remote." + name + ".fetch", "+refs/heads/*:refs/remotes/" + name + "/*"})
		}
	}
	return out
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\t", `\t`)

// render writes settings as a git configuration file.
func render(settings []setting) []byte {
	var b strings.Builder
	for _, s := range settings {
		section, sub, last := splitKey(s.Key)
		b.WriteString("[" + section)
		if sub != "" {
			b.WriteString(` "` + escape.Replace(sub) + `"`)
		}
		b.WriteString("]\n\t" + last + ` = "` + escape.Replace(s.Value) + "\"\n")
	}
	return []byte(b.String())
}
