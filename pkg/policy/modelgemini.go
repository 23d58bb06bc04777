package policy

import "slices"

// gemini is Google's generateContent and what lies beside it. Each tool is a key
// of its own.
var gemini = dialect{inside: geminiInside, key: geminiKey, value: func(*ModelCheck, role, string, string) {}}

var (
	geminiHarmless = []string{"functiondeclarations", "computeruse"}
	geminiFree     = []string{"functioncall", "toolcall", "partmetadata", "responseschema", "responsejsonschema", "schema"}
)

func geminiInside(r role, key string) role {
	switch {
	case r == roleFree, r == roleTool:
		return roleFree
	case r == roleAnswer:
		if key == "parts" {
			return roleContent
		}
		return roleFree
	case key == "tools":
		return roleTools
	case slices.Contains(geminiFree, key):
		return roleFree
	case key == "functionresponse", key == "toolresponse":
		return roleAnswer
	}
	return roleContent
}

func geminiKey(c *ModelCheck, r role, key, said string) {
	switch {
	case r == roleAnswer:
	case r == roleTool && key == "mcpservers":
		c.servers(said)
	case r == roleTool && !slices.Contains(geminiHarmless, key):
		c.tool(said, nil)
	case r == roleTool:
	case key == "url", namesURL(key):
		c.source()
	case key == "filename":
		c.needs(said, batches)
	default:
		c.anywhere(key, said)
	}
}
