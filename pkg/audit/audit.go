// Package audit keeps the record of who decided what: $BOTTLE_HOME/audit.jsonl,
// one JSON object a line, each with the hash of the line before. The chain shows
// damage and careless edits. It is no proof against the operator's own account,
// which can write the whole of it anew.
package audit

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"bottle/pkg/spool"
)

// Names in $BOTTLE_HOME.
const (
	File     = "audit.jsonl"
	headFile = "audit.head" // how long the log is, and the hash of its last line
)

// What a record may tell of.
const (
	Decision = "decision" // a proposal was approved or rejected
	Edit     = "edit"     // a policy was changed by hand
	Revoke   = "revoke"   // a grant was ended
	Expire   = "expire"   // a grant came to its end
)

// Record is one line. Its fields have the names of an Event's where they mean
// the same, so that it can be read among events.
type Record struct {
	Seq     int64     `json:"seq"`    // from 1
	Time    time.Time `json:"time"`   // RFC 3339, UTC, milliseconds
	Source  string    `json:"source"` // always "operator"
	Kind    string    `json:"kind"`   // Decision, Edit, …
	Verdict string    `json:"verdict,omitempty"`
	Slug    string    `json:"slug,omitempty"`
	Sidecar string    `json:"sidecar,omitempty"` // whose policy
	// Proposal is the id of what was decided, with the hash of its content; Asked is
	// its kind, and Proposed the id of what was decided in its place.
	Proposal string `json:"proposal,omitempty"`
	Proposed string `json:"proposed,omitempty"`
	Asked    string `json:"asked,omitempty"`
	Grant    string `json:"grant,omitempty"`
	Policy   string `json:"policy,omitempty"` // SHA-256 of the policy in force afterwards
	Diff     string `json:"diff,omitempty"`   // of the policy
	Reason   string `json:"reason,omitempty"` // the operator's words
	Detail   string `json:"detail,omitempty"`
	User     string `json:"user"`
	Machine  string `json:"machine"`
	Program  string `json:"program"`
	// Prev is the SHA-256 of the line before, without its end, hexadecimal; of the
	// first one 64 zeros.
	Prev string `json:"prev"`
}

var origin = strings.Repeat("0", sha256.Size*2)

// Bounds of a line, and of one text in it. Longer texts are cut, and say so.
const (
	maxLine = 60 << 10
	maxText = 16 << 10
)

// Append adds records to the log of a home. It fills in Seq, Prev, Source, who
// did it on which machine, and Time where that is zero. When it returns without
// an error they are on the disk; with one, the first of them may be. Append waits
// for others until ctx ends.
func Append(ctx context.Context, home string, records ...Record) error {
	if len(records) == 0 {
		return nil
	}
	name, machine := self()
	f, err := open(ctx, filepath.Join(home, File))
	if err != nil {
		return fmt.Errorf("cannot write %s: %w", File, err)
	}
	defer f.Close()
	for i := range records {
		r := &records[i]
		r.Source, r.User, r.Machine = "operator", name, machine
		if r.Time.IsZero() {
			r.Time = time.Now()
		}
		r.Time = r.Time.UTC().Truncate(time.Millisecond)
		r.clip(maxText)
	}
	if err := add(f, home, records); err != nil {
		return fmt.Errorf("cannot write %s: %w", File, err)
	}
	return nil
}

func add(f *os.File, home string, records []Record) error {
	last, size, err := mend(f)
	if err != nil {
		return err
	}
	seq, prev := int64(0), origin
	if last != nil {
		var before Record
		if err := json.Unmarshal(last, &before); err != nil {
			return fmt.Errorf("its last line is no record: look at it with bottle-log --verify, and move the file away: %w", err)
		}
		seq, prev = before.Seq, digest(last)
	}
	var lines []byte
	for _, r := range records {
		seq++
		r.Seq, r.Prev = seq, prev
		line, err := encode(r)
		if err != nil {
			return err
		}
		prev = digest(line)
		lines = append(append(lines, line...), '\n')
	}
	if _, err := f.WriteAt(lines, size); err != nil {
		return errors.Join(err, f.Truncate(size)) // half a record is none
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return spool.WriteFile(filepath.Join(home, headFile), fmt.Appendf(nil, "%d %s\n", seq, prev), 0o600)
}

// encode writes a record in at most maxLine bytes.
func encode(r Record) ([]byte, error) {
	for limit := maxText; ; limit /= 2 {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(r); err != nil {
			return nil, err
		}
		line := bytes.TrimSuffix(out.Bytes(), []byte("\n"))
		if len(line) <= maxLine || limit == 0 {
			return line, nil
		}
		r.clip(limit)
	}
}

// clip cuts the texts that others wrote.
func (r *Record) clip(limit int) {
	for _, text := range []*string{&r.Diff, &r.Reason, &r.Detail, &r.Verdict, &r.Grant, &r.Program} {
		*text = clip(*text, limit)
	}
}

// clip cuts a text and says how much there was.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return strings.ToValidUTF8(s, "\uFFFD")
	}
	return strings.ToValidUTF8(s[:limit], "\uFFFD") + fmt.Sprintf(" … (%d bytes)", len(s))
}

// mend returns the last line and where the next one goes. What a killed program
// left of a record is cut off: nobody was told that it was written.
func mend(f *os.File) (last []byte, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	size = info.Size()
	from := max(size-2*(maxLine+1), 0)
	tail := make([]byte, size-from)
	if _, err := f.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	end := bytes.LastIndexByte(tail, '\n') + 1
	if rest := tail[end:]; len(rest) > 0 {
		if json.Valid(rest) { // an editor took its end away
			_, err := f.WriteAt([]byte("\n"), size)
			return rest, size + 1, err
		}
		size = from + int64(end)
		if err := f.Truncate(size); err != nil {
			return nil, 0, err
		}
	}
	whole := bytes.TrimSuffix(tail[:end], []byte("\n"))
	if len(whole) == 0 && size == 0 {
		return nil, 0, nil
	}
	return whole[bytes.LastIndexByte(whole, '\n')+1:], size, nil
}

func digest(line []byte) string {
	sum := sha256.Sum256(line)
	return hex.EncodeToString(sum[:])
}

// self is who runs this program, and where.
func self() (name, machine string) {
	name = fmt.Sprint(os.Getuid())
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	machine, _ = os.Hostname()
	return name, machine
}

// Broken is the error for a log whose chain does not hold.
type Broken struct {
	Line int64 // from 1
	Why  string
}

func (b *Broken) Error() string { return fmt.Sprintf("%s: line %d: %s", File, b.Line, b.Why) }

// Verify reads the log of a home and returns how many records it has, and the
// hash of the last line. Where the chain does not hold the error is a *Broken; a
// home without a log has no records. It waits for a writer until ctx ends.
func Verify(ctx context.Context, home string) (records int64, head string, err error) {
	if _, err := os.Lstat(filepath.Join(home, File)); errors.Is(err, fs.ErrNotExist) {
		if n, _ := recorded(home); n > 0 {
			return 0, origin, &Broken{1, fmt.Sprintf("the log is gone: it had %d records", n)}
		}
		return 0, origin, nil
	}
	f, err := open(ctx, filepath.Join(home, File))
	if err != nil {
		return 0, "", fmt.Errorf("cannot read %s: %w", File, err)
	}
	defer f.Close()
	n, known := recorded(home)
	return verify(f, n, known)
}

// verify reads a log of which is known that its line n had this hash.
func verify(in io.Reader, n int64, known string) (records int64, head string, err error) {
	r := bufio.NewReaderSize(in, maxLine+1)
	head = origin
	for {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			break
		}
		records++
		if err != nil {
			if errors.Is(err, io.EOF) {
				return records - 1, head, &Broken{records, "the line does not end: a program was killed as it wrote, or somebody cut it off"}
			}
			return records - 1, head, &Broken{records, "the line is longer than any record"}
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		var rec Record
		switch {
		case json.Unmarshal(line, &rec) != nil:
			return records - 1, head, &Broken{records, "it is no record"}
		case rec.Seq != records:
			return records - 1, head, &Broken{records, fmt.Sprintf("its number is %d: a line was taken out, put in or moved", rec.Seq)}
		case rec.Prev != head:
			return records - 1, head, &Broken{records, "the line before it is not the one that it was written behind"}
		}
		head = digest(line)
		if records == n && head != known {
			return records - 1, head, &Broken{records, "it was changed after it was written"}
		}
	}
	if records < n {
		return records, head, &Broken{records + 1, fmt.Sprintf("the log ends here, and had %d records", n)}
	}
	return records, head, nil
}

// recorded is what the head file says. It is written behind the log, so that it
// may be a record late, and never early.
func recorded(home string) (n int64, hash string) {
	data, err := spool.ReadFile(home, headFile, 200)
	if err != nil {
		return 0, ""
	}
	if _, err := fmt.Sscanf(string(data), "%d %s\n", &n, &hash); err != nil {
		return 0, ""
	}
	return n, hash
}
