package agent

import (
	"encoding/json"
	"fmt"
)

// document is a constant JSON file. Encoding a literal of maps cannot fail.
func document(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}

// nodeArch is what npm calls a machine for which a program exists.
func nodeArch(program, arch string) (string, error) {
	name, ok := map[string]string{"amd64": "x64", "arm64": "arm64"}[arch]
	if !ok {
		return "", fmt.Errorf("cannot find %s for %s: it exists for amd64 and arm64", program, arch)
	}
	return name, nil
}
