package policy

import (
	"bytes"
	"fmt"
	"mime"
	"slices"
	"strings"
)

// ModelRefusal is a request that would have the provider reach out, or, in a form
// that is not read here, could.
type ModelRefusal struct {
	Reason string
	Form   bool
}

func (r *ModelRefusal) Error() string { return r.Reason }

// ModelCheck reads a request to a model's provider, its body as it passes, in
// pieces of any size, and refuses what would make the provider dial: its errors
// are *ModelRefusal, and stay. A body's last byte must not pass before Close
// returned nil.
type ModelCheck struct {
	*dialect // nil: of a shape that is not known
	model    Model
	json     *jsonCheck
	words    wordSearch
	err      error
}

// dialect is how one shape of a request says what makes its provider reach out.
// Keys come as plainKey has them.
type dialect struct {
	// inside is the role of what stands at a key of a container in role r.
	inside func(r role, key string) role
	// key judges a key, by what the container is that it stands in; said is how it was
	// written.
	key func(c *ModelCheck, r role, key, said string)
	// value judges a text at a key, or, with an empty one, in a list.
	value func(c *ModelCheck, r role, key, text string)
}

// role is what a container of a request to a model is, in the words of its dialect.
type role uint8

const (
	roleFree    role = iota // whatever the agent likes: a tool's input, a schema
	roleRoot                // what is asked
	roleTools               // a list of tools
	roleTool                // or one of them
	roleSource              // what names content
	roleAnswer              // of a function
	roleContent             // anything else, at any depth
)

// CheckModel begins to check a request to a route with a Model; nil where that is
// the API of none. path is raw, query without its question mark.
func CheckModel(api string, m Model, path, query string) *ModelCheck {
	known, ok := modelAPIs[api]
	if !ok {
		return nil
	}
	c := &ModelCheck{dialect: shapeOf(path), model: m}
	if c.dialect != nil {
		c.json = newJSONCheck(c)
	}
	if fault := ambiguity(path); fault != "" {
		c.unread("%s, and nobody could tell what it asks the model's provider to do", fault)
	}
	for segment := range strings.SplitSeq(plainPath(path), "/") {
		if name, _, verb := strings.Cut(segment, ":"); verb && searches(name) {
			c.searching(name)
		}
		if tool := known.acts[segment]; tool != "" {
			c.needs(segment, tool)
		}
	}
	for pair := range strings.FieldsFuncSeq(query, func(r rune) bool { return r == '&' || r == ';' }) {
		if name, _, _ := strings.Cut(pair, "="); known.queries != nil && !slices.Contains(known.queries, name) {
			c.unread("the query parameter %s may have a request to the model read as another one", shown(name))
		}
	}
	return c
}

// Head judges what the header says of a body, and what was known before of the
// request.
func (c *ModelCheck) Head(contentType, encoding []byte) error {
	form, params, err := mime.ParseMediaType(string(contentType))
	if len(contentType) == 0 {
		err = nil
	}
	charset := strings.ToLower(params["charset"])
	switch {
	case len(encoding) > 0 && !strings.EqualFold(string(encoding), "identity"):
		c.unread("a request to the model must be sent without a Content-Encoding")
	case bytes.Contains(bytes.ToLower(contentType), []byte("protobuf")): // what it asks for has no words there
		c.unread("a request to the model must not be protobuf")
	case err != nil, charset != "" && charset != "utf-8" && charset != "us-ascii":
		c.unread("a request to the model must be in UTF-8, by a Content-Type that can be read in one way")
	case c.json != nil && form != "" && form != "application/json":
		c.unread("a request to the model must be application/json")
	}
	return c.err
}

// Write takes the next piece.
func (c *ModelCheck) Write(p []byte) (int, error) {
	switch {
	case c.err != nil:
	case c.json != nil:
		c.json.write(p)
	default:
		c.words.look(p, c.word)
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
		c.err = &ModelRefusal{Reason: fmt.Sprintf(format, args...)}
	}
}

// unread refuses a form that is not read.
func (c *ModelCheck) unread(format string, args ...any) {
	if c.err == nil {
		c.err = &ModelRefusal{fmt.Sprintf(format, args...), true}
	}
}

const notNamed = "and egress.model.server_tools of this bottle's manifest does not name it"

// word judges a word that was found in a body of an unknown shape.
func (c *ModelCheck) word(w, tool string) {
	switch {
	case tool == "" && !c.model.URLSources:
		c.refuse("%s makes the model's provider fetch something, and egress.model.url_sources of this bottle's manifest is not true", w)
	case tool != "":
		c.needs(w, tool)
	}
}

// allowed says whether the manifest names a tool, which may have a date behind its
// name, and be written in the two ways that Google has.
func (c *ModelCheck) allowed(tool string) bool {
	plain := plainKey(tool)
	return slices.ContainsFunc(c.model.ServerTools, func(name string) bool {
		return tool == name || strings.HasPrefix(tool, name+"_") || plain == plainKey(name)
	})
}

// tool judges a provider's tool. Harmless are those that run in the bottle, or that
// reach nothing, by their names without a date.
func (c *ModelCheck) tool(kind string, harmless []string) {
	base := kind
	if i := strings.LastIndexByte(kind, '_'); i >= 0 && strings.Trim(kind[i+1:], digits) == "" {
		base = kind[:i]
	}
	if !slices.Contains(harmless, base) && !slices.Contains(harmless, kind) && !c.allowed(kind) {
		c.refuse("the tool %s runs at the model's provider and may reach out, "+notNamed, shown(kind))
	}
}

// searching judges a model that searches by itself.
func (c *ModelCheck) searching(model string) {
	if !c.allowed("web_search") {
		c.refuse("%s searches the web by itself, and egress.model.server_tools of this bottle's manifest does not name web_search", shown(model))
	}
}

// mcpTool is the name under which a provider's own MCP connections are allowed.
const mcpTool = "mcp"

// servers judges what has the provider connect to an MCP server.
func (c *ModelCheck) servers(what string) {
	if !c.allowed(mcpTool) {
		c.refuse("%s makes the model's provider connect to a server, and egress.model.server_tools of this bottle's manifest does not name mcp", shown(what))
	}
}

// source judges content that is named by a URL.
func (c *ModelCheck) source() {
	if !c.model.URLSources {
		c.refuse("a source by URL makes the model's provider fetch it, and egress.model.url_sources of this bottle's manifest is not true: send the content itself")
	}
}

// anywhere judges a key by what it is to all providers.
func (c *ModelCheck) anywhere(key, said string) {
	tool := ""
	switch {
	case key == "mcpservers", key == "serverurl", key == "connectorid":
		c.servers(said)
	case strings.Contains(key, "webhook"), strings.Contains(key, "callbackur"):
		tool = "webhooks"
	case key == "inputfileid":
		tool = batches
	}
	if tool != "" {
		c.needs(said, tool)
	}
}

// batches is the name under which requests are allowed that nobody here has read:
// they are in a file that the provider has.
const batches = "batches"

// needs judges what a tool's name allows.
func (c *ModelCheck) needs(said, tool string) {
	if !c.allowed(tool) {
		c.refuse("%s makes the model's provider reach out for the agent (%s), "+notNamed, shown(said), tool)
	}
}

// namesURL says whether content is named at a key; url alone is so in many records
// of what was found.
func namesURL(key string) bool {
	for _, end := range []string{"url", "urls"} {
		if strings.HasSuffix(key, end) && key != end {
			return true
		}
	}
	return strings.HasSuffix(key, "uri") || strings.HasSuffix(key, "uris") || strings.HasSuffix(key, "uriprefix")
}

// plainKey is a key without the ways to write it: cases, as some servers ignore
// them, and what stands between words.
func plainKey(key string) string {
	key = strings.ToLower(key)
	if strings.IndexByte(key, '_') >= 0 || strings.IndexByte(key, '-') >= 0 || strings.Contains(key, "\u017f") {
		key = keyForms.Replace(key)
	}
	return key
}

var keyForms = strings.NewReplacer("_", "", "-", "", "\u017f", "s")

// shown is a word of the agent's, fit for a reason.
func shown(s string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, s[:min(len(s), longestWord)])
}
