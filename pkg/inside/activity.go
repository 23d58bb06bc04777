package inside

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"bottle/pkg/bottle"
)

// outDir is the one directory of the host's that the agent may write in; in it
// is one file.
const outDir = "/var/lib/bottle"

// Activity tells the host what the agent does: the agent's hooks call it, and
// where it has none the terminal does. It prints nothing, which would be an
// answer to a hook. Once the agent has ended, only a new session is news.
func Activity(args []string, _ io.Reader, _, errOut io.Writer) int {
	if len(args) != 1 || args[0] == string(bottle.Exited) {
		fmt.Fprintln(errOut, "bottle-inside: one of working, waiting and idle is wanted")
		return exitFailed // a 2 would tell the agent to do otherwise
	}
	a, _, ok := bottle.ParseActivity(bottle.ActivityRecord(bottle.Activity(args[0]), 0))
	if !ok {
		fmt.Fprintf(errOut, "bottle-inside: there is no activity %q\n", args[0])
		return exitFailed
	}
	if told() != bottle.Exited {
		tell(a, 0)
	}
	return 0
}

func activityFile() string {
	return filepath.Join(fromEnv("BOTTLE_OUT", outDir), bottle.ActivityFile)
}

// told is what was told last; empty: nothing that can be read.
func told() bottle.Activity {
	f, err := os.Open(activityFile())
	if err != nil {
		return ""
	}
	defer f.Close()
	record, err := io.ReadAll(io.LimitReader(f, bottle.ActivitySize+1))
	if err != nil {
		return ""
	}
	a, _, _ := bottle.ParseActivity(record)
	return a
}

// toldSince is what was told last, and since when it holds.
func toldSince() (bottle.Activity, time.Time) {
	a := told()
	info, err := os.Stat(activityFile())
	if err != nil {
		return "", time.Time{}
	}
	return a, info.ModTime()
}

// tell tells it, if it is news: the file's time is since when it holds. A
// container without the file has a host that does not ask.
func tell(a bottle.Activity, code int) {
	if told() == a && a != bottle.Exited {
		return
	}
	f, err := os.OpenFile(activityFile(), os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if _, err := f.WriteAt(bottle.ActivityRecord(a, code), 0); err == nil {
		f.Truncate(bottle.ActivitySize)
	}
}

// Begin is what the container's main process does first: nothing runs yet,
// whatever was told before a container was killed.
func Begin() {
	if !theSession().lives() && told() != bottle.Exited {
		tell(bottle.Exited, exitKilled)
	}
}
