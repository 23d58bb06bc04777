package bottle

import (
	"strconv"
	"strings"
)

// Activity is what an agent does, by its own word. A listing has none for a
// bottle whose agent's container does not run.
type Activity string

const (
	Working Activity = "working"
	Waiting Activity = "waiting" // its turn has ended, or it asked for something
	Idle    Activity = "idle"    // it has no task yet
	Exited  Activity = "exited"
)

// ActivityFile is the file below agent/out that says it: one of the words above,
// after exited a blank and the exit code, then blanks up to ActivitySize bytes,
// of which the last is a newline. So each record takes the place of the one
// before by one write. When it was written is since when it holds.
const (
	ActivityFile = "activity"
	ActivitySize = 32
)

// ActivityRecord is the content of that file. code is an exited agent's.
func ActivityRecord(a Activity, code int) []byte {
	text := string(a)
	if a == Exited {
		text += " " + strconv.Itoa(code)
	}
	return []byte(text + strings.Repeat(" ", ActivitySize-1-len(text)) + "\n")
}

// ParseActivity reads a record that an agent wrote; ok is false for what is
// none.
func ParseActivity(record []byte) (a Activity, code int, ok bool) {
	if len(record) != ActivitySize || record[ActivitySize-1] != '\n' {
		return "", 0, false
	}
	word, rest, _ := strings.Cut(strings.TrimRight(string(record[:ActivitySize-1]), " "), " ")
	switch a = Activity(word); a {
	case Working, Waiting, Idle:
		return a, 0, rest == ""
	case Exited:
		code, err := strconv.ParseUint(rest, 10, 8)
		return a, int(code), err == nil
	}
	return "", 0, false
}
