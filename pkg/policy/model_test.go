package policy

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// asked checks a body in pieces of a size, and returns the reason of a refusal.
func asked(m Model, path, body string, piece int) string {
	return askedOf("anthropic", m, path, body, piece)
}

func askedOf(api string, m Model, path, body string, piece int) string {
	c := CheckModel(api, m, path, "")
	for len(body) > 0 {
		n := min(piece, len(body))
		if _, err := c.Write([]byte(body[:n])); err != nil {
			return err.Error()
		}
		body = body[n:]
	}
	if err := c.Close(); err != nil {
		return err.Error()
	}
	return ""
}

func TestWhatMakesTheProviderDialIsRefused(t *testing.T) {
	const messages = "/v1/messages"
	for _, c := range []struct{ path, body, want string }{
		{messages, `{"mcp_servers":[]}`, "mcp_servers"},
		{messages, `{"model":"x","mcp\u005fservers":[{"url":"https://evil.example"}]}`, "mcp_servers"},
		{messages, `{"tools":[{"name":"a","input_schema":{}},{"type":"web_search_20250305","name":"web_search"}]}`, "web_search_20250305"},
		{messages, `{"tools":[{"name":"x","type":"web_fetch_20250910"}]}`, "web_fetch_20250910"},
		{messages, `{"tools":[{"type":"code_execution_20250522"}]}`, "code_execution_20250522"},
		{messages, `{"tools":[{"type":"mcp_toolset"}]}`, "mcp_toolset"},
		{messages, `{"tools":[{"type":"teleport_20290101"}]}`, "teleport_20290101"},
		{messages, `{"tools":[{"type":"custom","type":"web_fetch_20250910"}]}`, "web_fetch_20250910"},
		{messages, `{"tools":[],"tools":[{"type":"web_fetch_2"}]}`, "web_fetch_2"},
		{messages, `{"messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"https://evil.example/?x"}}]}]}`, "URL"},
		{messages, `{"messages":[{"content":[{"type":"document","source":{"url":"https://evil.example"}}]}]}`, "URL"},
		{messages, `{"messages":[{"content":{"source":{"type":"\u0075rl"}}}]}`, "URL"},
		{messages, `{"messages":[{"content":[{"type":"tool_result","content":[{"type":"image","source":{"type":"url"}}]}]}]}`, "URL"},
		{messages, `{"messages":[{"content":[{"type":"document","source":{"type":"content","content":[{"type":"image","source":{"type":"url"}}]}}]}]}`, "URL"},
		{messages, `{"system":[{"source":{"type":"url"}}]}`, "URL"},
		{messages + "/batches", `{"requests":[{"custom_id":"a","params":{"tools":[{"type":"web_search_2"}]}}]}`, "web_search_2"},
		{messages + "/batches", `{"requests":[{"params":{"mcp_servers":[]}}]}`, "mcp_servers"},
		{messages + "/count_tokens", `{"tools":[{"type":"web_search_2"}]}`, "web_search_2"},
		{messages, `[]`, "not the JSON object"},
		{messages, `"x"`, "not the JSON object"},
		{messages, "\ufeff{}", "not the JSON object"},
		{messages, `{"a":1`, "not the JSON object"},
		{messages, `{"a" "b"}`, "not the JSON object"},
		{messages, `{"a":1}{"mcp_servers":1}`, "not the JSON object"},
		{messages, `{,"a":1}`, "not the JSON object"},
		{messages, `{"a":1,}`, "not the JSON object"},
		{messages, `{"a":[1}`, "not the JSON object"},
		{messages, "{\x00\"a\x00\"", "not the JSON object"},
		{messages, strings.Repeat(`{"a":`, maxDeep+1), "not the JSON object"},
		{messages, `{"a":tru}`, "not the JSON object"},
		{messages, `{"a":1e}`, "not the JSON object"},
		{messages, `{"mcp_\x73ervers":[]}`, "not the JSON object"},
		{messages, `{"a\u"mcp_servers":"":[]}`, "not the JSON object"},
		{messages, "{\"a\n\":1}", "not the JSON object"},
		{messages, "{\"mcp_\xffservers\":[]}", "not the JSON object"},
		{messages, "{\"mcp_\xc1\xb3ervers\":[]}", "not the JSON object"},
		{messages, "{\"a\":\"\xe2\x82\"}", "not the JSON object"},
		{messages, `{"MCP_Servers":[]}`, "MCP_Servers"},
		{messages, `{"fallbacks":[{"model":"y","tools":[{"type":"web_fetch_2"}]}]}`, "web_fetch_2"},
		{messages, `{"tools":{"type":"web_fetch_2"}}`, "web_fetch_2"},
		{messages, `{"tools":[{"type":"bash_code_execution"}]}`, "bash_code_execution"},
		{messages, `{"tools":[{"type":"Custom"}]}`, "Custom"},
		{messages, `{"messages":[{"content":[{"type":"image","source":[{"type":"url"}]}]}]}`, "URL"},
		{messages, `{"messages":[{"content":[[{"type":"image","source":{"type":"URL"}}]]}]}`, "URL"},
		{messages, `{"messages":[{"content":[{"type":"image","source":{"type":"gcs"}}]}]}`, "URL"},
		{messages, `{"messages":[{"content":[{"type":"new_block","within":{"source":{"type":"url"}}}]}]}`, "URL"},
		{"/v1/complete", `{"x":{"mcp_servers":[]}}`, "mcp_server"},
		{"/v1/complete", `web\u005fsearch`, "web_search"},
		{"/v1/complete", strings.Repeat("x", 9000) + "web_fetch_1", "web_fetch"},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			if got := asked(Model{}, c.path, c.body, piece); !strings.Contains(got, c.want) {
				t.Errorf("%s in pieces of %d: %q, want %q", c.body[:min(len(c.body), 100)], piece, got, c.want)
			}
		}
	}
}

func TestWhatReachesNothingPasses(t *testing.T) {
	open := Model{ServerTools: []string{"web_search", "mcp"}, URLSources: true}
	for _, c := range []struct {
		model      Model
		path, body string
	}{
		{Model{}, "/v1/messages", ""},
		{Model{}, "/v1/messages", ` { "model" : "x" , "max_tokens" : 1e3, "stream":true,"temperature":-0.5, "x":null }` + "\n"},
		{Model{}, "/v1/messages", `{"tools":[{"name":"WebFetch","input_schema":{"properties":{"url":{"type":"string"},"mcp_servers":{}}}},{"type":"bash_20250124","cache_control":{"type":"ephemeral"}},{"type":"custom"},{"type":"tool_search_tool_regex_20251119"},{"type":"tool_search_tool_bm25"},{"type":"computer_toolset_20260801"}]}`},
		{Model{}, "/v1/messages", "{\"a\":\"\u20ac\\ud83d\\ude00 \\/\\\"\"}"},
		{Model{}, "/v1/messages", `{"messages":[{"role":"assistant","content":[{"type":"tool_use","input":{"url":"https://x","source":{"type":"url"},"mcp_servers":1}}]}]}`},
		{Model{}, "/v1/messages", `{"messages":[{"role":"user","content":"use web_search, mcp_servers and {\"type\":\"url\"}"}],"system":"say \"mcp_servers\""}`},
		{Model{}, "/v1/messages", `{"messages":[{"content":[{"type":"image","source":{"type":"base64","data":"aGVsbG8="}},{"type":"search_result","source":"https://x.example"}]}]}`},
		{open, "/v1/messages", `{"mcp_servers":[],"tools":[{"type":"web_search_20250305"},{"type":"mcp_toolset"}],"messages":[{"content":[{"source":{"type":"url","url":"https://x"}}]}]}`},
		{Model{}, "/v1/complete", `{"prompt":"hello"}`},
		{open, "/v1/complete", `mcp_servers`},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			if got := asked(c.model, c.path, c.body, piece); got != "" {
				t.Errorf("%s in pieces of %d: %q", c.body, piece, got)
			}
		}
	}
	if CheckModel("", Model{}, "/v1/messages", "") != nil {
		t.Error("what is no model's is checked")
	}
}

// Valid objects pass as they are read by others, in whatever pieces; and what
// passes is valid to others, but for the numbers' own form.
func FuzzModel(f *testing.F) {
	f.Add([]byte(`{"a":[1,{"b":"c\u0041\\"}],"d":-1.5e3}`), 3)
	f.Add([]byte(`{"mcp_servers":[]}`), 1)
	f.Add([]byte(`{"tools":[{"type":"web_fetch_1"}]} `), 2)
	f.Add([]byte(`{"input":[{"tools":[{"type":"namespace","tools":[{"type":"mcp"}]}]}]}`), 3)
	f.Add([]byte(`{"input":[{"content":[{"image_url":"data:image/png;base64,AA"},{"image_url":{"url":"http://a"}}]}]}`), 5)
	f.Add([]byte(`{"contents":[{"parts":[{"file_data":{"file_uri":"https://a"}},{"functionResponse":{"response":{}}}]}]}`), 4)
	f.Add([]byte(`{"tools":[{"googleSearch":{}},{"function_declarations":[]}]}`), 7)
	f.Add([]byte("{\"\\ud83d\\ude00\u20ac\":[true,null,1E+2,-0.1],\"b\\u00e9\":\"\xe2\x82\"}"), 2)
	f.Add([]byte(`{"a\u":tru,"b":[[{"tools":{"0":["x"]}}]],"url":"https://a"}`), 4)
	f.Fuzz(func(t *testing.T, body []byte, piece int) {
		if piece < 1 {
			piece = 1
		}
		var doc map[string]json.RawMessage
		valid := json.Unmarshal(body, &doc) == nil && doc != nil && utf8.Valid(body)
		for api, path := range map[string]string{"anthropic": "/v1/messages", "openai": "/v1/responses", "gemini": "/v1beta/models/m:generateContent"} {
			got, at := askedOf(api, Model{}, path, string(body), piece), askedOf(api, Model{}, path, string(body), 1<<20)
			if got != at {
				t.Fatalf("%s, %q: in pieces of %d %q, at once %q", api, body, piece, got, at)
			}
			if valid && strings.Contains(got, "not the JSON object") && len(body) < maxDeep {
				t.Fatalf("%s: %q is refused as no JSON", api, body)
			}
			if _, there := doc["mcp_servers"]; valid && there && got == "" {
				t.Fatalf("%s: %q passes", api, body)
			}
		}
	})
}

// Of what its company keeps for Claude Code an agent in a bottle has nothing, and is
// told so in the way that it takes without a word on its screen.
func TestWhatAModelsOwnAgentDoesWithoutIsNotThere(t *testing.T) {
	model := Route{Host: "api.anthropic.com", Scheme: HTTPS, Port: 443, Paths: []string{"/v1/messages"}, Methods: []string{"POST"}, Model: "anthropic"}
	whole, plain := model, model
	whole.Paths, whole.Methods, plain.Model = nil, nil, ""
	for _, c := range []struct {
		route  Route
		path   string
		status int // 0: it is allowed
	}{
		{model, "/api/claude_code/settings", 404},
		{model, "/api/claude_code/policy_limits", 404},
		{model, "/api/claude_code/settings/x", 403},
		{model, "/v1/files", 403},
		{plain, "/api/claude_code/settings", 403},
		{whole, "/api/claude_code/settings", 0},
	} {
		v := Decide(Policy{Routes: []Route{c.route}}, Request{Scheme: HTTPS, Host: "api.anthropic.com", Port: 443, Method: "GET", Path: c.path})
		if v.Allow != (c.status == 0) || v.Status != c.status {
			t.Errorf("%s of %+v: %+v", c.path, c.route, v)
		}
	}
}
