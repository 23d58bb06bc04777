package inside

import (
	"io"
	"sync"
)

// maxQueued is how far input may run ahead of the command that reads it.
const maxQueued = 1 << 20

// queue stands between the frames and a command that may not read its input:
// who reads the frames must go on, or he would never see that their writer is
// gone. A command that leaves more than maxQueued unread hides that until it
// reads or ends.
type queue struct {
	mu     sync.Mutex
	change *sync.Cond
	buf    []byte
	closed bool
}

func newQueue() *queue {
	q := &queue{}
	q.change = sync.NewCond(&q.mu)
	return q
}

func (q *queue) Write(p []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) >= maxQueued && !q.closed {
		q.change.Wait()
	}
	if q.closed {
		return 0, io.ErrClosedPipe
	}
	q.buf = append(q.buf, p...)
	q.change.Broadcast()
	return len(p), nil
}

// drain writes everything to w until the queue is closed and empty. When w
// takes no more, the queue swallows the rest.
func (q *queue) drain(w io.Writer) {
	for {
		p := q.take()
		if p == nil {
			return
		}
		if _, err := w.Write(p); err != nil {
			w = io.Discard
		}
	}
}

func (q *queue) take() []byte {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.buf) == 0 && !q.closed {
		q.change.Wait()
	}
	p := q.buf
	if len(p) == 0 {
		return nil
	}
	q.buf = nil
	q.change.Broadcast()
	return p
}

// Close ends the input: what is queued still goes out.
func (q *queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.change.Broadcast()
	return nil
}
