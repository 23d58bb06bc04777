package gitgate

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// offer is what an upstream says that it has, and can do.
type offer struct {
	refs map[string]string
	can  map[string]bool
}

func readOffer(r io.Reader) (offer, error) {
	o := offer{refs: map[string]string{}, can: map[string]bool{}}
	in := bufio.NewReader(io.LimitReader(r, maxAnswer))
	for first := true; ; first = false {
		data, err := readPacket(in)
		if err != nil {
			return o, fmt.Errorf("it offers nothing: %w", err)
		}
		line, caps, _ := strings.Cut(strings.TrimSuffix(string(data), "\n"), "\x00")
		if first && strings.HasPrefix(line, "# service=") { // over https
			if data, err = readPacket(in); err != nil || data != nil {
				return o, fmt.Errorf("it offers nothing: %w", errFormat)
			}
			continue
		}
		if data == nil {
			return o, nil
		}
		if said, failed := strings.CutPrefix(line, "ERR "); failed {
			return o, errors.New(inert(said))
		}
		for c := range strings.FieldsSeq(caps) {
			o.can[c] = true
		}
		if id, ref, ok := strings.Cut(line, " "); ok && isID(id) {
			o.refs[ref] = id
		}
	}
}

// sent is the pack as the client sent it, of so many objects. Behind these git has
// put what they are deltas of, which is upstream's.
func (p *pack) sent(objects int) (io.Reader, int64, error) {
	head := binary.BigEndian.AppendUint32([]byte(packVersion), uint32(objects))
	end := int64(len(head))
	switch {
	case objects == 0:
	case p == nil || objects > len(p.sorted):
		return nil, 0, errPack
	case objects == len(p.sorted):
		return io.NewSectionReader(p.file, 0, int64(len(p.data))), int64(len(p.data)), nil
	default:
		end = p.sorted[objects].at
	}
	sum := sha1.New()
	sum.Write(head)
	readers := []io.Reader{bytes.NewReader(head)}
	if objects > 0 {
		sum.Write(p.data[len(head):end])
		readers = append(readers, io.NewSectionReader(p.file, int64(len(head)), end-int64(len(head))))
	}
	return io.MultiReader(append(readers, bytes.NewReader(sum.Sum(nil)))...), end + int64(sum.Size()), nil
}

// forward pushes exactly the pack that was looked through, all refs or none, each
// only where upstream still has what the agent saw.
func (p *push) forward(ctx context.Context) error {
	up := p.reached(ctx)
	p.repo.turns.Add(1)
	err := up.err
	if err == nil {
		err = p.sendOn(up)
	}
	ended := up.close()
	var r *refusal
	switch {
	case err == nil:
		return nil
	case errors.As(err, &r):
		return r
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case up.line == nil:
		return refuse(wordUpstream, "%v", err)
	}
	return refuse(wordUpstream, "upstream did not take it: %v", up.line.explain(errors.Join(err, ended)))
}

func (p *push) sendOn(up *reached) error {
	asked, err := p.stillAsked(up.has)
	if err != nil || len(asked) == 0 {
		return err
	}
	body, size, err := p.pack.sent(p.sent)
	if err != nil {
		return err
	}
	head := commandsOf(asked, up.has)
	answer, err := up.receiver.send(io.MultiReader(strings.NewReader(head), body), int64(len(head))+size)
	if err != nil {
		return err
	}
	report, err := p.listen(answer, up.has.can[sideBand])
	if err != nil {
		return err
	}
	return p.take(report, asked)
}

const (
	reportStatus = "report-status"
	sideBand     = "side-band-64k"
)

// stillAsked are the commands that upstream has not carried out yet.
func (p *push) stillAsked(has offer) (asked []*command, err error) {
	moved := false
	for _, c := range p.commands {
		switch now := has.refs[c.Ref]; {
		case now == c.New:
		case now == c.Old || now == "" && isZero(c.Old):
			asked = append(asked, c)
		default:
			c.reason, moved = "fetch first", true
		}
	}
	switch {
	case moved:
		p.told = true
		return nil, refuse(wordTogether, "a ref has moved")
	case !has.can[reportStatus] || !has.can["ofs-delta"] || len(asked) > 1 && !has.can["atomic"]:
		return nil, errors.New("its git cannot do what the gate needs of it")
	case has.can["object-format=sha256"]:
		return nil, errors.New("its objects are sha256, and those here sha1")
	}
	return asked, nil
}

// commandsOf are commands as git-receive-pack reads them.
func commandsOf(asked []*command, has offer) string {
	caps := " " + reportStatus + " agent=git-gate"
	if has.can[sideBand] {
		caps += " " + sideBand
	}
	if len(asked) > 1 {
		caps += " atomic"
	}
	var b strings.Builder
	for i, c := range asked {
		line := c.Old + " " + c.New + " " + c.Ref
		if i == 0 {
			line += "\x00" + caps
		}
		fmt.Fprintf(&b, "%04x%s", len(line)+4, line)
	}
	return b.String() + "0000"
}

const maxReport = 1 << 20

// listen passes on what upstream says to the person, and returns its report.
func (p *push) listen(answer io.Reader, side bool) (io.Reader, error) {
	if !side {
		return io.LimitReader(answer, maxReport), nil
	}
	said, report := &tail{max: 64 << 10}, &bounded{left: maxReport}
	defer func() { p.relay(said.String()) }()
	for in := bufio.NewReader(answer); ; {
		data, err := readPacket(in)
		switch {
		case err != nil:
			return nil, fmt.Errorf("its answer breaks off: %w", err)
		case data == nil:
			return &report.buf, nil
		case data[0] == 1:
			_, err = report.Write(data[1:])
		case data[0] == 2:
			said.Write(data[1:])
		default:
			err = errors.New(inert(strings.TrimSpace(string(data[1:]))))
		}
		if err != nil {
			return nil, err
		}
	}
}

// relay passes on what upstream itself said.
func (p *push) relay(said string) {
	for line := range strings.Lines(strings.ReplaceAll(said, "\r", "\n")) {
		if line = strings.TrimRight(line, " \n"); line != "" {
			p.answer.say("%s", inert(line))
		}
	}
}

// take reads what upstream says of each ref. What it does not say was taken was
// not.
func (p *push) take(report io.Reader, asked []*command) error {
	in := bufio.NewReader(report)
	unpacked, err := readPacket(in)
	if err != nil || unpacked == nil {
		return errors.New("it does not say what it did")
	}
	open := map[string]*command{}
	for _, c := range asked {
		open[c.Ref] = c
	}
	for {
		data, err := readPacket(in)
		if err != nil || data == nil {
			break
		}
		verdict, rest, _ := strings.Cut(strings.TrimSuffix(string(data), "\n"), " ")
		ref, reason, _ := strings.Cut(rest, " ")
		switch c := open[ref]; {
		case c == nil:
		case verdict == "ok":
			delete(open, ref)
		case verdict == "ng":
			c.reason = reason
		}
	}
	if said := strings.TrimSuffix(string(unpacked), "\n"); said != "unpack "+unpackedOK {
		return fmt.Errorf("it cannot unpack it: %s", inert(strings.TrimPrefix(said, "unpack ")))
	}
	if len(open) == 0 {
		return nil
	}
	for _, c := range open {
		if c.reason == "" {
			c.reason = "refused by upstream"
		}
	}
	p.told = true
	return refuse(wordTogether, "upstream refused")
}
