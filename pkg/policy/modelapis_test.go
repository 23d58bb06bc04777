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
		{"openai", Model{}, responses, `{"input":[{"content":[{"type":"input_image","image_url":"data:image/png;base64,AAAA"},{"type":"output_text","annotations":[{"type":"url_citation","url":"https://x"}]}]}],"metadata":{"server_url":"x"}}`},
		{"openai", Model{}, chat, `{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}],"tools":[{"type":"function","function":{"name":"mcp","parameters":{"type":"web_search"}}}],"response_format":{"type":"json_schema","json_schema":{"schema":{"server_url":1}}}}`},
		{"openai", open, responses, `{"tools":[{"type":"web_search_preview"},{"type":"mcp","server_url":"https://x"}],"input":[{"content":[{"image_url":"https://x"}]}]}`},
		{"openai", open, "/v1/threads", `{"image_url":1,"server_url":2}`},
		{"gemini", Model{}, generate, `{"contents":[{"role":"user","parts":[{"text":"googleSearch"},{"inlineData":{"data":"AA"}},{"functionCall":{"args":{"fileUri":"x","tools":[{"googleSearch":{}}]}}},{"functionResponse":{"response":{"fileUri":"https://x"}}}]}],"tools":[{"functionDeclarations":[{"name":"x","parameters":{"properties":{"fileUri":{},"googleSearch":{}}}}]},{"computer_use":{}}],"generationConfig":{"responseSchema":{"fileUri":1}}}`},
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
		for port, want := range map[int]string{443: name, 8443: ""} {
			r := Route{Host: api.host, Scheme: HTTPS, Port: port}
			if got := ModelAt(&r); got != want {
				t.Errorf("at %s:%d is %q, not %q", api.host, port, got, want)
			}
			if (&Policy{}).HostWay(&r); r.Model != want {
				t.Errorf("a grant for %s:%d has %q, not %q", api.host, port, r.Model, want)
			}
		}
		for word := range api.words {
			if len(word) > longestWord {
				t.Errorf("%s: the word %s is too long to be found", name, word)
			}
		}
	}
}
