package policy

import "strings"

// openAI is what OpenAI's Responses and chat completions take: tools in their
// own list or in an item of the input, in namespaces too, and content at any
// depth.
var openAI = dialect{inside: openAIInside, key: openAIKey, value: openAIValue}

var openAIHarmless = []string{"function", "custom", "namespace", "local_shell", "apply_patch", "tool_search", "computer", "computer_"}

var openAIWords = map[string]string{"server_url": mcpTool, "connector_id": mcpTool, "web_search": "web_search",
	"file_search": "file_search", "code_interpreter": "code_interpreter", "search_parameters": "web_search",
	"image_url": "", "file_url": ""}

func openAIInside(r role, key string, array bool) role {
	switch {
	case r == roleFree:
		return roleFree
	case r == roleTools:
		return roleTool
	case key == "tools" && array:
		return roleTools
	case key == "tools":
		return roleTool
	case r == roleTool && (key == "parameters" || key == "function" || key == "format"), key == "schema", key == "metadata":
		return roleFree // a schema, or names
	case urlKey(key):
		return roleSource
	}
	return roleContent
}

func openAIKey(c *ModelCheck, r role, key string) {
	switch {
	case r == roleFree:
	case key == "server_url", key == "connector_id", key == "mcp_servers":
		c.servers(key)
	case r == roleRoot && (key == "web_search_options" || key == "search_parameters") && !c.allowed("web_search"):
		c.tool("web_search", nil)
	case r == roleRoot && key == "plugins":
		c.tool(key, nil)
	}
}

func openAIValue(c *ModelCheck, r role, key, text string) {
	switch {
	case r == roleTool && key == "type" && text == mcpTool:
		c.servers("a tool of the type mcp")
	case r == roleTool && key == "type":
		c.tool(text, openAIHarmless)
	case r != roleFree && urlKey(key), r == roleSource && key == "url":
		if !strings.HasPrefix(text, "data:") {
			c.source()
		}
	}
}

// urlKey says whether content is named at this key.
func urlKey(key string) bool {
	switch key {
	case "image_url", "file_url", "audio_url", "video_url":
		return true
	}
	return false
}
