package lifecycle

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

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

// discreet writes what programs say without the proxy's password.
func (u *bringUp) discreet() io.Writer {
	_, password, _ := strings.Cut(u.spec.Way.Login, ":")
	if password == "" {
		return u.log
	}
	return masked{u.log, strings.NewReplacer(password, "***", url.PathEscape(password), "***", url.QueryEscape(password), "***",
		strings.TrimPrefix(url.UserPassword("", password).String(), ":"), "***")}
}

type masked struct {
	io.Writer
	mask *strings.Replacer
}

func (m masked) Write(p []byte) (int, error) {
	if _, err := m.mask.WriteString(m.Writer, string(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}
