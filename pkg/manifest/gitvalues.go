package manifest

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"bottle/pkg/tokenref"
)

// maxKnownHosts bounds a file of known host keys, in bytes.
const maxKnownHosts = 4 << 20

// addRemote resolves what the gate needs for one remote.
func (v *Values) addRemote(ctx context.Context, r Remote, look tokenref.Resolver, get func(where, whose string, ref tokenref.Ref) (string, error)) error {
	whose := "the remote " + r.Name
	if v.Git == nil {
		v.Git, v.KnownHosts = map[string]string{}, map[string]string{}
	}
	for _, secret := range []struct {
		ref   tokenref.Ref
		check func(string) error
	}{
		{r.Identity, checkKey},
		{r.Token, func(value string) error { return checkHeaderValue(r.Where, r.Token, value) }},
	} {
		if !secret.ref.Set() {
			continue
		}
		value, err := get(r.Where, whose, secret.ref)
		if err != nil {
			return err
		}
		if err := secret.check(value); err != nil {
			return fmt.Errorf("%s: %s: %s: %w", r.Where, whose, secret.ref, err)
		}
		v.Git[secret.ref.Name()] = value
	}
	if !r.Known.Set() {
		return nil
	}
	look.Max = maxKnownHosts
	text, err := look.Resolve(ctx, r.Known)
	if err != nil {
		return fmt.Errorf("%s: %s: %w", r.Where, whose, err)
	}
	u, err := url.Parse(r.Upstream)
	if err != nil {
		return err
	}
	if v.KnownHosts[r.Name] = knownTo(text, u.Hostname()); v.KnownHosts[r.Name] == "" {
		return fmt.Errorf("%s: %s: %s has no key of %s: connect there once with ssh, and look at what it shows", r.Where, whose, r.Known, u.Hostname())
	}
	return nil
}

// knownTo are the lines of a known_hosts file that may be of a host: names that
// are hashed, and patterns, may be of any.
func knownTo(text, host string) string {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		f := strings.Fields(line)
		if len(f) > 1 && strings.HasPrefix(f[0], "@") {
			f = f[1:]
		}
		if len(f) < 3 || f[0][0] == '#' {
			continue
		}
		if name := strings.ToLower(f[0]); strings.Contains(name, host) || strings.ContainsAny(name, "*?|") {
			kept.WriteString(line + "\n")
		}
	}
	return kept.String()
}

// errPassphrase is why a key is of no use to the gate, which nobody can ask.
var errPassphrase = errors.New("the key has a passphrase, and nobody could type it for the gate: name a key without one, best of this repository alone (a deploy key)")

// checkKey refuses what is no private ssh key, and one with a passphrase.
func checkKey(value string) error {
	block, _ := pem.Decode([]byte(value + "\n"))
	if block == nil || !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return errors.New("it is no private key of ssh's")
	}
	if strings.HasPrefix(block.Type, "ENCRYPTED") || block.Headers["Proc-Type"] != "" {
		return errPassphrase
	}
	const magic = "openssh-key-v1\x00"
	if after, ok := bytes.CutPrefix(block.Bytes, []byte(magic)); ok && !bytes.HasPrefix(after, []byte("\x00\x00\x00\x04none")) {
		return errPassphrase
	}
	return nil
}
