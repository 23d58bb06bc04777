package policy

import "slices"

// anthropicMessages is Anthropic's Messages API, and batches of it. What is not
// known there is looked into as what is.
var anthropicMessages = dialect{inside: anthropicInside, key: anthropicKey, value: anthropicValue}

var (
	anthropicHarmless = []string{"custom", "bash", "text_editor", "computer", "computer_toolset", "memory", "tool_search_tool_regex", "tool_search_tool_bm25"}
	anthropicSources  = []string{"base64", "text", "content", "file"}
)

func anthropicInside(r role, key string) role {
	switch {
	case r == roleFree:
		return roleFree
	case key == "tools":
		return roleTools
	case r == roleTool && (key == "inputschema" || key == "inputexamples"), key == "input", key == "schema", key == "metadata":
		return roleFree
	case key == "source":
		return roleSource
	}
	return roleContent
}

func anthropicKey(c *ModelCheck, r role, key, said string) {
	if r == roleSource && (key == "url" || namesURL(key)) {
		c.source()
	}
	c.anywhere(key, said)
}

func anthropicValue(c *ModelCheck, r role, key, text string) {
	switch {
	case r == roleTools, r == roleTool && key == "type":
		c.tool(text, anthropicHarmless)
	case r == roleSource && key == "type" && !slices.Contains(anthropicSources, text):
		c.source()
	}
}
