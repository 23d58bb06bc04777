package decision

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"bottle/pkg/manifest"
	"bottle/pkg/proposal"
	"bottle/pkg/spool"
)

// Save is a change of the operator's manifest, which goes with a decision.
type Save struct {
	File string `json:"file"` // absolute
	Over string `json:"over"` // SHA-256 of the file that is replaced
	Text string `json:"text"` // of the new one
	Diff string `json:"diff"`
}

// save makes what an approval adds to the manifest of the bottle. over is the
// SHA-256 of the file that the operator saw; empty: any.
func (d *Decider) save(slug string, c proposal.Change, over string) (*Save, error) {
	switch {
	case c.Already != nil:
		return nil, nil
	case c.Grant == nil || !c.Grant.Opens():
		return nil, errors.New("only a grant of a host can be saved into the manifest")
	case !c.Grant.Expires.IsZero() || c.Grant.Uses > 0:
		return nil, errors.New("a grant that ends cannot be saved into the manifest")
	}
	b, err := d.Home.Bottle(slug)
	if err != nil {
		return nil, err
	}
	m, err := manifest.Load(d.Home.Dir, b.Agent)
	if err != nil {
		return nil, err
	}
	file, err := filepath.EvalSymlinks(m.BottleFile)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if over != "" && sum(string(text)) != over {
		return nil, fmt.Errorf("%s: %w", m.BottleFile, ErrChanged)
	}
	added, diff, err := manifest.AddRoute(text, c.Grant.Route)
	if err != nil {
		return nil, fmt.Errorf("cannot add the route to %s: %w", m.BottleFile, err)
	}
	return &Save{File: file, Over: sum(string(text)), Text: string(added), Diff: diff}, nil
}

// check says whether the file is the one that is to be replaced.
func (s *Save) check() error {
	text, err := os.ReadFile(s.File)
	if err != nil {
		return err
	}
	if got := sum(string(text)); got != s.Over && got != sum(s.Text) {
		return fmt.Errorf("%s: %w", s.File, ErrChanged)
	}
	return nil
}

// write writes it, if it is not written yet.
func (s *Save) write() error {
	if err := s.check(); err != nil {
		return err
	}
	info, err := os.Stat(s.File)
	if err != nil {
		return err
	}
	return spool.WriteFile(s.File, []byte(s.Text), info.Mode().Perm())
}
