package egress

import (
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"bottle/pkg/bottle"
	"bottle/pkg/policy"
)

// LocalHost is egress itself, as agents may ask it: http://_egress.local. No
// policy can name it, and nothing of it goes upstream.
const LocalHost = "_egress.local"

// allowlistPath is what is in force, as JSON.
const allowlistPath = "/allowlist"

// allowlist is the document there.
type allowlist struct {
	Routes []policy.Row `json:"routes"`
}

func (o origin) local() bool {
	return o.host == LocalHost && o.scheme == policy.HTTP && o.port == policy.DefaultPort(policy.HTTP)
}

// local answers a request to egress itself.
func (c *client) local(ev *bottle.Event, target []byte) bool {
	keep := c.skipBody()
	switch {
	case string(path(target)) != allowlistPath:
		return c.refuse(ev, refuse(404, "there is "+allowlistPath+" here, and nothing else"), keep)
	case c.q.method != "GET" && c.q.method != "HEAD":
		return c.refuse(ev, refuse(405, "only GET and HEAD are for "+allowlistPath), keep)
	}
	open := *c.s.policy.Load()
	open.Grants = slices.DeleteFunc(slices.Clone(open.Grants), func(g policy.Grant) bool { return c.s.uses.spent(&g) })
	doc, err := json.MarshalIndent(allowlist{policy.View(open, time.Now())}, "", "  ")
	if err != nil {
		return c.refuse(ev, refuse(500, "the allowlist cannot be written"), keep)
	}
	doc = append(doc, '\n')
	keep = keep && c.q.minor == 1 && !c.q.close && !c.s.draining.Load()
	out := append(getBuf(), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCache-Control: no-store\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(doc)), 10)
	if !keep {
		out = append(out, "\r\nConnection: close"...)
	}
	out = append(out, "\r\n\r\n"...)
	if c.q.method != "HEAD" {
		out = append(out, doc...)
	}
	err = c.send(out)
	c.more = !keep
	ev.Verdict, ev.Status, ev.Recv = bottle.Allowed, 200, int64(len(doc))
	c.record(ev)
	return keep && err == nil
}
