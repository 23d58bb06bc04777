package frame

// Start is the document that bottle-inside start reads from its standard input,
// as JSON: what to run as the agent of a new session. Env holds secrets; nobody
// writes this document to a disk.
type Start struct {
	Argv []string          `json:"argv"`
	Dir  string            `json:"dir"`
	Env  map[string]string `json:"env,omitempty"`
}
