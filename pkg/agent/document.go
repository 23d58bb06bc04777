package agent

import (
	"encoding/json"
	"fmt"
	"strings"
)

// document is a constant JSON file. Encoding a literal of maps cannot fail.
func document(v any) []byte {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic(err)
	}
	return append(b, '\n')
}

// quoted is a text as JSON, TOML and JavaScript have it on one line.
func quoted(s string) string {
	b, err := json.Marshal(strings.ToValidUTF8(s, "\uFFFD"))
	if err != nil {
		panic(err) // it is a text
	}
	return strings.ReplaceAll(string(b), "\x7f", `\u007f`) // which TOML does not take
}

// nodeArch is what npm calls a machine for which a program exists.
func nodeArch(program, arch string) (string, error) {
	name, ok := map[string]string{"amd64": "x64", "arm64": "arm64"}[arch]
	if !ok {
		return "", fmt.Errorf("cannot find %s for %s: it exists for amd64 and arm64", program, arch)
	}
	return name, nil
}
