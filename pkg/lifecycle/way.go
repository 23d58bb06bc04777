package lifecycle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"strings"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/engine"
	"bottle/pkg/plan"
)

// relayURL is where a build's steps find the relay, in its own network.
const relayURL = "http://127.0.0.1:3128"

// relayTime is how long a relay may take to serve.
const relayTime = 20 * time.Second

// openWay starts a relay where what images need is fetched through a company's
// proxy, and has builds go by it, until the returned function is called. What a
// build is told stands in its containers, so that it is not told the proxy's
// login.
func (u *bringUp) openWay(ctx context.Context) (end func(), err error) {
	way := u.spec.Way
	if way.Proxy == nil {
		return func() {}, nil
	}
	if err := u.build(ctx, u.images.sidecar); err != nil { // the relay runs in it
		return nil, err
	}
	c := plan.Relay(u.bottle.Slug, plan.Host{Home: u.Home.ID, StateDir: u.bottle.StateDir, OwnerUID: os.Getuid(), OwnerGID: os.Getgid(), Sidecar: u.images.sidecar.Tag,
		CPUs: u.host.CPUs, Memory: u.host.Memory, IPv6: kernelHasIPv6()}, *way.Proxy)
	clearing := context.WithoutCancel(ctx)
	end = func() { u.Engine.Remove(clearing, c.Name) }
	err = whole(ctx, func(ctx context.Context) error {
		if err := u.Engine.Remove(ctx, c.Name); err != nil { // of an earlier try
			return err
		}
		return u.Engine.Create(ctx, c)
	})
	if err != nil {
		return nil, err
	}
	heard, says := io.Pipe()
	said := &bounded{w: io.Discard, left: 1 << 16}
	relay, err := u.attach(clearing, c.Name, says, said)
	if err == nil {
		err = greet(ctx, relay, heard, way.Login)
	}
	if err != nil {
		end()
		return nil, fmt.Errorf("cannot lead the making of images through the proxy: %w", err)
	}
	go io.Copy(io.Discard, heard)
	u.way = engine.BuildWay{Container: c.Name, Env: map[string]string{}}
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY"} {
		u.way.Env[name], u.way.Env[strings.ToLower(name)] = relayURL, relayURL
	}
	return end, nil
}

// greet hands the relay its login, and waits until it serves.
func greet(ctx context.Context, relay attached, heard io.Reader, login string) error {
	if _, err := io.WriteString(relay.say, login+"\n"); err != nil {
		return err
	}
	ready := make(chan error, 1)
	go func() {
		_, err := bufio.NewReader(heard).ReadString('\n')
		ready <- err
	}()
	select {
	case err := <-ready:
		if err != nil {
			return errors.New("its relay ended")
		}
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(relayTime):
		return errors.New("its relay does not answer")
	}
}

// ErrOtherProxy is wrapped by the error for the login of a proxy that is not the
// bottle's.
var ErrOtherProxy = errors.New("a login is for its own proxy alone")

// CheckLogin says whether all sidecars of a bottle that log in at a proxy do so at
// this one: they were told of theirs when they started, and what names one for the
// next bottle may have changed.
func (m *Manager) CheckLogin(slug string, at bottle.Proxy) error {
	for _, service := range takers {
		doc, err := m.hostOf(slug, service)
		switch {
		case errors.Is(err, fs.ErrNotExist): // there is no such sidecar
		case err != nil:
			return err
		case logsIn(doc) && doc.Proxy.Address != at.Address:
			return fmt.Errorf("%s of %s logs in at %s, and config.yaml or your environment names %s: %w", service, slug, doc.Proxy.Address, at.Address, ErrOtherProxy)
		}
	}
	return nil
}

func logsIn(doc bottle.Host) bool { return doc.Proxy != nil && doc.Proxy.Login != "" }

// ownLogins are what sidecars are handed, of which the login goes to those that log
// in at this proxy: one that ran on may go through another.
func (m *Manager) ownLogins(slug string, at *bottle.Proxy, values map[string]map[string]string) map[string]map[string]string {
	own := map[string]map[string]string{}
	for service, all := range values {
		own[service] = maps.Clone(all)
		if doc, err := m.hostOf(slug, service); err != nil || at == nil || !logsIn(doc) || doc.Proxy.Address != at.Address {
			delete(own[service], bottle.ProxyLogin)
		}
	}
	return own
}

// discreet writes what programs say without the logins of proxies that they know.
func (u *bringUp) discreet() io.Writer {
	if len(u.spec.Way.Hide) == 0 {
		return u.log
	}
	return masked{u.log, u.spec.Way.mask()}
}

func (w Way) mask() *strings.Replacer {
	var pairs []string
	for _, secret := range w.Hide {
		pairs = append(pairs, secret, "***")
	}
	return strings.NewReplacer(pairs...)
}

type masked struct {
	io.Writer
	mask *strings.Replacer
}

func (m masked) Write(p []byte) (int, error) {
	if _, err := io.WriteString(m.Writer, m.mask.Replace(string(p))); err != nil { // one write: the log has a line for each
		return 0, err
	}
	return len(p), nil
}

// discreetly is an error without these logins.
func (u *bringUp) discreetly(err error) error {
	if err == nil || len(u.spec.Way.Hide) == 0 {
		return err
	}
	return maskedError{err, u.spec.Way.mask().Replace(err.Error())}
}

type maskedError struct {
	error
	text string
}

func (e maskedError) Error() string { return e.text }
func (e maskedError) Unwrap() error { return e.error }
