package operator

import (
	"context"
	"errors"
	"os"

	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/proxy"
	"bottle/pkg/tokenref"
)

// Way resolves how bottles reach the outside.
func Way(ctx context.Context, m *lifecycle.Manager, look tokenref.Resolver) (lifecycle.Way, error) {
	p, err := proxy.From(proxy.Config(m.Home.Config.Proxy), os.LookupEnv)
	switch {
	case errors.Is(err, proxy.ErrLoopback):
		return lifecycle.Way{}, cli.Error{Code: cli.Failed, Msg: "cannot use the proxy: " + err.Error(),
			Hint: "let it listen where containers reach it, such as the address of docker0, and name that as upstream_proxy in config.yaml; or say upstream_proxy: none there"}
	case err != nil:
		return lifecycle.Way{}, cli.Error{Code: cli.Failed, Msg: "cannot use the proxy: " + err.Error(),
			Hint: "name one as upstream_proxy in config.yaml, or say upstream_proxy: none there"}
	case p == nil: // programs of this machine go by the environment all the same
		return lifecycle.Way{Hide: proxy.Secrets("", os.LookupEnv)}, nil
	}
	login, err := p.Resolve(ctx, look)
	if err != nil {
		return lifecycle.Way{}, err
	}
	return lifecycle.Way{Proxy: &p.Proxy, Login: login, Env: p.Environment(login), Hide: proxy.Secrets(login, os.LookupEnv)}, nil
}
