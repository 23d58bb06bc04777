package rig

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"sync"
	"testing"
)

var making sync.Mutex // one image at a time: two tests may want the same

// Image builds a Dockerfile on the tests' own engine, once a machine, and returns
// the image's tag, which is the hash of the text.
func Image(t testing.TB, name, dockerfile string) string {
	t.Helper()
	dockerfile += fmt.Sprintf("LABEL bottle.test.image=%q\n", name)
	tag := fmt.Sprintf("bottle-test-%s:%x", name, sha256.Sum256([]byte(dockerfile)))[:32]
	making.Lock()
	defer making.Unlock()
	if _, err := client("image", "inspect", tag); err == nil {
		return tag
	}
	cmd := clientCommand("", "build", "-t", tag, "-")
	cmd.Stdin = strings.NewReader(dockerfile)
	hangUp(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("cannot make the image of %s: %v: %s", name, err, out)
	}
	return tag
}
