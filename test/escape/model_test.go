package escape

import (
	"fmt"
	"strings"
	"testing"
)

const openModel = `---
egress:
  routes:
    - {host: api.anthropic.com, private: true}
  model: {server_tools: [web_search], url_sources: true}
---
`

// modelLetters are requests to a model, by name; each has a mark of its own, which
// the internet tells of.
func modelLetters(row string, bodies map[string]string) []letter {
	var letters []letter
	for name, body := range bodies {
		path := "/v1/messages"
		if strings.HasPrefix(name, "batch") {
			path = "/v1/messages/batches"
		}
		mark := strings.ReplaceAll(name, " ", "-")
		letters = append(letters, letter{name: name, host: modelHost, path: path + "/" + row + "-" + mark, args: asJSON(), body: []byte(body)})
	}
	return letters
}

// providerDials is E29: what makes the model's provider fetch something.
func providerDials(t *testing.T, s *stage) {
	slug := s.scanned(t)
	const messages = `{"model":"m","max_tokens":9,"messages":[%s],"tools":[%s]}`
	plain := fmt.Sprintf(messages, `{"role":"user","content":"search the web (web_search), see mcp_servers and {\"type\":\"url\"}"}`,
		`{"name":"WebFetch","input_schema":{"type":"object","properties":{"url":{"type":"string"}}}},{"type":"bash_20250124","name":"bash"}`)
	image := `{"role":"user","content":[{"type":"image","source":%s}]}`
	bySource := fmt.Sprintf(messages, fmt.Sprintf(image, `{"type":"url","url":"https://refused.test/?stolen"}`), "")
	search := fmt.Sprintf(messages, `{"role":"user","content":"x"}`, `{"type":"web_search_20250305","name":"web_search"}`)
	servers := `{"model":"m","messages":[],"mcp_servers":[{"type":"url","url":"https://refused.test/","name":"x"}]}`
	s.pass(t, slug, "e29-calm", modelLetters("e29-calm", map[string]string{
		"plain": plain, "image": fmt.Sprintf(messages, fmt.Sprintf(image, `{"type":"base64","media_type":"image/png","data":"aGVsbG8="}`), ""),
		"batch": `{"requests":[{"custom_id":"a","params":` + plain + `}]}`,
		"use":   fmt.Sprintf(messages, `{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"x","input":{"source":{"type":"url"},"mcp_servers":[]}}]}`, ""),
	}))
	refused := modelLetters("e29", map[string]string{
		"mcp servers":    servers,
		"escaped":        strings.Replace(servers, "mcp_", `mcp\u005f`, 1),
		"web search":     search,
		"web fetch":      strings.ReplaceAll(search, "web_search", "web_fetch"),
		"code execution": strings.ReplaceAll(search, "web_search_20250305", "code_execution_20250522"),
		"a toolset":      strings.ReplaceAll(search, "web_search_20250305", "mcp_toolset"),
		"another tool":   strings.ReplaceAll(search, "web_search_20250305", "teleport_20290101"),
		"by URL":         bySource,
		"no type":        strings.Replace(bySource, `"type":"url",`, "", 1),
		"in a result":    fmt.Sprintf(messages, `{"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":[{"type":"document","source":{"type":"url","url":"https://refused.test/"}}]}]}`, ""),
		"batch":          `{"requests":[{"custom_id":"a","params":` + plain + `},{"custom_id":"b","params":` + servers + `}]}`,
		"said twice":     strings.Replace(search, `"tools":[`, `"tools":[],"tools":[`, 1),
		"no JSON":        servers + "x",
		"a list":         "[" + servers + "]",
		"a mark of UTF":  "\ufeff" + servers,
	})
	s.refusesModel(t, slug, refused)
	s.refusesModel(t, slug, []letter{{name: "compressed", host: modelHost, path: "/v1/messages/e29-compressed", args: asJSON("-H", "Content-Encoding: gzip"), body: packed([]byte(plain))}})
	s.refusesModel(t, slug, []letter{{name: "in UTF-7", host: modelHost, path: "/v1/messages/e29-utf7", args: []string{"-H", "Content-Type: application/json; charset=utf-7"}, body: []byte(plain)}})
	s.othersDial(t, slug)
	// What the manifest names passes, and no more.
	open := s.guard(t, "openmodel", openModel)
	s.pass(t, open, "e29-open", modelLetters("e29-open", map[string]string{"search": search, "by URL": bySource}))
	s.refusesModel(t, open, modelLetters("e29-shut", map[string]string{"fetch": strings.ReplaceAll(search, "web_search", "web_fetch"), "servers": servers}))
}

// othersDial is E29 at other providers than the agent's own.
func (s *stage) othersDial(t *testing.T, slug string) {
	const openAIPath, geminiPath = "/v1/responses", "/v1beta/models"
	at := func(host, path, name, body string) letter {
		return letter{name: host + " " + name, host: host, path: path + "/e29-" + name, args: asJSON(), body: []byte(body)}
	}
	s.pass(t, slug, "e29-others", []letter{
		at(openAIHost, openAIPath, "calm", `{"model":"m","input":"web_search","tools":[{"type":"function","name":"x","parameters":{"server_url":{}}}]}`),
		at(geminiHost, geminiPath, "calm", `{"contents":[{"parts":[{"text":"googleSearch"}]}],"tools":[{"functionDeclarations":[]}]}`),
	})
	s.refusesModel(t, slug, []letter{
		at(openAIHost, openAIPath, "search", `{"model":"m","input":"x","tools":[{"type":"web_search"}]}`),
		at(openAIHost, openAIPath, "server", `{"model":"m","input":[{"type":"additional_tools","tools":[{"type":"mcp","server_url":"https://refused.test/"}]}]}`),
		at(openAIHost, openAIPath, "image", `{"model":"m","input":[{"role":"user","content":[{"type":"input_image","image_url":"https://refused.test/?stolen"}]}]}`),
		at(openAIHost, openAIPath, "file", `{"model":"m","input":[{"role":"user","content":[{"type":"input_file","file_url":"https://refused.test/?stolen"}]}]}`),
		at(openAIHost, "/v1/chat/completions", "chat", `{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://refused.test/?stolen"}}]}]}`),
		at(openAIHost, openAIPath, "by-name", `{"model":"gpt-x-search-preview","input":"x"}`),
		at(openAIHost, "/v1/%72esponses", "spelt", `{"model":"m","Tools":[{"Type":"web_search"}]}`),
		at(openAIHost, "/v1/audio", "wide", "{\x00\"\x00i\x00m\x00a\x00g\x00e\x00_\x00u\x00r\x00l\x00\"\x00"),
		at(geminiHost, geminiPath, "webhook", `{"batch":{"webhookConfig":{"uris":["https://refused.test/?stolen"]}}}`),
		at(geminiHost, "/v1alpha/interactions", "agent", `{"agent":"deep-research-x","input":"x"}`),
		at(geminiHost, geminiPath, "search", `{"contents":[],"tools":[{"google_search":{}}]}`),
		at(geminiHost, geminiPath, "context", `{"contents":[],"tools":[{"urlContext":{}}]}`),
		at(geminiHost, geminiPath, "file", `{"contents":[{"parts":[{"fileData":{"fileUri":"https://refused.test/?stolen"}}]}]}`),
	})
}

// refusesModel wants requests to a model to be refused, in words for the agent.
func (s *stage) refusesModel(t *testing.T, slug string, letters []letter) {
	t.Helper()
	s.blocks(t, slug, "e29", letters, "")
	for _, l := range letters {
		if heard := s.requests(l.path); len(heard) > 0 {
			t.Errorf("%s: the model's provider got %s", l.name, heard[0].Detail)
		}
	}
}
