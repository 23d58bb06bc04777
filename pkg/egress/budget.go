package egress

import (
	"bytes"
	"context"
	"time"

	"golang.org/x/sync/semaphore"
)

// What all scans together may hold, in bytes: far below the container's 256 MiB,
// with room for the connections' own buffers and for what waits to be collected.
const scanMemory = 96 << 20

// What one scan may hold, in bytes. A text is held a block at a time; most of it
// is taken by the marks of its fields, which are many where a form is made of
// them. What decompresses holds its window, however little it was sent.
const (
	scanLeast  = 64 << 10
	scanRatio  = 40 // a byte of what is here or comes
	scanMost   = 6 << 20
	brWindow   = 17 << 20
	zstdWindow = 9 << 20
	otherCost  = 256 << 10
)

// budget bounds what scans hold. An agent that takes all of it waits for itself;
// without a share nothing is scanned, and nothing passes.
type budget struct {
	left *semaphore.Weighted
	wait time.Duration // the longest for a share of it
}

func newBudget(wait time.Duration) budget { return budget{semaphore.NewWeighted(scanMemory), wait} }

// take waits for a share, and says whether there is one.
func (b budget) take(ctx context.Context, share int64) bool {
	if b.left.TryAcquire(share) {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, b.wait)
	defer cancel()
	return b.left.Acquire(ctx, share) == nil
}

func (b budget) release(share int64) { b.left.Release(share) }

// scanShare is the most that the scan of a request holds; messages: it sends some.
func (q *request) scanShare(messages bool) int64 {
	size, windows := int64(len(q.target)), int64(0)
	for i := range q.list {
		f := &q.list[i]
		size += int64(len(f.name) + len(f.value))
		if equalFold(f.name, "content-encoding") {
			windows += windowsOf(f.value)
		}
	}
	windows = min(windows, scanMemory-scanMost)
	switch {
	case messages && windows == 0: // each message takes its own
	case q.chunked || q.length > scanMost/scanRatio:
		return scanMost + windows
	case q.length > 0:
		size += q.length
	}
	return min(scanLeast+scanRatio*size, scanMost) + windows
}

// windowsOf is what undoing a Content-Encoding holds. More than three are refused
// before any is undone.
func windowsOf(encoding []byte) (total int64) {
	for n, more := 0, true; more && n < 3; n++ {
		var name []byte
		name, encoding, more = bytes.Cut(encoding, []byte(","))
		switch name = bytes.Trim(name, " \t"); {
		case equalFold(name, "br"):
			total += brWindow
		case equalFold(name, "zstd"):
			total += zstdWindow
		default:
			total += otherCost
		}
	}
	return total
}
