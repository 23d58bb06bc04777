package supervise

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"bottle/pkg/bottle"
	"bottle/pkg/proposal"
)

// instructions are what a client tells its model of this server.
const instructions = `You run in a bottle: a container whose only way out is a proxy with an allowlist. A request that it refuses is answered with 403 and the reason. Do not look for a way round: ask. Each tool here asks the operator and waits for the answer, which may take minutes; a "no" comes with a reason. /etc/bottle/walls.md says more.`

// egressIn is the input of egress-block.
type egressIn struct {
	Host          string   `json:"host" jsonschema:"the one host that is needed, exact, without scheme or path: docs.example.com"`
	Scheme        string   `json:"scheme,omitempty" jsonschema:"https (the default) or http"`
	Port          int      `json:"port,omitempty" jsonschema:"where it is not the scheme's own: 443 or 80"`
	PathAllowlist []string `json:"path_allowlist,omitempty" jsonschema:"path prefixes that are needed, such as /repos/ada; absent: the entire host, which is granted less readily"`
	Methods       []string `json:"methods,omitempty" jsonschema:"HTTP methods that are needed, such as GET; absent: all"`
	Credential    string   `json:"credential,omitempty" jsonschema:"name of a credential that the operator declared for this host and that the proxy is to add; it is never shown to you"`
	Duration      string   `json:"duration,omitempty" jsonschema:"how long it is needed, such as 10m or 2h; absent: until the bottle ends"`
	Justification string   `json:"justification" jsonschema:"why it is needed and for what; the operator reads this and decides by it"`
}

func (in egressIn) proposal() (bottle.Proposal, error) {
	p := bottle.Proposal{Kind: bottle.EgressBlock, Justification: in.Justification, Egress: &bottle.EgressAsk{Host: in.Host, Scheme: in.Scheme,
		Port: in.Port, Paths: in.PathAllowlist, Methods: in.Methods, Credential: in.Credential}}
	if in.Duration == "" {
		return p, nil
	}
	d, err := time.ParseDuration(in.Duration)
	if err != nil || d < time.Second {
		return p, fmt.Errorf("%q is not a duration such as 10m or 2h", in.Duration)
	}
	p.Egress.Seconds = int64(d.Round(time.Second) / time.Second)
	return p, nil
}

// dlpIn is the input of dlp-block.
type dlpIn struct {
	Rule          string `json:"rule" jsonschema:"the rule that the refusal named"`
	Host          string `json:"host" jsonschema:"the host that the request was for"`
	Path          string `json:"path" jsonschema:"path prefix of the requests that are to pass, such as /login"`
	Justification string `json:"justification" jsonschema:"why what was found is no secret"`
}

func (in dlpIn) proposal() (bottle.Proposal, error) {
	return bottle.Proposal{Kind: bottle.DLPBlock, Justification: in.Justification,
		Exception: &bottle.ExceptionAsk{Rule: in.Rule, Host: in.Host, Path: in.Path}}, nil
}

// capabilityIn is the input of capability-block.
type capabilityIn struct {
	Dockerfile    string `json:"dockerfile" jsonschema:"the whole new text. It begins with FROM bottle, and then takes RUN, ENV, ARG, USER, WORKDIR and COPY <<EOF of inline text, nothing else"`
	Justification string `json:"justification" jsonschema:"what is needed, and for what"`
}

func (in capabilityIn) proposal() (bottle.Proposal, error) {
	return bottle.Proposal{Kind: bottle.CapabilityBlock, Justification: in.Justification,
		Capability: &bottle.CapabilityAsk{Dockerfile: in.Dockerfile}}, nil
}

// pipelockIn is the input of pipelock-block.
type pipelockIn struct {
	Host          string `json:"host" jsonschema:"the one host, exact, without scheme or path, as pipelock named it"`
	Justification string `json:"justification" jsonschema:"why it is needed and for what; the operator reads this and decides by it"`
}

func (in pipelockIn) proposal() (bottle.Proposal, error) {
	return bottle.Proposal{Kind: bottle.PipelockBlock, Justification: in.Justification, Pipelock: &bottle.PipelockAsk{Host: in.Host}}, nil
}

// asking is the input of a tool that asks the operator.
type asking interface {
	proposal() (bottle.Proposal, error)
}

// tools is the MCP server with all that it offers.
func (s *Server) tools() *mcp.Server {
	m := mcp.NewServer(&mcp.Implementation{Name: "supervise", Title: "The bottle's operator", Version: "1"},
		&mcp.ServerOptions{Instructions: instructions})
	addAsk[egressIn](s, m, "egress-block", "Ask the operator to open one host that the proxy refused (HTTP 403 from egress). "+
		"Waits for the decision. Ask for as little as does the work: path prefixes, methods, a duration.")
	addAsk[dlpIn](s, m, "dlp-block", "Ask the operator to let through what the scanner held to be a secret and is none. "+
		"Waits for the decision. Never for a real secret.")
	addAsk[capabilityIn](s, m, "capability-block", "Ask the operator for another image of this container, such as one with a compiler. "+
		"The text in force is at /etc/bottle/current-config/Dockerfile: send it whole, with what is to be added. "+
		"Waits for the decision; when it is approved and built, this session is stopped and resumed in the new container.")
	if s.rules.Load().Pipelock {
		addAsk[pipelockIn](s, m, "pipelock-block", "Ask the operator to put a host on the list of pipelock, a second scanner behind egress. "+
			"Prefer egress-block, whose approval does this too: this is for a host that egress lets through and pipelock refuses (its words: domain not in allowlist). "+
			"Waits for the decision.")
	}
	mcp.AddTool(m, &mcp.Tool{Name: "list-egress-routes", Annotations: &mcp.ToolAnnotations{ReadOnlyHint: true},
		Description: "What the proxy lets out now: hosts, path prefixes, methods, and when a grant ends. Asks nobody."}, s.listRoutes)
	return m
}

// listRoutes is the live view from egress.
func (s *Server) listRoutes(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
	ctx, cancel := s.until(ctx)
	defer cancel()
	doc, err := s.cfg.Allowlist(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("egress cannot be reached, so nothing is open at the moment: %w", err)
	}
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: string(doc)}}}, nil, nil
}

// addAsk offers a tool that asks the operator and waits for the answer.
func addAsk[In asking](s *Server, m *mcp.Server, name, description string) {
	mcp.AddTool(m, &mcp.Tool{Name: name, Description: description},
		func(ctx context.Context, req *mcp.CallToolRequest, in In) (*mcp.CallToolResult, any, error) {
			return s.ask(ctx, req, in)
		})
}

func (s *Server) ask(ctx context.Context, req *mcp.CallToolRequest, in asking) (*mcp.CallToolResult, any, error) {
	p, err := in.proposal()
	if err == nil {
		p, err = proposal.Make(p, *s.rules.Load(), time.Now())
	}
	ev := bottle.Event{Kind: "ask", Verdict: "deny", Detail: string(p.Kind)}
	if err != nil {
		ev.Reason = err.Error()
		s.cfg.Record(ev)
		return nil, nil, fmt.Errorf("not asked: %w", err)
	}
	select {
	case s.calls <- struct{}{}:
		defer func() { <-s.calls }()
	default:
		return nil, nil, fmt.Errorf("not asked: %d calls wait already", maxCalls)
	}
	if p, err = s.queue.Ask(p); err != nil {
		ev.Reason = err.Error()
		s.cfg.Record(ev)
		return nil, nil, err
	}
	s.cfg.Record(bottle.Event{Kind: "ask", Verdict: bottle.Allowed, Detail: p.ID})
	d, err := s.await(ctx, req, p)
	if err != nil {
		s.cfg.Record(bottle.Event{Kind: "answer", Verdict: "error", Reason: "nobody waits any more", Detail: p.ID})
		return nil, nil, fmt.Errorf("%s still waits for the operator: ask for the same again to wait for the answer", p.ID)
	}
	s.cfg.Record(bottle.Event{Kind: "answer", Verdict: string(d.Verdict), Detail: p.ID})
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: answer(p, d)}}}, nil, nil
}

// await waits for the decision and tells the client at once, and then again and
// again, that the call is alive.
func (s *Server) await(ctx context.Context, req *mcp.CallToolRequest, p bottle.Proposal) (bottle.Decision, error) {
	ctx, cancel := s.until(ctx)
	defer cancel()
	told := make(chan struct{})
	go func() {
		defer close(told)
		s.remind(ctx, req, p.ID)
	}()
	d, err := s.queue.Await(ctx, p.ID)
	cancel()
	<-told // a reminder behind the answer would be for no call
	return d, err
}

func (s *Server) remind(ctx context.Context, req *mcp.CallToolRequest, id string) {
	token := req.Params.GetProgressToken()
	if token == nil {
		return
	}
	tick := time.NewTicker(s.cfg.Remind)
	defer tick.Stop()
	for n := 1.0; ; n++ {
		err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: token, Progress: n,
			Message: "waiting for the operator to decide on " + id})
		if err != nil && !errors.Is(err, context.Canceled) {
			s.cfg.Record(bottle.Event{Kind: "ask", Verdict: "error", Reason: err.Error(), Detail: id})
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// answer is the decision in words. There is no structured form beside it: a
// client that finds one shows its model that alone.
func answer(p bottle.Proposal, d bottle.Decision) string {
	var b strings.Builder
	switch d.Verdict {
	case bottle.Approved:
		b.WriteString("The operator approved it.")
	case bottle.Modified:
		b.WriteString("The operator approved it in another form: see what was granted.")
	default:
		b.WriteString("The operator said no. Do not ask for the same again; find another way, or tell what cannot be done.")
	}
	if d.Reason != "" {
		fmt.Fprintf(&b, "\nReason: %s", d.Reason)
	}
	if d.Grant != nil {
		writeGrant(&b, d.Grant)
	}
	if d.Detail != "" {
		fmt.Fprintf(&b, "\n%s", d.Detail)
	}
	fmt.Fprintf(&b, "\nProposal: %s", p.ID)
	return b.String()
}

func writeGrant(b *strings.Builder, g *bottle.Grant) {
	fmt.Fprintf(b, "\nGrant %s:", g.ID)
	if g.Rule != "" {
		fmt.Fprintf(b, " what %s finds, to", g.Rule)
	}
	fmt.Fprintf(b, " %s", g.Host)
	if len(g.Paths) > 0 {
		fmt.Fprintf(b, " %s", strings.Join(g.Paths, " "))
	}
	if len(g.Methods) > 0 {
		fmt.Fprintf(b, " %s", strings.Join(g.Methods, " "))
	}
	if g.Uses > 0 {
		fmt.Fprintf(b, ", good for %d requests", g.Uses)
	}
	if g.Expires != nil {
		fmt.Fprintf(b, "\nUntil: %s", g.Expires.UTC().Format(time.RFC3339))
	} else {
		b.WriteString("\nUntil: the bottle ends")
	}
}
