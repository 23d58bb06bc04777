package policy

import "strings"

// openAI is what OpenAI's Responses and chat completions take, and what Google's
// interactions do: tools in their own list or in an item of the input, in
// namespaces too, and content at any depth.
var openAI = dialect{inside: openAIInside, key: openAIKey, value: openAIValue}

var openAIHarmless = []string{"function", "custom", "namespace", "local_shell", "apply_patch", "tool_search", "computer", "computer_use", "computer_use_preview"}

func openAIInside(r role, key string) role {
	switch {
	case r == roleFree:
		return roleFree
	case key == "tools":
		return roleTools
	case r == roleTool && (key == "parameters" || key == "function" || key == "format"):
		return roleFree
	case key == "schema", key == "arguments", strings.HasSuffix(key, "metadata"):
		return roleFree // whatever the agent likes
	case key == "extrabody": // which gateways unpack
		return roleRoot
	case namesURL(key):
		return roleSource
	}
	return roleContent
}

func openAIKey(c *ModelCheck, r role, key, said string) {
	c.anywhere(key, said)
	if r != roleRoot {
		return
	}
	switch {
	case strings.Contains(key, "search"): // each gateway has a name of its own
		c.needs(said, "web_search")
	case key == "plugins":
		c.tool(said, nil)
	case key == "agent", key == "agentconfig", key == "environment": // with a network of its own
		c.needs(said, "agents")
	}
}

func openAIValue(c *ModelCheck, r role, key, text string) {
	switch {
	case r == roleTool && key == "type" && (text == mcpTool || text == "mcp_server"):
		c.servers("a tool of the type " + text)
	case r == roleTool && key == "type", r == roleTools:
		c.tool(text, openAIHarmless)
	case r == roleRoot && key == "model" && searches(text):
		c.searching(text)
	case namesURL(key), r == roleSource && (key == "" || key == "url"):
		if !strings.HasPrefix(text, "data:") {
			c.source()
		}
	case key == "filedata" && strings.HasPrefix(strings.ToLower(text), "http"):
		c.source()
	}
}
