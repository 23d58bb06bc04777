package policy

import "bytes"

// longestWord bounds the words of the table.
const longestWord = 32

// reachWords are what, in a body of an unknown shape, only a request to reach out
// has, in lower case and without spaces, and the tool by whose name a manifest
// allows it; empty: content by URL.
var reachWords = []struct{ word, tool string }{
	{"mcp_server", mcpTool}, {"mcpserver", mcpTool}, {"mcp_toolset", mcpTool}, {"server_url", mcpTool}, {"serverurl", mcpTool}, {"connector_id", mcpTool},
	{"web_search", "web_search"}, {"search_parameters", "web_search"}, {"-search-preview", "web_search"}, {"deep-research", "web_search"},
	{"web_fetch", "web_fetch"}, {"agent_toolset", "agent_toolset"},
	{"code_execution", "code_execution"}, {"codeexecution", "code_execution"}, {"code_interpreter", "code_interpreter"},
	{"file_search", "file_search"}, {"filesearch", "file_search"},
	{"google_search", "google_search"}, {"googlesearch", "google_search"}, {"google_maps", "google_maps"}, {"googlemaps", "google_maps"},
	{"url_context", "url_context"}, {"urlcontext", "url_context"},
	{"image_url", ""}, {"file_url", ""}, {"file_uri", ""}, {"fileuri", ""}, {"gcs_uri", ""}, {"gcsuri", ""}, {`"type":"url"`, ""},
	{`_url":"http`, ""}, {`_uri":"http`, ""},
	{"webhook", "webhooks"}, {"input_file_id", "batches"},
	{"base_agent", "agents"}, {"base_environment", "agents"}, // Google's own, with a network
	{"ice-ufrag", "realtime"}, {"target_uri", "realtime"}, // media to an address, a call to a number
	{"grantee_type", "sharing"}, {"granteetype", "sharing"},
}

// wordSearch looks for the words of the table in a body that comes in pieces, with
// the escapes of JSON undone. Cases, spaces and the zeros of wider characters do
// not count.
type wordSearch struct {
	tail []byte // what a word may begin in
	esc  unescaper
}

func (s *wordSearch) look(p []byte, found func(word, tool string)) {
	for len(p) > 0 {
		n := min(len(p), 8<<10)
		from := len(s.tail)
		s.tail = s.esc.undo(s.tail, p[:n])
		p = p[n:]
		s.tail = s.tail[:from+copy(s.tail[from:], plainText(s.tail[from:]))]
		for _, w := range reachWords {
			if bytes.Contains(s.tail, []byte(w.word)) {
				found(w.word, w.tool)
			}
		}
		s.tail = append(s.tail[:0], s.tail[max(0, len(s.tail)-longestWord):]...)
	}
}

// plainText is a text in lower case, without spaces and controls, in its place.
func plainText(text []byte) []byte {
	out := text[:0]
	for _, b := range text {
		switch {
		case b <= ' ':
			continue
		case b >= 'A' && b <= 'Z':
			b += 'a' - 'A'
		}
		out = append(out, b)
	}
	return out
}
