package dlp

// text is one continuous text under scan, or the decoded pieces of one. It
// holds a block of what was written, with as much before and behind it as a
// match can reach; the memory it needs does not grow with the text.
type text struct {
	q       *Request
	depth   int // decodings above it
	classes classSet
	buf     []byte
	at      int    // buf[:at] has been scanned
	marks   []mark // by where they stand; the first holds for buf's beginning

	keywords  uint32 // state of the rules' automaton
	joined    uint32 // of the known secrets', over all values
	key       uint32 // of the same, over the key it is in
	open      []window
	runAt     int  // buf[:runAt] has been searched for encoded runs
	runOpen   bool // the last run reached runAt
	runMark   mark
	escapeAt  int // buf[:escapeAt] has been searched for escapes
	phrase    phrase
	below     *text // what is decoded
	aside     *text // what is decoded at another alignment
	inflating *inflater
	scratch   []byte // what it decodes; the texts below have their own
}

// block is how much is gathered before it is scanned.
const block = 16 << 10

// kind is what stands behind a mark.
type kind uint8

const (
	kindValue kind = iota
	kindKey
	kindGap // neither: what stands between
)

// mark says where in the request the text from at on comes from.
type mark struct {
	at    int
	up    *place
	key   string
	index int // where key is empty: of an array's element; negative: none, up says it all
	via   string
	kind  kind
}

func (m *mark) String() string {
	if m.key == "" && m.index < 0 {
		return m.up.String()
	}
	return (&place{up: m.up, key: m.key, index: m.index}).String()
}

// window is a part of the text that a rule is to be tried on.
type window struct {
	r        *rule
	from, to int
}

// mark notes that what is written from now on is m's.
func (t *text) mark(m mark) {
	m.at = len(t.buf)
	if n := len(t.marks); n > 0 && t.marks[n-1].at == m.at {
		t.marks[n-1] = m
		return
	}
	t.marks = append(t.marks, m)
}

// markAt returns the mark that holds at buf[at].
func (t *text) markAt(at int) *mark {
	lo, hi := 0, len(t.marks)
	for hi-lo > 1 {
		if mid := (lo + hi) / 2; t.marks[mid].at <= at {
			lo = mid
		} else {
			hi = mid
		}
	}
	return &t.marks[lo]
}

// write adds to the text and scans what can be scanned.
func (t *text) write(p []byte) {
	for len(p) > 0 && t.q.err == nil {
		n := min(len(p), max(block/4, block+maxReach-(len(t.buf)-t.at)))
		t.buf = append(t.buf, p[:n]...)
		p = p[n:]
		t.full()
	}
}

// full scans where a block is full.
func (t *text) full() {
	if len(t.buf)-t.at >= block+maxReach {
		t.scan(false)
	}
}

// close scans the rest.
func (t *text) close() {
	if t.q.err == nil {
		t.scan(true)
	}
	if t.inflating != nil {
		t.inflating.close()
		t.inflating = nil
	}
	for _, u := range []*text{t.below, t.aside} {
		if u != nil {
			u.close()
		}
	}
}

// scan looks at what has not been looked at. final: no more text will come.
func (t *text) scan(final bool) {
	limit := len(t.buf)
	if !final {
		limit -= maxReach
	}
	if limit > t.at {
		t.words(limit, final)
		t.phrase.scan(t, limit)
		if t.q.inHead && t.depth == 0 {
			t.cards(limit)
		}
		t.at = limit
	}
	if t.depth < maxDepth && t.q.err == nil {
		t.runs(final)
		t.escapes(limit, final)
	}
	if !final {
		t.slide()
	}
}

// slide drops what is behind every match to come.
func (t *text) slide() {
	from := t.at
	if t.depth < maxDepth {
		from = min(from, t.runAt, t.escapeAt)
	}
	if from -= maxReach; from <= 0 {
		return
	}
	t.buf = t.buf[:copy(t.buf, t.buf[from:])]
	t.at -= from
	t.runAt -= from
	t.phrase.at -= from
	t.escapeAt -= from
	keep := 0
	for i := range t.marks {
		if t.marks[i].at -= from; t.marks[i].at <= 0 {
			keep = i
		}
	}
	t.marks = t.marks[:copy(t.marks, t.marks[keep:])]
}

// words finds the rules' keywords in buf[at:limit] and tries their rules, and
// looks for known secrets.
func (t *text) words(limit int, final bool) {
	if len(t.q.known.known) > 0 {
		t.secrets(limit, final)
	} else {
		from := t.at
		t.keywords = t.q.rules.words.scan(t.keywords, t.buf[from:limit], func(i int, words []int32) bool { return t.keyword(from+i, words) })
	}
	for _, w := range t.open {
		t.try(w)
	}
	t.open = t.open[:0]
}

// keyword considers the rules of keywords that end at buf[end], and says whether
// to go on.
func (t *text) keyword(end int, words []int32) bool {
	rs := t.q.rules
	for _, w := range words {
		length := len(rs.words.words[w])
		for _, r := range rs.byWord[w] {
			t.consider(r, end+1-length, length)
		}
	}
	return t.q.err == nil
}

// consider looks at a rule whose keyword stands at buf[at:].
func (t *text) consider(r *rule, at, length int) {
	if at < 0 || !t.runsHere(r) || !r.stands(t.buf, at, length) {
		return
	}
	if r.Path != "" && !t.inFile(r, at) {
		return
	}
	if r.Anchored {
		t.try(window{r, at, min(len(t.buf), at+r.Reach+1)})
		return
	}
	w := window{r, max(0, at-r.Reach), min(len(t.buf), at+r.Reach+1)}
	for i := range t.open {
		if o := &t.open[i]; o.r == r {
			if w.from <= o.to && o.to-o.from < 4*maxReach {
				o.to = w.to
			} else {
				t.try(*o)
				*o = w
			}
			return
		}
	}
	t.open = append(t.open, w)
}

// runsHere says whether a rule is tried in this text.
func (t *text) runsHere(r *rule) bool {
	switch r.Class {
	case Format:
		return true
	case Service:
		return t.classes != formatOnly || r.Head && t.depth == 0 && t.q.inHead
	}
	return t.classes == allClasses
}

func (t *text) inFile(r *rule, at int) bool {
	r.compile()
	m := t.markAt(at)
	for p := m.up; p != nil; p = p.up {
		if p.file != "" {
			return r.path.MatchString(p.file)
		}
	}
	return t.q.path == AnyName || r.path.MatchString(t.q.path)
}

// try tries a rule's expression on a window.
func (t *text) try(w window) {
	r := w.r
	r.compile()
	for from := w.from; from < w.to; {
		m := r.re.FindSubmatchIndex(t.buf[from:w.to])
		if m == nil {
			t.q.spend(w.to - from)
			return
		}
		// It has looked no farther behind the match than a match can reach.
		if !t.q.spend(min(w.to-from, m[1]+r.Reach)) {
			return
		}
		for i := range m {
			if m[i] >= 0 {
				m[i] += from
			}
		}
		secret := r.secretOf(t.buf, m)
		if !r.Word || r.Anchored || begins(t.buf, m[0]) {
			if r.valid == nil || r.valid(secret) {
				if !r.harmless(t.q.rules.allow, t.buf, m[0], m[1], secret) {
					t.report(r, m[0], m[1], secret)
				}
			}
		}
		if r.Anchored || t.q.err != nil {
			return
		}
		from = max(m[1], m[0]+1)
	}
}

// report records what a rule found.
func (t *text) report(r *rule, from, to int, secret []byte) {
	m := t.markAt(from)
	if m.up != nil {
		if r.Sessions && (m.up.credential || m.up.cookie) {
			return
		}
		if m.up.credential && t.q.known.covers(secret, t.q.policy.Host) {
			return
		}
	}
	t.q.foundBy(r.ID, func() *Finding {
		return &Finding{Rule: r.ID, Where: m.where(secret), Via: m.via, Fingerprint: fingerprint(t.q.key, secret)}
	})
}
