package manifest

import (
	"fmt"
	"os"
	"path/filepath"
)

// findSkills finds each skill's folder: in the home, or among the operator's
// own for Claude Code.
func findSkills(home, file string, wanted []skillLine) ([]Skill, error) {
	places := []string{filepath.Join(home, skillsDir)}
	if user, err := os.UserHomeDir(); err == nil {
		places = append(places, filepath.Join(user, ".claude", "skills"))
	}
	var skills []Skill
	for _, w := range wanted {
		dir, ok := findSkill(places, w.name)
		if !ok {
			msg := fmt.Sprintf("there is no skill %q: no regular file SKILL.md", w.name)
			for i, p := range places {
				msg += []string{" in ", " or "}[min(i, 1)] + filepath.Join(p, w.name)
			}
			return nil, &Error{File: file, Line: w.line, Msg: msg}
		}
		skills = append(skills, Skill{Name: w.name, Dir: dir})
	}
	return skills, nil
}

func findSkill(places []string, name string) (string, bool) {
	for _, p := range places {
		dir := filepath.Join(p, name)
		if holdsSkill(dir) {
			return dir, true
		}
	}
	return "", false
}

// holdsSkill looks without following a link: what is copied later is regular
// files only.
func holdsSkill(dir string) bool {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false
	}
	defer root.Close()
	fi, err := root.Lstat("SKILL.md")
	return err == nil && fi.Mode().IsRegular()
}
