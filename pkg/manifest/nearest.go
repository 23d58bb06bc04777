package manifest

import (
	"fmt"
	"strings"
)

// suggest ends an error about a word: the nearest known one, else all of them.
func suggest(word string, known []string) string {
	if best, ok := nearest(word, known); ok {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	if len(known) == 0 {
		return ""
	}
	return "; known: " + strings.Join(known, ", ")
}

// nearest returns the known word that is fewest typing mistakes away, if a
// mistake it can be.
func nearest(word string, known []string) (string, bool) {
	const longest = 64 // a longer word is no typing mistake
	if len(word) > longest {
		return "", false
	}
	for _, k := range known {
		if len(word) > 2 && strings.HasPrefix(k, strings.ToLower(word)) {
			return k, true // cut short, which is likelier than mistyped
		}
	}
	best, fewest := "", 1+len(word)/3
	for _, k := range known {
		if d := mistakes(strings.ToLower(word), k); d <= fewest && (best == "" || d < fewest) {
			best, fewest = k, d
		}
	}
	return best, best != ""
}

// mistakes counts letters missing, added, changed, or swapped with the next.
func mistakes(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			changed := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				changed++
			}
			rows[i][j] = min(changed, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
