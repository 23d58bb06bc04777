package docker

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/filters"

	"bottle/pkg/engine"
)

// summary is what bottle wants to know of a container in a listing. The labels are
// pkg/plan's; a test holds them to it.
type summary struct {
	Names         []string
	State, Status string
	Created       int64
	Labels        struct {
		Slug    string `json:"bottle.slug"`
		Service string `json:"com.docker.compose.service"`
		Planned string `json:"bottle.networks"`
	}
	NetworkSettings struct {
		Networks map[string]struct{ IPAddress string }
	}
}

// List implements engine.Engine.
func (e *Engine) List(ctx context.Context, home string) ([]engine.Container, error) {
	var found []summary
	err := e.prompt(ctx, func(ctx context.Context) (err error) {
		found, err = e.summaries(ctx, home)
		return err
	})
	if err != nil {
		return nil, wrap("list containers", err)
	}
	list := make([]engine.Container, 0, len(found))
	for _, c := range found {
		list = append(list, c.container())
	}
	return list, nil
}

// summaries asks in no version, since the newest engines refuse old ones: the
// engine then answers by its own.
func (e *Engine) summaries(ctx context.Context, home string) ([]summary, error) {
	filter, err := filters.ToJSON(ofHome(home))
	if err != nil {
		return nil, err
	}
	var found []summary
	err = e.get(ctx, "/containers/json?all=1&filters="+url.QueryEscape(filter), func(r io.Reader) (err error) {
		found, err = summariesIn(r)
		return err
	})
	return found, err
}

// get hands what the engine answers to read. It is for the questions that are
// asked all day, whose answers have not changed since 1.41: the engine's own client
// agrees on an API version first, which takes a round trip, and decodes everything.
func (e *Engine) get(ctx context.Context, path string, read func(io.Reader) error) error {
	err := e.exchange(ctx, path, read)
	if err != nil && ctx.Err() != nil {
		return ctx.Err() // and not that of the connection, which ended for it
	}
	return err
}

// exchange is one question on a connection of its own: what keeps one for the next
// takes two goroutines and longer to start.
func (e *Engine) exchange(ctx context.Context, path string, read func(io.Reader) error) error {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", e.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	q, err := http.NewRequest(http.MethodGet, "http://engine"+path, nil)
	if err != nil {
		return err
	}
	q.Close = true
	if err := q.Write(conn); err != nil {
		return err
	}
	r, err := http.ReadResponse(bufio.NewReaderSize(conn, 64<<10), q)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	switch r.StatusCode {
	case http.StatusOK:
		return read(r.Body)
	case http.StatusNotFound:
		return errdefs.ErrNotFound
	}
	said, _ := io.ReadAll(io.LimitReader(r.Body, 1<<10))
	return fmt.Errorf("the engine answers %s: %s", r.Status, said)
}

// summariesIn reads one after the other, as they arrive: the whole would be held
// several times over while it is read.
func summariesIn(r io.Reader) (found []summary, err error) {
	d := json.NewDecoder(r)
	if _, err := d.Token(); err != nil {
		return nil, err
	}
	for d.More() {
		var s summary
		if err := d.Decode(&s); err != nil {
			return nil, err
		}
		found = append(found, s)
	}
	_, err = d.Token()
	return found, err
}

func (c summary) container() engine.Container {
	out := engine.Container{Slug: c.Labels.Slug, Service: c.Labels.Service, State: c.State, Status: c.Status, Created: unix(c.Created)}
	if len(c.Names) > 0 {
		out.Name = strings.TrimPrefix(c.Names[0], "/")
	}
	for name, n := range c.NetworkSettings.Networks {
		out.Networks = append(out.Networks, name)
		if ip, err := netip.ParseAddr(n.IPAddress); err == nil {
			out.IPs = append(out.IPs, ip)
		}
	}
	slices.Sort(out.Networks)
	if c.Labels.Planned != "" {
		out.Planned = strings.Split(c.Labels.Planned, ",")
	}
	return out
}
