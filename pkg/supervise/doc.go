// Package supervise is the MCP server by which an agent asks its operator for
// more: a host, a finding to be let through, another image. A call blocks until
// the operator has decided, and returns what was decided. It decides nothing
// itself, and changes no policy: what it is told becomes a proposal in its out
// directory, the answer comes as a file in its in directory.
package supervise
