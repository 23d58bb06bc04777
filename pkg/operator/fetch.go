package operator

import (
	"fmt"
	"io"
	"strings"

	"bottle/pkg/cli"
	"bottle/pkg/lifecycle"
	"bottle/pkg/manifest"
)

// TellNotes says what of the work was not captured, or not as it was.
func TellNotes(w io.Writer, took lifecycle.Took) {
	for _, note := range took.Notes {
		fmt.Fprintf(w, "%s: note: %s\n", took.Slug, cli.Inert(note))
	}
}

// TellFetch says how the captured work is fetched, if there is any, and what was
// pushed to the bottle's own gate.
func TellFetch(w io.Writer, took lifecycle.Took) {
	if took.Bundle != "" {
		fmt.Fprintf(w, "to fetch the work, in your repository (a checkout of it may run your own hooks on it):\n  %s\n",
			fetchLine(took.Slug, took.Bundle))
	}
	for i, p := range took.Pushed {
		fmt.Fprintf(w, "to fetch what was pushed to %s:\n  %s\n", p.Remote, pushedLine(took.Slug, took.Pushed, i))
	}
}

// TellPushes says how what a bottle pushes is fetched while it runs.
func TellPushes(w io.Writer, slug string, pushes []lifecycle.Pushed) {
	for i, p := range pushes {
		fmt.Fprintf(w, "to fetch what %s pushes to %s, in your repository:\n  %s\n", slug, p.Remote, pushedLine(slug, pushes, i))
	}
}

// pushedLine is fetchLine for one of a bottle's remotes. The branches of the one,
// or of origin, are the bottle's; those of others stand beside it.
func pushedLine(slug string, pushes []lifecycle.Pushed, i int) string {
	if p := pushes[i]; len(pushes) > 1 && p.Remote != manifest.DefaultRemote {
		slug += "-" + p.Remote
	}
	return fetchLine(slug, pushes[i].Bundle)
}

// fetchLine is the shell line that brings a captured bundle into a repository:
// checked, whatever the operator's configuration says of either setting, branches
// only, nothing of it run.
func fetchLine(slug, bundle string) string {
	return fmt.Sprintf("git -c transfer.fsckObjects=true -c fetch.fsckObjects=true fetch --no-tags --no-recurse-submodules %s 'refs/heads/*:refs/heads/bottle/%s/*'",
		quote(bundle), slug)
}

// quote makes one shell word of a path.
func quote(path string) string {
	if path != "" && !strings.ContainsFunc(path, func(r rune) bool { return !strings.ContainsRune(plain, r) }) {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:,@%"
