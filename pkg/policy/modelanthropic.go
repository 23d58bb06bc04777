package policy

// anthropicMessages is Anthropic's Messages API.
var anthropicMessages = dialect{inside: anthropicInside, key: anthropicKey, value: anthropicValue}

var anthropicHarmless = []string{"custom", "bash_", "text_editor_", "computer_", "memory_", "tool_search_tool_"}

var anthropicWords = map[string]string{"mcp_servers": mcpTool, "mcp_toolset": mcpTool,
	"web_search": "web_search", "web_fetch": "web_fetch", "code_execution": "code_execution"}

func anthropicKey(c *ModelCheck, r role, key string) {
	switch {
	case (r == roleMessage || r == roleRoot) && key == "mcp_servers":
		c.servers(key)
	case r == roleSource && key == "url":
		c.source()
	}
}

func anthropicValue(c *ModelCheck, r role, key, text string) {
	switch {
	case key != "type":
	case r == roleTool:
		c.tool(text, anthropicHarmless)
	case r == roleSource && text == "url":
		c.source()
	}
}

func anthropicInside(r role, key string, array bool) role {
	switch r {
	case roleRoot, roleMessage:
		switch key {
		case "requests":
			if r == roleRoot {
				return roleRequests
			}
		case "tools":
			return roleTools
		case "messages":
			return roleTurns
		case "system":
			return blocks(array)
		}
	case roleRequests:
		return roleRequest
	case roleRequest:
		if key == "params" {
			return roleMessage
		}
	case roleTools:
		return roleTool
	case roleTurns:
		return roleTurn
	case roleTurn:
		if key == "content" {
			return blocks(array)
		}
	case roleBlocks:
		return roleBlock
	case roleBlock, roleSource:
		switch key {
		case "content":
			return blocks(array)
		case "source":
			return roleSource
		}
	}
	return roleFree
}

// blocks are a list of blocks, or one in its place.
func blocks(array bool) role {
	if array {
		return roleBlocks
	}
	return roleBlock
}
