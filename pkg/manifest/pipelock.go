package manifest

import (
	"fmt"
	"regexp"
	"sync"

	"gopkg.in/yaml.v3"

	"bottle/pkg/policy"
)

// imageRef is what an engine takes as the name of an image, as far as it need be
// known here: no option, no space.
var imageRef = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[a-z0-9][A-Za-z0-9._:/-]{0,254}(@sha256:[0-9a-f]{64})?$`)
})

// readPipelock reads the second scanner. That the key is there turns it on.
func (p *policyFile) readPipelock(f *file, n *yaml.Node) error {
	err := f.mapping(n, `"pipelock"`, map[string]key{
		"image": {read: func(n *yaml.Node) (err error) {
			if p.pipelock.Image, err = f.text(n, `"image"`); err == nil && !imageRef().MatchString(p.pipelock.Image) {
				return f.err(n.Line, "%q is no name of an image", p.pipelock.Image)
			}
			return err
		}},
		"tls_passthrough": {read: func(n *yaml.Node) (err error) {
			p.pipelock.Set = true
			p.pipelock.Passthrough, err = f.words(n, `"tls_passthrough"`, "a host", func(s string) (string, error) {
				host, err := policy.CanonicalHost(s)
				if err != nil {
					return "", fmt.Errorf("%q cannot be passed through: %w", s, err)
				}
				return host, nil
			})
			return err
		}},
	})
	if err == nil && p.pipelock.Image == "" {
		return f.err(n.Line, `"pipelock" needs an "image", such as ghcr.io/luckypipewrench/pipelock:2.3.0`)
	}
	return err
}
