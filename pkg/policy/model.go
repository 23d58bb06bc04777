package policy

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// Model is what a model's provider may do for an agent besides answering it. A
// provider that fetches for whoever asks is a way out.
type Model struct {
	// ServerTools are the tools that the provider may run and that reach out, by
	// their names without a date: web_search, web_fetch, code_execution, mcp.
	ServerTools []string
	// URLSources: content may be given as a URL that the provider fetches.
	URLSources bool
}

func (m Model) zero() bool { return len(m.ServerTools) == 0 && !m.URLSources }

// Summary is what it may do, for people, one line each.
func (m Model) Summary() []string {
	list := slices.Clone(m.ServerTools)
	if m.URLSources {
		list = append(list, "content by URL")
	}
	return list
}

// modelAPI is what is known of one provider's API.
type modelAPI struct {
	host string // where the provider has it
	// bodies are the paths below which a body is a request to the model, or a batch
	// of them, and how it is read.
	bodies map[string]dialect
	// words, in a body of any other shape, are what only a request to reach out has,
	// and the tool by whose name a manifest allows it; empty: content by URL.
	words map[string]string
	// absent are paths that the provider's own agent asks after, and takes in good
	// part only if there is nothing: where no entry allows them, they are refused so.
	absent []string
}

// dialect is how one shape of a request says what makes its provider reach out.
type dialect struct {
	// inside is the role of a container that stands in one of role r, at a key or, in
	// an array, without one.
	inside func(r role, key string, array bool) role
	// key judges a key, by what the container is that it stands in.
	key func(c *ModelCheck, r role, key string)
	// value judges a text at a key.
	value func(c *ModelCheck, r role, key, text string)
}

// modelAPIs is the table of APIs: a row a provider.
var modelAPIs = map[string]modelAPI{
	"anthropic": {
		host:   "api.anthropic.com",
		bodies: map[string]dialect{"/v1/messages": anthropicMessages},
		words:  anthropicWords,
		absent: []string{"/api/claude_code/settings", "/api/claude_code/policy_limits"}, // of its user's company
	},
	"openai": {
		host:   "api.openai.com",
		bodies: map[string]dialect{"/v1/responses": openAI, "/v1/chat/completions": openAI},
		words:  openAIWords,
	},
	"gemini": {
		host:   "generativelanguage.googleapis.com",
		bodies: map[string]dialect{"/v1beta/models": gemini, "/v1/models": gemini},
		words:  geminiWords,
	},
	"opencode": { // others' APIs, each below its own path
		host: "opencode.ai",
		bodies: map[string]dialect{"/zen/v1/messages": anthropicMessages, "/zen/v1/responses": openAI,
			"/zen/v1/chat/completions": openAI, "/zen/v1/models": gemini},
		words: openAIWords,
	},
}

// ModelAt is the name of the API that a model's provider has where an entry leads;
// empty: no model is known there.
func ModelAt(r *Route) string {
	for name, api := range modelAPIs {
		if r.origin(HTTPS, api.host, DefaultPort(HTTPS)) {
			return name
		}
	}
	return ""
}

// CheckModelAPI says whether an API is known by this name.
func CheckModelAPI(name string) error {
	if _, ok := modelAPIs[name]; !ok {
		return fmt.Errorf("%q is not the API of a model that is known here", name)
	}
	return nil
}

var toolWord = word{lower, lower + digits + "_", 64}

// CheckServerTool says what is wrong with the name of a provider's tool.
func CheckServerTool(name string) error {
	if !toolWord.fits(name) {
		return fmt.Errorf("%q is not a provider's tool, as web_search is", name)
	}
	return nil
}

// mcpTool is the name under which a provider's own MCP connections are allowed.
const mcpTool = "mcp"

// ModelRefusal is a request that would have the provider reach out.
type ModelRefusal struct{ Reason string }

func (r *ModelRefusal) Error() string { return r.Reason }

// ModelCheck reads the body of a request to a model's provider as it passes, in
// pieces of any size, and refuses what would make the provider dial: its errors
// are *ModelRefusal, and stay. A body's last byte must not pass before Close
// returned nil.
type ModelCheck struct {
	dialect
	words map[string]string
	model Model
	json  *jsonCheck
	tail  []byte // of a body of another shape: what a word may begin in
	esc   unescaper
	err   error
}

// CheckModel begins to check a request to a route with a Model; nil where the
// method has no body to be checked.
func CheckModel(api string, m Model, method, path string) *ModelCheck {
	known, ok := modelAPIs[api]
	if !ok || method == "GET" || method == "HEAD" {
		return nil
	}
	c := &ModelCheck{words: known.words, model: m}
	for prefix, d := range known.bodies {
		if below(path, prefix) {
			c.dialect, c.json = d, newJSONCheck(c)
		}
	}
	return c
}

// Structured says whether the body must be JSON as it is, without an encoding.
func (c *ModelCheck) Structured() bool { return c.json != nil }

// Write takes the next piece.
func (c *ModelCheck) Write(p []byte) (int, error) {
	if c.err == nil {
		if c.json != nil {
			c.json.write(p)
		} else {
			c.search(p)
		}
	}
	return len(p), c.err
}

// Close ends the body.
func (c *ModelCheck) Close() error {
	if c.err == nil && c.json != nil {
		c.json.close()
	}
	return c.err
}

func (c *ModelCheck) refuse(format string, args ...any) {
	if c.err == nil {
		c.err = &ModelRefusal{fmt.Sprintf(format, args...)}
	}
}

// longestWord bounds the words of the table.
const longestWord = 32

// search looks for the table's words in a body of an unknown shape, with the
// escapes of JSON undone.
func (c *ModelCheck) search(p []byte) {
	for len(p) > 0 && c.err == nil {
		n := min(len(p), 8<<10)
		c.tail = c.esc.undo(c.tail, p[:n])
		p = p[n:]
		for w, tool := range c.words {
			if bytes.Contains(c.tail, []byte(w)) && !(tool == "" && c.model.URLSources || tool != "" && c.allowed(tool)) {
				c.refuse("%s makes the model's provider reach out for the agent, and egress.model of this bottle's manifest does not name it", w)
			}
		}
		c.tail = append(c.tail[:0], c.tail[max(0, len(c.tail)-longestWord):]...)
	}
}

// allowed says whether the manifest names a tool, which may have a date behind its
// name.
func (c *ModelCheck) allowed(tool string) bool {
	return slices.ContainsFunc(c.model.ServerTools, func(name string) bool {
		return tool == name || strings.HasPrefix(tool, name+"_")
	})
}

// tool judges a provider's tool. Harmless are those that run in the bottle, or that
// reach nothing: whole names, and beginnings that end in _.
func (c *ModelCheck) tool(kind string, harmless []string) {
	for _, h := range harmless {
		if kind == h || strings.HasSuffix(h, "_") && strings.HasPrefix(kind, h) {
			return
		}
	}
	if !c.allowed(kind) {
		c.refuse("the tool %s runs at the model's provider and may reach out, and egress.model.server_tools of this bottle's manifest does not name it", shown(kind))
	}
}

// servers judges a key that has the provider connect to an MCP server.
func (c *ModelCheck) servers(key string) {
	if !c.allowed(mcpTool) {
		c.refuse("%s makes the model's provider connect to a server, and egress.model.server_tools of this bottle's manifest does not name mcp", key)
	}
}

// source judges content that is named by a URL.
func (c *ModelCheck) source() {
	if !c.model.URLSources {
		c.refuse("a source by URL makes the model's provider fetch it, and egress.model.url_sources of this bottle's manifest is not true: send the content itself")
	}
}

// shown is a word of the agent's, fit for a reason.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), longestWord)])
}

// role is what a container of a request to a model is, in the words of its dialect.
type role uint8

const (
	roleFree     role = iota // whatever the agent likes: a tool's input, a schema
	roleRoot                 // what is asked, or a batch
	roleRequests             // of a batch
	roleRequest
	roleMessage
	roleTools
	roleTool
	roleTurns
	roleTurn
	roleBlocks
	roleBlock
	roleSource
	roleContent // any of what was said, at any depth
)
