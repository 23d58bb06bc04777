package policy

import (
	"strings"
	"testing"
)

const (
	responses = "/v1/responses"
	chat      = "/v1/chat/completions"
	generate  = "/v1beta/models/gemini-x:streamGenerateContent"
)

// What makes each provider dial is refused, in each of the ways to write it, and
// passes where the manifest names it.
func TestWhatMakesOtherProvidersDialIsRefused(t *testing.T) {
	for _, c := range []struct{ api, path, body, want string }{
		{"openai", responses, `{"tools":[{"type":"web_search"}]}`, "web_search"},
		{"openai", responses, `{"tools":[{"type":"web_search_preview_2025_03_11"}]}`, "web_search_preview"},
		{"openai", responses, `{"tools":[{"type":"web_search","external_web_access":false}]}`, "web_search"},
		{"openai", responses, `{"tools":[{"type":"file_search","vector_store_ids":["x"]}]}`, "file_search"},
		{"openai", responses, `{"tools":[{"type":"code_interpreter","container":{"type":"auto"}}]}`, "code_interpreter"},
		{"openai", responses, `{"tools":[{"type":"shell","environment":{"type":"container_auto"}}]}`, "shell"},
		{"openai", responses, `{"tools":[{"type":"image_generation"}]}`, "image_generation"},
		{"openai", responses, `{"tools":[{"type":"mcp","server_url":"https://evil.example"}]}`, "mcp"},
		{"openai", responses, `{"tools":[{"server_url":"https://evil.example","type":"function"}]}`, "server_url"},
		{"openai", responses, `{"tools":[{"type":"function","connector_id":"connector_x"}]}`, "connector_id"},
		{"openai", responses, `{"tools":{"type":"mcp"}}`, "mcp"},
		{"openai", responses, `{"tools":[{"type":"namespace","tools":[{"type":"web\u005fsearch"}]}]}`, "web_search"},
		{"openai", responses, `{"input":[{"type":"additional_tools","tools":[{"type":"namespace","tools":[{"type":"mcp"}]}]}]}`, "mcp"},
		{"openai", responses, `{"input":[{"role":"user","content":[{"type":"input_image","image_url":"https://evil.example/?x"}]}]}`, "URL"},
		{"openai", responses, `{"input":[{"role":"user","content":[{"type":"input_file","file_url":"https://evil.example"}]}]}`, "URL"},
		{"openai", responses, `{"input":[{"type":"function_call_output","output":[{"type":"input_image","image_url":" data:x"}]}]}`, "URL"},
		{"openai", responses, `{"input":[{"type":"computer_call_output","output":{"type":"computer_screenshot","image_url":"http://a"}}]}`, "URL"},
		{"openai", responses, `{"prompt":{"id":"p","variables":{"a":{"type":"input_image","image_url":"http://a"}}}}`, "URL"},
		{"openai", responses + "/compact", `{"input":[{"content":[{"image_url":"http://a"}]}]}`, "URL"},
		{"openai", chat, `{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://evil.example"}}]}]}`, "URL"},
		{"openai", chat, `{"messages":[{"content":[{"type":"image_url","image_url":{"detail":"low","url":"//evil.example"}}]}]}`, "URL"},
		{"openai", chat, `{"web_search_options":{}}`, "web_search"},
		{"openai", chat, `{"plugins":[{"id":"web"}]}`, "plugins"},
		{"openai", chat, `[]`, "not the JSON object"},
		{"openai", "/v1/assistants", `{"x":{"server_url":1}}`, "server_url"},
		{"openai", "/v1/threads", `{"messages":[{"content":[{"image\u005furl":{}}]}]}`, "image_url"},
		{"gemini", generate, `{"tools":[{"googleSearch":{}}]}`, "googleSearch"},
		{"gemini", generate, `{"tools":[{"google_search":{}}]}`, "google_search"},
		{"gemini", generate, `{"tools":[{"functionDeclarations":[],"googleSearchRetrieval":{}}]}`, "googleSearchRetrieval"},
		{"gemini", generate, `{"tools":[{"url_context":{}}]}`, "url_context"},
		{"gemini", generate, `{"tools":[{"codeExecution":{}}]}`, "codeExecution"},
		{"gemini", generate, `{"tools":[{"googleMaps":{}}]}`, "googleMaps"},
		{"gemini", generate, `{"tools":{"fileSearch":{}}}`, "fileSearch"},
		{"gemini", generate, `{"tools":[{"mcpServers":[{"streamableHttpTransport":{"url":"https://evil.example"}}]}]}`, "mcpServers"},
		{"gemini", generate, `{"contents":[{"parts":[{"fileData":{"fileUri":"https://evil.example"}}]}]}`, "URL"},
		{"gemini", generate, `{"contents":{"parts":{"file_data":{"file_uri":"gs://x"}}}}`, "URL"},
		{"gemini", generate, `{"systemInstruction":{"parts":[{"fileData":{"fileUri":"https://x"}}]}}`, "URL"},
		{"gemini", generate, `{"contents":[{"parts":[{"functionResponse":{"parts":[{"fileData":{"fileUri":"https://x"}}]}}]}]}`, "URL"},
		{"gemini", "/v1beta/models/m:countTokens", `{"generateContentRequest":{"tools":[{"urlContext":{}}]}}`, "urlContext"},
		{"gemini", "/v1beta/models/m:batchGenerateContent", `{"batch":{"inputConfig":{"requests":{"requests":[{"request":{"tools":[{"google_maps":{}}]}}]}}}}`, "google_maps"},
		{"gemini", "/v1beta/cachedContents", `{"tools":[{"googleSearch":{}}]}`, "googleSearch"},
		{"opencode", "/zen/v1/messages", `{"mcp_servers":[]}`, "mcp_servers"},
		{"opencode", "/zen/v1/chat/completions", `{"messages":[{"content":[{"image_url":{"url":"https://x"}}]}]}`, "URL"},
		{"opencode", "/zen/v1/models/m:generateContent", `{"tools":[{"googleSearch":{}}]}`, "googleSearch"},
		// Names that make a provider search by themselves.
		{"openai", chat, `{"model":"gpt-4o-mini-search-preview","messages":[]}`, "web_search"},
		{"openai", responses, `{"model":"o4-mini-deep-research-2025-06-26"}`, "web_search"},
		{"opencode", "/zen/v1/chat/completions", `{"model":"a-search-api"}`, "web_search"},
		{"opencode", "/zen/v1/chat/completions", `{"enable_search":true}`, "enable_search"},
		{"opencode", "/zen/v1/chat/completions", `{"extra_body":{"search_options":{}}}`, "search_options"},
		{"opencode", "/zen/v1/chat/completions", `{"tools":[{"type":"builtin_function","function":{"name":"$web_search"}}]}`, "builtin_function"},
		{"compatible", "/api/v1/chat/completions", `{"model":"openai/gpt-x:online"}`, "searches the web"},
		{"compatible", "/api/v1/chat/completions", `{"model":"somebody/a-model-whose-name-is-rather-long-3.7:thinking:online"}`, "searches the web"},
		{"compatible", "/api/v1/responses", `{"tools":[{"type":"openrouter:web_search"}]}`, "openrouter:web_search"},
		{"compatible", "/openai/v1/chat/completions", `{"model":"groq/compound-mini"}`, "searches the web"},
		{"compatible", "/v1/ocr", `{"document":{"type":"document_url","document_url": "https://evil.example"}}`, "_url"},
		// Keys in other cases, and where only careless servers read them.
		{"openai", responses, `{"Tools":[{"Type":"web_search"}]}`, "web_search"},
		{"openai", responses, `{"tool\u017f":[{"type":"web_search"}]}`, "web_search"},
		{"openai", responses, `{"tools":["web_search"]}`, "web_search"},
		{"openai", responses, `{"tools":[[{"type":"web_search"}]]}`, "web_search"},
		{"openai", responses, `{"tools":[{"type":"function","serverURL":"https://evil.example"}]}`, "serverURL"},
		{"openai", responses, `{"tools":[{"type":"function_search"}]}`, "function_search"},
		{"openai", responses, `{"input":[{"content":[{"type":"input_image","imageUrl":"https://evil.example"}]}]}`, "URL"},
		{"openai", responses, `{"input":[{"content":[{"thumbnail_urls":["https://evil.example"]}]}]}`, "URL"},
		{"openai", responses, `{"input":[{"content":[{"type":"input_file","file_data":"HTTPS://evil.example"}]}]}`, "URL"},
		{"openai", responses, `{"webhook_url":"https://evil.example"}`, "webhook_url"},
		{"gemini", "/v1beta/models/m:batchGenerateContent", `{"batch":{"webhookConfig":{"uris":["https://evil.example"]}}}`, "webhookConfig"},
		{"gemini", "/v1beta/models/m:batchGenerateContent", `{"batch":{"input_config":{"file_name":"files/x"}}}`, "file_name"},
		{"gemini", "/v1beta/models/m:predictLongRunning", `{"parameters":{"storageUri":"gs://x"}}`, "URL"},
		{"gemini", "/v1beta/models/m:predictLongRunning", `{"instances":[{"image":{"imageUrl":"https://evil.example"}}]}`, "URL"},
		{"gemini", generate, `{"generationConfig":{"x":{"fileUri":"https://evil.example"}}}`, "URL"},
		// Other paths of the same hosts.
		{"gemini", "/v1alpha/models/m:generateContent", `{"tools":[{"googleMaps":{}}]}`, "googleMaps"},
		{"gemini", "/v1/projects/p/locations/l/publishers/google/models/m:generateContent", `{"tools":[{"enterpriseWebSearch":{}}]}`, "enterpriseWebSearch"},
		{"gemini", "/v1/projects/p/locations/l/publishers/anthropic/models/m:rawPredict", `{"tools":[{"type":"web_fetch_20250910"}]}`, "web_fetch"},
		{"gemini", "/v1internal:streamGenerateContent", `{"request":{"tools":[{"urlContext":{}}]}}`, "urlContext"},
		{"gemini", "/v1beta/openai/chat/completions", `{"messages":[{"content":[{"image_url":{"url":"https://evil.example"}}]}]}`, "URL"},
		{"gemini", "/v1beta/interactions", `{"tools":[{"type":"mcp_server","url":"https://evil.example"}]}`, "mcp"},
		{"gemini", "/v1beta/interactions", `{"tools":[{"type":"google_maps"}]}`, "google_maps"},
		{"gemini", "/v1beta/interactions", `{"input":[{"type":"image","uri":"https://evil.example"}]}`, "URL"},
		{"gemini", "/v1beta/interactions", `{"agent":"x","input":"y"}`, "agent"},
		{"gemini", "/v1beta/interactions", `{"webhook_config":{"uris":[]}}`, "webhook_config"},
		{"gemini", "/v1beta/webhooks", `{"uri":"https://evil.example"}`, "webhooks"},
		{"gemini", "/v1beta/Triggers/x", `{}`, "triggers"},
		{"gemini", "/v1beta/models/deep-research-x:generateContent", `{}`, "searches the web"},
		{"anthropic", "/v1/agents", `{"tools":[{"type":"agent_toolset_20260401"}]}`, "agent_toolset"},
		{"gemini", "/v1beta/corpora/x/permissions", `{"granteeType":"EVERYONE"}`, "grantee"},
		{"opencode", "/zen/v1/%6dessages", `{"mcp_servers":[]}`, "mcp_servers"},
		{"opencode", "/zen/v1/%6dessages", `{"messages":[{"content":[{"source":{"type":"url"}}]}]}`, "URL"},
		{"opencode", "/zen/v1/MESSAGES", `{"messages":[{"content":[{"source":{"type":"url"}}]}]}`, "URL"},
		{"opencode", "/zen/go/v1/messages", `{"messages":[{"content":[{"source":{"type":"url"}}]}]}`, "URL"},
		{"opencode", "/zen//v1/messages", `{}`, "path"},
		{"opencode", "/zen/v1/x;/../messages", `{}`, "path"},
		{"opencode", "/zen/v1/other", `{"mcp_servers":[]}`, "mcp_server"},
		{"opencode", "/zen/v1/other", `{"source":{"type" : "url"}}`, "url"},
		{"opencode", "/zen/v1/other", `{"tools":[{"GoogleSearch":{}}]}`, "googlesearch"},
		{"openai", "/openai/deployments/d/chat/completions", `{"messages":[{"content":[{"image_url":{"url":"https://evil.example"}}]}]}`, "URL"},
		{"openai", "/v1/batches", `{"input_file_id":"file-x","endpoint":"/v1/responses"}`, "input_file_id"},
		{"openai", "/v1/realtime/calls", "v=0\r\na=ice-ufrag:x\r\n", "ice-ufrag"},
		{"openai", "/v1/realtime/calls/x/refer", `{"target_uri":"sip:evil.example"}`, "target_uri"},
		{"openai", "/v1/threads", "{\x00\"\x00i\x00m\x00a\x00g\x00e\x00_\x00u\x00r\x00l\x00\"\x00}\x00", "image_url"},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			if got := askedOf(c.api, Model{}, c.path, c.body, piece); !strings.Contains(got, c.want) {
				t.Errorf("%s %s in pieces of %d: %q, want %q", c.api, c.body, piece, got, c.want)
			}
		}
	}
}

func TestWhatReachesNothingPassesOtherProviders(t *testing.T) {
	open := Model{ServerTools: []string{"web_search", "mcp", "google_search", "url_context"}, URLSources: true}
	for _, c := range []struct {
		api   string
		model Model
		path  string
		body  string
	}{
		{"openai", Model{}, responses, `{"input":"use web_search and https://x","tools":[{"type":"function","name":"server","parameters":{"properties":{"server_url":{},"image_url":{"type":"string"},"tools":{"items":[{"type":"mcp"}]}}}},{"type":"custom","name":"exec","format":{"type":"grammar"}},{"type":"local_shell"},{"type":"computer_use_preview"}]}`},
		{"openai", Model{}, responses, `{"input":[{"type":"additional_tools","tools":[{"type":"namespace","tools":[{"type":"function","parameters":{}}]}]},{"type":"configuration_update","reasoning":{}}]}`},
		{"openai", Model{}, responses, `{"input":[{"content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"output_text","annotations":[{"type":"url_citation","url":"https://x"}]}]}],"metadata":{"server_url":"x"},"client_metadata":{"remote_url":"https://x"}}`},
		{"openai", Model{}, chat, `{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}],"tools":[{"type":"function","function":{"name":"mcp","parameters":{"type":"web_search"}}}],"response_format":{"type":"json_schema","json_schema":{"schema":{"server_url":1}}}}`},
		{"openai", open, responses, `{"tools":[{"type":"web_search_preview"},{"type":"mcp","server_url":"https://x"}],"input":[{"content":[{"image_url":"https://x"}]}]}`},
		{"openai", open, "/v1/threads", `{"image_url":1,"server_url":2}`},
		{"gemini", Model{}, generate, `{"contents":[{"role":"user","parts":[{"text":"googleSearch"},{"inlineData":{"data":"AA"}},{"functionCall":{"args":{"fileUri":"x","tools":[{"googleSearch":{}}]}}},{"functionResponse":{"response":{"fileUri":"https://x"}}}]}],"tools":[{"functionDeclarations":[{"name":"x","parameters":{"properties":{"fileUri":{},"googleSearch":{}}}}]},{"computer_use":{}}],"generationConfig":{"responseSchema":{"fileUri":1}}}`},
		{"openai", Model{}, responses, `{"model":"gpt-x","prompt_cache_key":"a","include":["web_search_call.action.sources"],"input":[{"type":"web_search_call","action":{"type":"open_page","url":"https://x"}},{"type":"tool_search_call","arguments":{"image_url":"https://x"}}],"text":{"format":{"type":"json_schema","schema":{"webhook":1}}}}`},
		{"openai", open, chat, `{"model":"gpt-4o-search-preview","web_search_options":{}}`},
		{"openai", Model{ServerTools: []string{"batches"}}, "/v1/batches", `{"input_file_id":"x"}`},
		{"gemini", Model{}, "/v1beta/interactions", `{"model":"m","input":"see https://x","tools":[{"type":"function","name":"x","parameters":{"uri":1}},{"type":"computer_use"}]}`},
		{"gemini", Model{}, generate, `{"contents":[{"parts":[{"toolResponse":{"response":{"uri":"https://x"}}}]}],"toolConfig":{"functionCallingConfig":{"mode":"AUTO"}},"generationConfig":{"thinkingConfig":{"thinkingBudget":1},"responseJsonSchema":{"uri":1}}}`},
		{"gemini", Model{ServerTools: []string{"webhooks", "batches"}}, "/v1beta/models/m:batchGenerateContent", `{"batch":{"webhookConfig":{},"inputConfig":{"fileName":"files/x"}}}`},
		{"gemini", open, generate, `{"contents":[{"parts":[{"fileData":{"fileUri":"https://x"}}]}],"tools":[{"googleSearch":{}},{"url_context":{}}]}`},
	} {
		for _, piece := range []int{1, 7, 1 << 20} {
			if got := askedOf(c.api, c.model, c.path, c.body, piece); got != "" {
				t.Errorf("%s %s in pieces of %d: %q", c.api, c.body, piece, got)
			}
		}
	}
}

func TestEveryAPIIsFoundByItsHost(t *testing.T) {
	for name, api := range modelAPIs {
		for _, host := range api.hosts {
			host = strings.Replace(host, "*", "eu", 1)
			for _, r := range []Route{{Scheme: HTTPS, Port: 443}, {Scheme: HTTPS, Port: 8443}, {Scheme: HTTP, Port: 80}} {
				r.Host = host
				if got := ModelAt(&r); got != name {
					t.Errorf("at %s:%d is %q, not %q", host, r.Port, got, name)
				}
				if (&Policy{}).HostWay(&r); r.Model != name {
					t.Errorf("a grant for %s:%d has %q, not %q", host, r.Port, r.Model, name)
				}
			}
		}
	}
	for _, host := range []string{"example.com", "api.openai.com.example.com", "x-api.openai.com", "*.api.openai.com", ".api.openai.com"} {
		if got := ModelAt(&Route{Host: host, Scheme: HTTPS, Port: 443}); got != "" {
			t.Errorf("at %s is %q", host, got)
		}
	}
	for _, w := range reachWords {
		if len(w.word) > longestWord || w.word != strings.ToLower(w.word) {
			t.Errorf("the word %s cannot be found", w.word)
		}
	}
}

// An entry for a model's host is looked into, whether or not it says so.
func TestAnEntryNeedNotSayThatAModelIsThere(t *testing.T) {
	p, err := Parse([]byte("routes:\n  - host: api.openai.com\n  - host: example.com\n"))
	if err != nil || p.Routes[0].Model != "openai" || p.Routes[1].Model != "" {
		t.Errorf("%+v, %v", p.Routes, err)
	}
}

// What a body is read as goes by its head.
func TestHeadsThatHaveABodyReadOtherwiseAreRefused(t *testing.T) {
	for _, c := range []struct {
		api, path, query, form, encoding string
		want                             bool // it passes
	}{
		{"openai", responses, "", "application/json", "", true},
		{"openai", responses, "", "Application/JSON; charset=\"UTF-8\"", "identity", true},
		{"openai", responses, "", "", "", true},
		{"openai", responses, "", "application/json", "gzip", false},
		{"openai", responses, "", "application/json; charset=utf-7", "", false},
		{"openai", responses, "", "application/json; charset=utf-8; charset=ibm037", "", false},
		{"openai", responses, "", "multipart/form-data; boundary=x", "", false},
		{"openai", responses, "", "application/x-www-form-urlencoded", "", false},
		{"openai", responses, "", "application/json, text/plain", "", false},
		{"openai", "/v1/files", "", "multipart/form-data; boundary=x", "", true},
		{"openai", "/v1/files", "", "multipart/form-data; boundary=x", "gzip", false},
		{"openai", "/v1/x", "", "application/json; charset=utf-16", "", false},
		{"gemini", generate, "alt=sse&key=x&prettyPrint=false", "application/json", "", true},
		{"gemini", generate, "%24ct=application/x-protobuf", "application/json", "", false},
		{"gemini", generate, "$httpHeaders=X-HTTP-Method-Override%3A%20POST", "", "", false},
		{"gemini", "/v1beta/x", "alt=sse;$req=%7B%7D", "", "", false},
		{"gemini", generate, "", "application/json+protobuf", "", false},
		{"anthropic", "/v1/messages", "beta=true", "application/json", "", true},
	} {
		m := CheckModel(c.api, Model{}, c.path, c.query)
		err := m.Head([]byte(c.form), []byte(c.encoding))
		if _, refused := err.(*ModelRefusal); refused == c.want || err != nil && !refused {
			t.Errorf("%s?%s as %s in %q: %v", c.path, c.query, c.form, c.encoding, err)
		}
	}
}
