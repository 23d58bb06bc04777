package policy

import (
	"fmt"
	"slices"
	"strings"
)

// Model is what a model's provider may do for an agent besides answering it. A
// provider that fetches for whoever asks is a way out.
type Model struct {
	// ServerTools are the tools that the provider may run and that reach out, by
	// their names without a date: web_search, web_fetch, code_execution, mcp; and
	// what else has it act by itself: agents, batches, webhooks, realtime, sharing.
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

// modelAPI is what is known of one provider.
type modelAPI struct {
	// hosts are where the provider has models; a * in one stands for any text. What a
	// request there is read as goes by its path (shapeOf).
	hosts []string
	// queries are the only query parameters that it may be asked with; nil: any. Some
	// take a body's type, other headers and whole requests from there.
	queries []string
	// acts are segments of paths below which the provider is told to act by itself
	// later, and the tool by whose name a manifest allows it.
	acts map[string]string
	// absent are paths that the provider's own agent asks after, and takes in good
	// part only if there is nothing: where no entry allows them, they are refused so.
	absent []string
}

// modelAPIs is the table of providers.
var modelAPIs = map[string]modelAPI{
	"anthropic": {
		hosts:  []string{"api.anthropic.com"},
		absent: []string{"/api/claude_code/settings", "/api/claude_code/policy_limits"}, // of its user's company
	},
	"openai": {hosts: []string{"api.openai.com", "*.api.openai.com", "chatgpt.com"}},
	"azure":  {hosts: []string{"*.openai.azure.com", "*.services.ai.azure.com", "*.cognitiveservices.azure.com"}},
	"gemini": {
		hosts:   []string{"generativelanguage.googleapis.com", "cloudcode-pa.googleapis.com", "aiplatform.googleapis.com", "*-aiplatform.googleapis.com"},
		acts:    map[string]string{"webhooks": "webhooks", "triggers": "agents", "agents": "agents", "environments": "agents"},
		queries: []string{"alt", "key", "prettyPrint", "pageSize", "pageToken"},
	},
	"compatible": {hosts: []string{"openrouter.ai", "api.x.ai", "api.mistral.ai", "api.groq.com"}}, // with OpenAI's
	"opencode":   {hosts: []string{"opencode.ai"}},                                                 // others' APIs, each below its own path
}

// ModelAt is the name of the API that a model's provider has where an entry leads,
// on whatever port; empty: no model is known there.
func ModelAt(r *Route) string {
	if r.Wildcard() {
		return ""
	}
	for name, api := range modelAPIs {
		for _, h := range api.hosts {
			before, after, any := strings.Cut(h, "*")
			if r.Host == h || any && len(r.Host) >= len(h) && strings.HasPrefix(r.Host, before) && strings.HasSuffix(r.Host, after) {
				return name
			}
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

// shapeOf is how a body that is sent to a path is read; nil: in no way that is
// known. Providers have each other's APIs, below paths and versions of their own,
// and what a path ends in counts.
func shapeOf(path string) (shape *dialect) {
	before := ""
	for segment := range strings.SplitSeq(plainPath(path), "/") {
		name, verb, _ := strings.Cut(segment, ":")
		switch {
		case strings.HasSuffix(verb, "rawpredict"): // Anthropic's, at Google's
			shape = &anthropicMessages
		case verb != "", name == "models", name == "tunedmodels", name == "cachedcontents":
			shape = &gemini
		case name == "responses", name == "completions", name == "interactions":
			shape = &openAI
		case name == "messages" && len(before) > 1 && before[0] == 'v' && strings.IndexByte(digits, before[1]) >= 0:
			shape = &anthropicMessages
		}
		before = segment
	}
	return shape
}

// plainPath is a path as the most careless server reads it, of those that are not
// ambiguous.
func plainPath(path string) string {
	for range maxDecoding {
		next, found, fault := decode(path, false)
		if !found || fault != "" {
			break
		}
		path = next
	}
	return strings.ToLower(path)
}

// searches says whether a model that is named so searches the web by itself.
func searches(model string) bool {
	model = strings.ToLower(model)
	return slices.ContainsFunc([]string{"search", ":online", "sonar", "groq/compound", "compound-beta"}, func(s string) bool { return strings.Contains(model, s) })
}
