package manifest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"bottle/pkg/tokenref"
)

// ShortSecret is the length in bytes below which a value is not looked for in
// what leaves a bottle: it would be found everywhere.
const ShortSecret = 12

// Values are what the references of a manifest came to. They are for memory and
// for pipes only.
type Values struct {
	Env         map[string]string // secret variables of the agent's session
	Credentials map[string]string // by policy.Auth.Credential
	Git         map[string]string // keys and tokens of the git gate alone, by their reference's name
	KnownHosts  map[string]string // lines, by the remote's name
	Warnings    []string          // one line each, without a value
}

// Resolve looks up all references of a manifest, each once. The first that
// cannot be resolved is an error that names it and where it stands.
func Resolve(ctx context.Context, m Manifest, r tokenref.Resolver) (Values, error) {
	v := Values{Env: map[string]string{}, Credentials: map[string]string{}}
	known := map[string]string{}
	get := func(where, whose string, ref tokenref.Ref) (string, error) {
		if value, done := known[ref.Name()]; done {
			return value, nil
		}
		value, err := r.Resolve(ctx, ref)
		if err != nil {
			return "", fmt.Errorf("%s: %s: %w", where, whose, err)
		}
		if len(value) < ShortSecret {
			v.Warnings = append(v.Warnings, fmt.Sprintf("%s: what is behind %s is shorter than %d bytes: nobody looks for it in what leaves the bottle",
				where, ref, ShortSecret))
		}
		known[ref.Name()] = value
		return value, nil
	}
	for _, e := range m.Env {
		if !e.Secret() {
			continue
		}
		value, err := get(e.Where, e.Name, e.From)
		if err == nil && len(e.Hosts) > 0 {
			err = checkHeaderValue(e.Where, e.From, value)
		}
		if err != nil {
			return Values{}, err
		}
		v.Env[e.Name] = value
	}
	credential := func(where, whose, name string, ref tokenref.Ref) error {
		value, err := get(where, whose, ref)
		if err == nil {
			err = checkHeaderValue(where, ref, value)
		}
		v.Credentials[name] = value
		return err
	}
	for _, route := range m.Routes {
		if !route.Auth.Set() {
			continue
		}
		if err := credential(route.Where, "the route to "+route.Host, route.Auth.Credential, route.Ref); err != nil {
			return Values{}, err
		}
	}
	for _, c := range m.Credentials {
		if err := credential(c.Where, "credential "+c.Auth.Credential, c.Auth.Credential, c.Ref); err != nil {
			return Values{}, err
		}
	}
	for _, remote := range m.Git.Remotes {
		if err := v.addRemote(ctx, remote, r, get); err != nil {
			return Values{}, err
		}
	}
	return v, nil
}

// checkHeaderValue refuses a value that would end the header it goes into, or
// that no header can carry.
func checkHeaderValue(where string, ref tokenref.Ref, value string) error {
	bad := strings.IndexFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f })
	switch {
	case bad >= 0:
		return fmt.Errorf("%s: what is behind %s cannot go into a header: its character %d is a line end, a control character or not ASCII",
			where, ref, bad+1)
	case strings.TrimSpace(value) != value:
		return fmt.Errorf("%s: what is behind %s begins or ends with a space, which a header loses", where, ref)
	}
	return nil
}

// Only returns m with those references alone whose values have one of these
// names, to resolve no others.
func Only(m Manifest, names []string) Manifest {
	m.Env = slices.DeleteFunc(slices.Clone(m.Env), func(v EnvVar) bool { return v.Secret() && !slices.Contains(names, v.From.Name()) })
	m.Routes = slices.DeleteFunc(slices.Clone(m.Routes), func(r Route) bool { return r.Auth.Set() && !slices.Contains(names, r.Auth.Credential) })
	m.Credentials = slices.DeleteFunc(slices.Clone(m.Credentials), func(c Credential) bool { return !slices.Contains(names, c.Auth.Credential) })
	m.Git.Remotes = slices.DeleteFunc(slices.Clone(m.Git.Remotes), func(r Remote) bool {
		return !slices.Contains(names, r.Identity.Name()) && !slices.Contains(names, r.Token.Name())
	})
	for i := range m.Git.Remotes {
		m.Git.Remotes[i].Known = tokenref.Ref{} // it is no value, and was told at the start
	}
	return m
}

// ByName are all values under the names that a policy and the git gate have for
// them.
func (v Values) ByName(m Manifest) map[string]string {
	all := map[string]string{}
	maps.Copy(all, v.Credentials)
	maps.Copy(all, v.Git)
	for _, e := range m.Env {
		if value := v.Env[e.Name]; e.Secret() && value != "" {
			all[e.From.Name()] = value
		}
	}
	return all
}
