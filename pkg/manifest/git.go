package manifest

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
	"bottle/pkg/tokenref"
)

// Git is what a bottle's git reaches through its gate, and what it may push.
type Git struct {
	Remotes []Remote // in the order of the file
	Push    Push
}

// Remote is a repository that the gate has under a name.
type Remote struct {
	Name     string
	Upstream string       // ssh://[user@]host[:port]/path or https://[user@]host[:port]/path; empty: the gate keeps what is pushed
	Identity tokenref.Ref // the ssh key
	Known    tokenref.Ref // the file of known host keys
	Token    tokenref.Ref
	Refresh  time.Duration // how old the token may become; 0: it does not age
	Private  bool          // the upstream may have a private address
	Where    string        // file:line, for errors
	written  string        // the upstream as the manifest has it
}

// Push is what may be pushed.
type Push struct {
	Refs            []string // whole names; a * at the end stands for anything
	RequireApproval bool
	MaxSize         int64 // bytes
}

// Bounds of a manifest's remotes.
const (
	maxRemotes     = 32
	defaultMaxPush = 256 << 20
	defaultKnown   = "file:~/.ssh/known_hosts"
)

var defaultRefs = []string{"refs/heads/*", "refs/tags/*"}

// DefaultRemote is the one that a repository has whose manifest names none.
const DefaultRemote = "origin"

// Kept is a remote that has no upstream.
func Kept(name string) Remote { return Remote{Name: name} }

// Addresses are the ways in which the upstream may be written elsewhere, each
// of which means this remote.
func (r *Remote) Addresses() []string {
	u, err := url.Parse(r.Upstream)
	if err != nil || r.Upstream == "" {
		return nil
	}
	path := strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), ".git") + ".git"
	list := []string{r.Upstream, u.Scheme + "://" + u.Host + path}
	if r.written != "" {
		list = append(list, r.written)
	}
	if user := u.User.String(); user != "" {
		list = append(list, u.Scheme+"://"+user+"@"+u.Host+path)
	}
	if u.Port() == "" { // many servers have a repository under both
		user := u.User.Username()
		if user == "" || u.Scheme == "https" {
			user = "git"
		}
		list = append(list, user+"@"+u.Host+":"+path[1:], "ssh://"+user+"@"+u.Host+path, "https://"+u.Host+path)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

func (p *policyFile) readGit(f *file, n *yaml.Node) error {
	return f.mapping(n, `"git"`, map[string]key{
		"remotes": {read: func(n *yaml.Node) error { return p.readRemotes(f, n) }},
		"push":    {read: func(n *yaml.Node) error { return p.readPush(f, n) }},
	})
}

// remoteName is what may stand in an address, in a file's name and in a ref.
var remoteName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9](?:[._-]?[A-Za-z0-9])*$`) })

func checkRemoteName(s string) error {
	if !remoteName().MatchString(s) || len(s) > 64 || strings.HasSuffix(s, ".git") || strings.HasSuffix(s, ".lock") {
		return fmt.Errorf("%q is not a remote's name: letters and digits, and single . _ - between them, at most 64", s)
	}
	return nil
}

func (p *policyFile) readRemotes(f *file, n *yaml.Node) error {
	return f.pairs(n, `"remotes"`, func(k, value *yaml.Node) error {
		if err := checkRemoteName(k.Value); err != nil {
			return f.err(k.Line, "%v", err)
		}
		if len(p.git.Remotes) == maxRemotes {
			return f.err(k.Line, "there are more than %d remotes", maxRemotes)
		}
		// A disk that takes no heed of case would have one file for both.
		if slices.ContainsFunc(p.git.Remotes, func(r Remote) bool { return strings.EqualFold(r.Name, k.Value) }) {
			return f.err(k.Line, "there is a remote of the name %q already", k.Value)
		}
		r, err := f.remote(k.Value, value)
		if err != nil {
			return err
		}
		p.git.Remotes = append(p.git.Remotes, r)
		return nil
	})
}

func (f *file) remote(name string, n *yaml.Node) (Remote, error) {
	r := Remote{Name: name, Where: fmt.Sprintf("%s:%d", f.name, n.Line)}
	what := "the remote " + name
	if n.Kind != yaml.MappingNode {
		return r, f.wrong(n, what, "keys and values ({} where the gate keeps what is pushed)")
	}
	wrote := map[string]int{}
	keys := map[string]key{}
	put := func(name string, read func(*yaml.Node) error) {
		keys[name] = key{read: func(n *yaml.Node) error {
			wrote[name] = n.Line
			return read(n)
		}}
	}
	put("upstream", func(n *yaml.Node) (err error) {
		if r.written, err = f.text(n, `"upstream"`); err != nil {
			return err
		}
		if r.Upstream, err = parseUpstream(r.written); err != nil {
			return f.err(n.Line, "%v", err)
		}
		return nil
	})
	put("identity_file", func(n *yaml.Node) (err error) { r.Identity, err = f.path(n, `"identity_file"`); return err })
	put("known_hosts", func(n *yaml.Node) (err error) { r.Known, err = f.path(n, `"known_hosts"`); return err })
	put("token_ref", func(n *yaml.Node) (err error) { r.Token, err = f.ref(n, `"token_ref"`); return err })
	put("refresh", func(n *yaml.Node) error { return checked(f, n, `"refresh"`, &r.Refresh, policy.ParseRefresh) })
	put("private", func(n *yaml.Node) (err error) { r.Private, err = f.truth(n, `"private"`); return err })
	if err := f.mapping(n, what, keys); err != nil {
		return r, err
	}
	scheme, _, _ := strings.Cut(r.Upstream, ":")
	for _, rule := range []struct {
		key    string
		scheme []string
		why    string
	}{
		{"identity_file", []string{"ssh"}, "a key is for an upstream by ssh"},
		{"known_hosts", []string{"ssh"}, "host keys are for an upstream by ssh"},
		{"token_ref", []string{"https"}, "a token is for an upstream by https"},
		{"refresh", []string{"https"}, "it is said of a token"},
		{"private", []string{"ssh", "https"}, "it is said of an upstream"},
	} {
		if line, there := wrote[rule.key]; there && !slices.Contains(rule.scheme, scheme) {
			return r, f.err(line, "%s has %q, and %s", what, rule.key, rule.why)
		}
	}
	if line, there := wrote["refresh"]; there && !r.Token.Set() {
		return r, f.err(line, `%s has "refresh", and no "token_ref" that it is said of`, what)
	}
	if scheme == "ssh" && !r.Identity.Set() {
		return r, f.err(n.Line, `%s needs an "identity_file": the gate has no other key`, what)
	}
	if scheme == "ssh" && !r.Known.Set() {
		var err error
		if r.Known, err = tokenref.Parse(defaultKnown); err != nil {
			return r, err
		}
	}
	return r, nil
}

// path reads the path of a file of the operator's.
func (f *file) path(n *yaml.Node, what string) (tokenref.Ref, error) {
	word, err := f.text(n, what)
	if err != nil {
		return tokenref.Ref{}, err
	}
	r, err := tokenref.Parse("file:" + word)
	if err != nil {
		return r, f.err(n.Line, "%s: %q must be an absolute path, or begin with ~/", what, word)
	}
	return r, nil
}

// parseUpstream reads an address as git takes it and returns it as a URL.
func parseUpstream(s string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", fmt.Errorf("the upstream %q %s", userInfo().ReplaceAllString(s, "://…@"), why)
	}
	if len(s) > 1000 || strings.IndexFunc(s, func(r rune) bool {
		return strings.ContainsRune(" \"\\'", r) || !unicode.IsPrint(r) || r > unicode.MaxASCII
	}) >= 0 {
		return refuse("holds what no address holds, or is too long")
	}
	text := s
	if !strings.Contains(s, "://") {
		host, path, ok := strings.Cut(s, ":")
		if !ok || strings.Contains(host, "/") || strings.HasPrefix(path, ":") {
			return refuse("must be ssh://, https:// or user@host:path")
		}
		text = "ssh://" + host + "/" + strings.TrimPrefix(path, "/")
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return refuse("is no URL")
	case u.Scheme != "ssh" && u.Scheme != "https":
		return refuse("must be ssh://, https:// or user@host:path")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.RawPath != "":
		return refuse("may have a path, and nothing escaped in it or behind it")
	case strings.Trim(u.Path, "/") == "" || strings.Contains(u.Path+"/", "/../") || strings.HasPrefix(u.Path, "/-"):
		return refuse("names no repository")
	}
	if u.Host == "" {
		return refuse("names no host")
	}
	if err := checkAuthority(u); err != nil {
		return refuse(err.Error())
	}
	u.Path = "/" + strings.TrimLeft(u.Path, "/")
	return u.String(), nil
}

// userInfo is where an address may hold a secret.
var userInfo = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`://[^/]*@`) })

// tokenAsUser is what git servers take for a user's name though it is a token: by how
// theirs begin, and longer than a name is. The agent's git is told of addresses.
var tokenAsUser = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:gh[a-z]_|github_pat_|gl[a-z]*-|ATBB|ATCT)[A-Za-z0-9_=.-]{16}|^.{40}`)
})

// checkAuthority checks who is asked, and makes the host canonical.
func checkAuthority(u *url.URL) error {
	if _, has := u.User.Password(); has {
		return errors.New(`holds a password: write "token_ref"`)
	}
	if tokenAsUser().MatchString(u.User.Username()) {
		return errors.New(`holds what looks like a token: write "token_ref"`)
	}
	if user := u.User.Username(); strings.HasPrefix(user, "-") || strings.ContainsAny(user, "%:/@") {
		return errors.New("has a user's name that no server has")
	}
	host, err := policy.RouteHost(u.Hostname())
	if errors.Is(err, policy.ErrAddress) {
		if a, err := netip.ParseAddr(u.Hostname()); err == nil && a.Is4() {
			host = a.String()
		}
	}
	if host == "" || strings.Contains(host, "*") {
		return errors.New("names no host")
	}
	p := u.Port()
	if u.Host = host; p != "" {
		u.Host += ":" + p
		if _, err := policy.ParsePort(p); err != nil {
			return fmt.Errorf("has a wrong port: %w", err)
		}
	}
	return nil
}

func (p *policyFile) readPush(f *file, n *yaml.Node) error {
	push := &p.git.Push
	return f.mapping(n, `"push"`, map[string]key{
		"refs": {read: func(n *yaml.Node) error {
			refs, err := f.words(n, `"refs"`, "a ref", func(s string) (string, error) { return s, checkRefPattern(s) })
			if err == nil && len(refs) == 0 {
				err = f.err(n.Line, `"refs" is empty: then nothing could be pushed`)
			}
			push.Refs = refs
			return err
		}},
		"require_approval": {read: func(n *yaml.Node) (err error) {
			push.RequireApproval, err = f.truth(n, `"require_approval"`)
			return err
		}},
		"max_size": {read: func(n *yaml.Node) error { return checked(f, n, `"max_size"`, &push.MaxSize, policy.ParseSize) }},
	})
}

// checkRefPattern takes branches and tags: everything else is a server's own.
func checkRefPattern(s string) error {
	name, _ := strings.CutSuffix(s, "*")
	below := strings.HasPrefix(name, "refs/heads/") || strings.HasPrefix(name, "refs/tags/")
	if !below || strings.ContainsAny(name, " *?[\\~^:") || strings.Contains(name, "..") || strings.IndexFunc(name, unicode.IsControl) >= 0 ||
		name == s && strings.HasSuffix(name, "/") {
		return fmt.Errorf("%q is not a ref that may be pushed: refs/heads/… or refs/tags/…, with one * at the end at most", s)
	}
	return nil
}
