package ruleids_test

import (
	"slices"
	"testing"

	"bottle/pkg/dlp"
	"bottle/pkg/dlp/ruleids"
)

func TestTheNamesAreTheScanners(t *testing.T) {
	if !slices.Equal(ruleids.All(), dlp.Default().IDs()) {
		t.Error("pkg/dlp/ruleids/ids.txt is not what rulegen writes: run go generate ./pkg/dlp")
	}
}
