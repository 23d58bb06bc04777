// Package ruleids knows the names of the scanner's rules, for those who check
// what an operator wrote and scan nothing (go generate ./pkg/dlp writes them).
package ruleids

import (
	_ "embed"
	"strings"
)

//go:embed ids.txt
var ids string

// All returns the IDs of all rules, one of each.
func All() []string { return strings.Fields(ids) }
