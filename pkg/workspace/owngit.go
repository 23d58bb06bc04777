package workspace

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// ownGitStaysOut refuses a repository whose configuration has the operator's git
// run programs, or read settings, from where the agent writes.
func ownGitStaysOut(ctx context.Context, root string) error {
	// Whatever quiet says of hooks: this is about what the operator's own git does.
	g := trusted(root)
	g.args = nil
	out, err := g.out(ctx, "config", "--list", "--show-origin", "-z")
	if err != nil {
		return err
	}
	fields := zsplit(out)
	for i := 0; i+1 < len(fields); i += 2 {
		key, value, _ := strings.Cut(fields[i+1], "\n")
		file, ok := strings.CutPrefix(fields[i], "file:")
		if ok && agents(root, root, file) {
			return fmt.Errorf("your git reads settings from %s, which the agent could write", file)
		}
		if err := settingStaysOut(root, file, key, value); err != nil {
			return err
		}
	}
	return linksStayOut(root)
}

// settingStaysOut refuses one setting, of a file, that leads to where the agent
// writes, whether or not something is there yet.
func settingStaysOut(root, file, key, value string) error {
	section, _, last := splitKey(key)
	switch {
	case value == "":
	case (section == "include" || section == "includeif") && last == "path":
		if agents(root, filepath.Dir(from(root, file)), value) {
			return fmt.Errorf("your git reads settings from %s (%s), which the agent could write", value, key)
		}
	case key == "core.hookspath" && agents(root, root, value):
		return fmt.Errorf("your git runs hooks from %s (core.hooksPath), which the agent could write", value)
	case isCommand(section, last, value):
		if word := fileOf(root, value); word != "" {
			return fmt.Errorf("your git runs %s (%s), which the agent could write", word, key)
		}
	}
	return nil
}

// commandSettings are those by which git runs a program, by their sections and
// last names; * is all of them.
var commandSettings = map[string][]string{
	"core":        {"fsmonitor", "sshcommand", "editor", "pager", "askpass", "gitproxy", "alternaterefscommand"},
	"sequence":    {"editor"},
	"credential":  {"helper"},
	"diff":        {"external", "command", "textconv"},
	"filter":      {"clean", "smudge", "process"},
	"merge":       {"driver"},
	"difftool":    {"cmd", "path"},
	"mergetool":   {"cmd", "path"},
	"gpg":         {"program", "defaultkeycommand"},
	"interactive": {"difffilter"},
	"trailer":     {"cmd", "command"},
	"hook":        {"command"},
	"pager":       {"*"},
	"alias":       {"*"},
}

func isCommand(section, last, value string) bool {
	if section == "alias" && !strings.HasPrefix(value, "!") {
		return false
	}
	names := commandSettings[section]
	return slices.Contains(names, last) || slices.Contains(names, "*")
}

// fileOf returns the first word of a command that is a file the agent could
// write; the program itself may yet be missing. git begins at the top.
func fileOf(root, command string) string {
	words := strings.FieldsFunc(command, func(r rune) bool {
		return unicode.IsSpace(r) || strings.ContainsRune("\"'`!;|&()<>=$", r)
	})
	for i, w := range words {
		path := strings.Contains(w, "/")
		if i == 0 && !path || !agents(root, root, w) { // a program's name is looked for in PATH
			continue
		}
		if fi, err := os.Stat(from(root, home(w))); err == nil && fi.Mode().IsRegular() || i == 0 {
			return w
		}
	}
	return ""
}

// linksStayOut refuses a .git of which a part, or a hook, is a symlink to where
// the agent writes.
func linksStayOut(root string) error {
	for _, dir := range []string{".git", ".git/hooks"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil && !os.IsNotExist(err) {
			return err
		}
		for _, e := range entries {
			name := filepath.Join(root, dir, e.Name())
			if e.Type()&fs.ModeSymlink == 0 {
				continue
			}
			if to, err := os.Readlink(name); err == nil && (agents(root, filepath.Dir(name), to) || agents(root, root, name)) {
				return fmt.Errorf("%s/%s is a symlink to %s, which the agent could write", dir, e.Name(), to)
			}
		}
	}
	return nil
}

// noSubmodules refuses a repository that has some: the operator's git goes into
// each, also into one that the agent puts there, and runs what is configured in
// it without asking whose it is.
func noSubmodules(ctx context.Context, root string) error {
	out, err := trusted(root).out(ctx, "ls-files", "-s", "-v", "-z")
	if err != nil {
		return err
	}
	for _, rec := range zsplit(out) {
		if e, ok := parseIndexLine(rec); ok && e.mode == gitlink {
			return fmt.Errorf("it has a submodule, %s", e.path)
		}
	}
	return nil
}

// agents says whether an agent that works in root can write a path, or what it
// leads to; dir is what the path is relative to.
func agents(root, dir, path string) bool {
	path = from(dir, home(path))
	paths := []string{path}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		paths = append(paths, real)
	}
	for _, p := range paths {
		if rel, err := filepath.Rel(root, p); err == nil && filepath.IsLocal(rel) && rel != ".git" && !strings.HasPrefix(rel, ".git/") {
			return true
		}
	}
	return false
}

// home is a path in which ~ is the operator's home.
func home(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			return filepath.Join(home, rest)
		}
	}
	return path
}
