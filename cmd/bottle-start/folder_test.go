package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFoldersThatNobodyMeansToHandOverAreRefused(t *testing.T) {
	top, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	at := func(path string) string { return filepath.Join(top, path) }
	for _, dir := range []string{"ada/engine", "data/bottle/state/web", "states", "beside"} {
		if err := os.MkdirAll(at(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(at("data/bottle"), at("ada/.bottle")); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(at("other/home"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(at("states"), at("other/home/state")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", at("ada"))
	for _, c := range []struct{ folder, bottleHome, want string }{
		{"/", at("ada/.bottle"), "all of this machine"},
		{at("ada"), at("ada/.bottle"), "is your home"},
		{top, at("ada/.bottle"), "holds your home"},
		{at("data"), at("ada/.bottle"), "holds $BOTTLE_HOME"},
		{at("data/bottle"), at("ada/.bottle"), "holds $BOTTLE_HOME"},
		{at("data/bottle/state/web"), at("ada/.bottle"), "lies in $BOTTLE_HOME"},
		{at("states"), at("other/home"), "holds $BOTTLE_HOME"},
		{at("ada/engine"), at("ada/.bottle"), ""},
		{at("beside"), at("ada/.bottle"), ""},
	} {
		err := worthHanding(c.folder, c.bottleHome)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.folder, err, c.want)
		}
	}
}
