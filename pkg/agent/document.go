package agent

import "encoding/json"

// document is a constant JSON file. Encoding a literal of maps cannot fail.
func document(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}
