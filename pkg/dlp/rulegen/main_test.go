package main

import (
	"bytes"
	"os"
	"testing"
)

func TestTheTableIsWhatGitleaksSays(t *testing.T) {
	have, err := os.ReadFile("../rules.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := writeTable(&want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(have, want.Bytes()) {
		t.Error("pkg/dlp/rules.jsonl is not what rulegen writes: run go generate ./pkg/dlp")
	}
}
