package policy

import (
	"slices"
	"strings"
)

// gemini is Google's generateContent and what lies beside it. Each tool is a key
// of its own; a key may be written as googleSearch or as google_search.
var gemini = dialect{inside: geminiInside, key: geminiKey, value: func(*ModelCheck, role, string, string) {}}

var geminiHarmless = []string{"functiondeclarations", "computeruse"}

var geminiWords = map[string]string{"googleSearch": "google_search", "google_search": "google_search",
	"urlContext": "url_context", "url_context": "url_context", "codeExecution": "code_execution", "code_execution": "code_execution",
	"mcpServers": mcpTool, "mcp_servers": mcpTool, "fileUri": "", "file_uri": ""}

// plainKey is a key without the two ways to write it.
func plainKey(key string) string { return strings.ToLower(strings.ReplaceAll(key, "_", "")) }

func geminiInside(r role, key string, array bool) role {
	key = plainKey(key)
	switch {
	case r == roleFree, r == roleTool:
		return roleFree
	case r == roleTools:
		return roleTool
	case r == roleSource: // what a function answered
		if key == "parts" {
			return roleContent
		}
		return roleFree
	case key == "tools" && array:
		return roleTools
	case key == "tools":
		return roleTool
	case key == "functioncall", key == "generationconfig":
		return roleFree // arguments, a schema
	case key == "functionresponse":
		return roleSource
	}
	return roleContent
}

func geminiKey(c *ModelCheck, r role, key string) {
	plain := plainKey(key)
	switch {
	case r == roleFree:
	case r == roleTool:
		c.geminiTool(key, plain)
	case plain == "fileuri", plain == "gcsuri":
		c.source()
	}
}

// geminiTool judges a tool by the key that it is.
func (c *ModelCheck) geminiTool(key, plain string) {
	switch {
	case slices.Contains(geminiHarmless, plain):
	case plain == "mcpservers":
		c.servers(key)
	case !slices.ContainsFunc(c.model.ServerTools, func(name string) bool { return plainKey(name) == plain }):
		c.tool(key, nil)
	}
}
